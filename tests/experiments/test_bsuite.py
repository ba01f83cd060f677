"""bsuite's command: its CSVs and its scores, and what is said where it cannot be."""

import csv
import importlib

import jax
import pytest

from expedition.environments import Catch
from expedition.runtime.unroll import abstract_trajectory
from experiments import bsuite as command
from experiments.sweep import SettingsError


def test_a_run_leaves_bsuites_table(tmp_path):
    pytest.importorskip("bsuite")
    config = command.Config(id=("bandit/0",), episodes=20, out=tmp_path)
    actions = command.play(config, "bandit/0")
    assert 20 <= actions <= 36  # the last unroll may go on for some episodes
    (path,) = (tmp_path / "impala").glob("*.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["episode"]) for row in rows][:13] == [*range(1, 11), 12, 14, 17]
    assert {"total_regret", "steps", "total_return"} <= set(rows[0])
    with pytest.raises(SettingsError, match="exists"):
        command.play(config, "bandit/0")
    score, finished = command.scores(config.folder)["bandit"]
    assert 0 <= score <= 1
    assert not finished


@pytest.mark.parametrize(("agent", "lstm"), [("impala", True), ("seed_td", False)])
def test_every_agent_fits_an_environment(agent, lstm):
    spec = Catch().spec
    player = command.AGENTS[agent](spec, lstm)
    state = jax.eval_shape(player.agent.init, jax.random.key(0))
    like = abstract_trajectory(player.agent, state.params, spec, 1, player.unroll)
    after, _ = jax.eval_shape(player.agent.update, state, like)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_only_impala_has_a_memory():
    with pytest.raises(SettingsError, match="only impala"):
        command.AGENTS["seed_td"](Catch().spec, True)


def test_an_unknown_id_is_named(tmp_path):
    pytest.importorskip("bsuite")
    with pytest.raises(SettingsError, match="'catch/99'"):
        command.play(command.Config(out=tmp_path), "catch/99")


def test_without_bsuite_one_line_says_what_to_do(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'expedition\[bsuite\]'"):
        command.play(command.Config(out=tmp_path), "catch/0")


def test_an_unknown_agent_is_named():
    with pytest.raises(ValueError, match="'dyna'"):
        command.Config(agent="dyna")
