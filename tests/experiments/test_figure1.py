"""Figure 1 from end to end on a small scale."""

import jax
import numpy as np
import pytest

from expedition.environments import TabularCartpole
from experiments import figure1, sweep
from experiments.sweep import read

SMALL = {"agents": (2,), "worlds": 2, "thompson_worlds": 2, "steps": 30, "thompson_sweeps": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep of two short worlds."""
    out = tmp_path_factory.mktemp("sweep") / "figure1"
    figure1.run(figure1.Config(out=out, **SMALL))
    return out


def test_a_sweep_leaves_a_row_a_strategy_and_a_picture(folder):
    rows = read(folder / "cartpole.csv")
    assert [row.algorithm for row in rows] == list(figure1.STRATEGIES)
    assert all(row.agents == 2 and row.instances == 2 and np.isfinite(row.mean) for row in rows)
    assert (folder / "cartpole.png").read_bytes().startswith(b"\x89PNG")
    assert float((folder / "optimum.txt").read_text()) <= 30


def test_a_complete_sweep_measures_nothing_again(folder, monkeypatch):
    before = (folder / "cartpole.csv").read_text()
    monkeypatch.setattr(sweep, "batches", None)  # it would raise
    figure1.run(figure1.Config(out=folder, **SMALL))
    assert (folder / "cartpole.csv").read_text() == before


def test_a_table_without_rows_is_not_drawn(tmp_path):
    (tmp_path / "cartpole.csv").write_text("")
    assert figure1.draw(tmp_path) == []


def test_evaluation_starts_differ_from_the_learners(monkeypatch):
    """Or an evaluation would repeat what a learner did."""
    seen = []
    reset = TabularCartpole.reset

    def watched(self, world, key):
        state, timestep = reset(self, world, key)
        jax.debug.callback(lambda angle: seen.append(float(angle)), state.angle)
        return state, timestep

    monkeypatch.setattr(TabularCartpole, "reset", watched)
    config = figure1.Config(**SMALL | {"agents": (20,), "steps": 2})
    keys = jax.random.split(jax.random.key(0), 1)
    problem = figure1.make_problem(config)
    jax.block_until_ready(figure1.final_reward(config, problem, "psrl", 20, keys))
    jax.effects_barrier()
    assert len(seen) == 20 + config.starts
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("wrong", [{"agents": (0,)}, {"worlds": 0}, {"discount": 1.0}])
def test_bad_settings_are_refused_before_anything_is_written(wrong):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        figure1.Config(**wrong)
