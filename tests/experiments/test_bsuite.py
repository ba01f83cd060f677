"""bsuite's command: its CSVs and its scores, and what is said where it cannot be."""

import csv
import importlib

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.environments import FIRST, MID, Catch
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
    with pytest.raises(SettingsError, match="has a CSV of bandit/0"):
        command.play(config, "bandit/0")
    score, finished = command.scores(config.folder)["bandit"]
    assert 0 <= score <= 1
    assert not finished


@pytest.mark.parametrize(
    ("agent", "lstm"),
    [
        ("impala", True),
        ("replayed_impala", False),
        ("seed_td", False),
        ("seeded_impala", False),
    ],
)
def test_every_agent_fits_an_environment(agent, lstm):
    spec = Catch().spec
    player = command.AGENTS[agent](spec, lstm)
    state = jax.eval_shape(player.agent.init, jax.random.key(0))
    like = abstract_trajectory(player.agent, state.params, spec, 1, player.unroll)
    after, _ = jax.eval_shape(player.agent.update, state, like)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_what_cannot_be_run_or_scored_is_named(tmp_path):
    config = command.Config(out=tmp_path, episodes=1)
    with pytest.raises(SettingsError, match="impala has no CSVs to score"):
        command.scores(config.folder)
    with pytest.raises(SettingsError, match=r"'catch/999' was given.*try catch/"):
        command.play(config, "catch/999")
    with pytest.raises(SettingsError, match=r"'\?' was given.*try [a-z]"):
        command.play(config, "?")
    command.play(config, "catch/0")
    with pytest.raises(SettingsError, match=r"has a CSV of catch/0; expected none.*--out"):
        command.play(config, "catch/0")


@pytest.mark.parametrize("agent", ["replayed_impala", "seed_td", "seeded_impala"])
def test_only_impala_has_a_memory(agent):
    with pytest.raises(SettingsError, match=f"for {agent}; only impala"):
        command.AGENTS[agent](Catch().spec, True)


def test_one_agent_acts_by_all_members_one_an_episode():
    """And its data say with which policy, so that V-trace corrects from that one."""
    spec, key = Catch().spec, jax.random.key(3)
    agent = command.AGENTS["seeded_impala"](spec, False).agent
    act, params = jax.jit(agent.act), jax.jit(agent.init)(key).params

    def seen(step_type):
        observation = jnp.ones((1, *spec.observation.shape))
        types = jnp.array([step_type], jnp.int8)
        return dm_env.TimeStep(types, jnp.zeros(1), jnp.ones(1), observation)

    actor, policies = agent.initial_actor_state(1), set()
    for i in range(64):
        _, behaviour, actor = act(params, actor, seen(FIRST), jax.random.fold_in(key, i))
        _, same, actor = act(params, actor, seen(MID), key)
        np.testing.assert_array_equal(behaviour.policy, same.policy)
        policies.add(tuple(np.asarray(behaviour.policy[0]).tolist()))
    assert len(policies) == 8


def test_an_unknown_id_is_named(tmp_path):
    pytest.importorskip("bsuite")
    with pytest.raises(SettingsError, match="'catch/99'"):
        command.play(command.Config(out=tmp_path), "catch/99")


def test_without_bsuite_one_line_says_what_to_do(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[bsuite\]'"):
        command.play(command.Config(out=tmp_path), "catch/0")


def test_an_unknown_agent_is_named():
    with pytest.raises(ValueError, match="'dyna'"):
        command.Config(agent="dyna")
