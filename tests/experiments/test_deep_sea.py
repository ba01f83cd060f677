"""The sweep of deep sea: when a sea is solved, what is counted, what a second start does."""

import csv
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.agents import Agent
from expedition.environments import DeepSea
from experiments import deep_sea, deep_sea_plots
from experiments.deep_sea_agents import ALGORITHMS, Constants, Team, make_team
from experiments.seeded_impala import DEEP_SEA
from experiments.sweep import SettingsError


class Learnt(NamedTuple):
    """Updates so far."""

    params: jax.Array


def late_team(size, agents):
    """Agent 0 goes left in the first cell until the team has learnt 3 times, the others always."""
    sea = DeepSea(size)

    def act(params, actor, timestep, key):
        cell = jnp.argmax(timestep.observation.reshape(-1, size**2), axis=1)
        row, column = cell // size, cell % size
        wrong = (row == 0) & ((actor > 0) | (params < 3))
        return jnp.asarray(sea.right)[row, column] ^ wrong, (), actor

    def update(state, batch):
        return Learnt(state.params + 1), {}

    agent = Agent(lambda key: Learnt(jnp.int32(0)), jnp.arange, act, None, update)
    return Team(agent, sea, unroll=size, at_once=agents)


def test_bad_episodes_are_counted_when_they_end():
    start, dive = map(jax.jit, deep_sea.dives(late_team(3, 2), 2, 8))
    running, first = dive(start(jax.random.split(jax.random.key(0), 1)), jnp.arange(2))
    _, then = dive(running, jnp.arange(2, 8))
    np.testing.assert_array_equal(np.concatenate([first, then])[:, 0], [2, 2, 2, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("bad", "expected"),
    [([2, 2, 2, 1, 2], 4), ([2, 2, 2, 2], None), ([1], 1), ([2] * 10 + [0, 0, 0], 12)],
)
def test_solved_is_less_than_nine_of_ten_bad(bad, expected):
    """[2] * 10 + [0]: 20 of 22 were bad; one more: 20 of 24."""
    assert deep_sea.solved_after(np.array(bad), 2) == expected


def test_a_sweep_of_little_seas(tmp_path, capsys):
    """A team with seeds solves them far before 2^N dives each; a second start adds nothing."""
    config = deep_sea.Config(
        out=tmp_path, quick=True, algorithms=("seed_lsvi",), agents=(8,), regret_agents=()
    )
    deep_sea.run(config)
    rows = deep_sea_plots.read(tmp_path / "deep_sea.csv")
    assert [row[:4] for row in rows] == [("seed_lsvi", n, 8, 0) for n in (5, 10)]
    assert all(row.solved and row.episodes < 40 for row in rows)
    assert (tmp_path / "deep_sea.png").exists()
    before = (tmp_path / "deep_sea.csv").read_bytes()
    deep_sea.run(config)
    assert (tmp_path / "deep_sea.csv").read_bytes() == before
    assert "seed LSVI           K 8    N 10" in capsys.readouterr().out


def test_a_row_that_a_stop_cut_short_is_none(tmp_path):
    table = deep_sea_plots.Rows(tmp_path / "t.csv")
    row = deep_sea_plots.Row("dqn", 10, 1, 0, 500, False, 1.25)
    table.add(row)
    with (tmp_path / "t.csv").open("a") as file:
        file.write("dqn,10,1,1,7")
    assert deep_sea_plots.read(tmp_path / "t.csv") == [row._replace(seconds=1.2)]
    deep_sea_plots.Rows(tmp_path / "t.csv").add(row._replace(instance=1, seconds=2.0))
    assert [row.instance for row in deep_sea_plots.read(tmp_path / "t.csv")] == [0, 1]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_fits_a_sea(name):
    team = make_team(name, 10, 20, 50, Constants())
    state = jax.eval_shape(team.agent.init, jax.random.key(0))
    shape = (20, *team.sea.spec.observation.shape)
    timestep = team.sea.reset(jax.random.key(0))[1]
    batch = jax.tree.map(lambda x: jnp.broadcast_to(x, (20, *x.shape)), timestep)
    assert batch.observation.shape == shape
    actor = team.agent.initial_actor_state(20)
    action, _, _ = jax.eval_shape(team.agent.act, state.params, actor, batch, jax.random.key(0))
    assert action.shape == (20,)
    start, dive = deep_sea.dives(team, 20, 50)
    running = jax.eval_shape(start, jax.random.split(jax.random.key(0), 2))
    assert jax.eval_shape(dive, running, jnp.arange(5))[1].shape == (5, 2)
    assert 10 % team.unroll == 0
    assert 20 % team.at_once == 0


def test_one_agent_acts_by_all_of_its_members_in_turn():
    team = make_team("bootstrapped_impala", 10, 1, 50, Constants())
    params = jax.jit(team.agent.init)(jax.random.key(0)).params
    assert {len(x) for x in jax.tree.leaves(params)} == {20}
    timestep = jax.tree.map(lambda x: x[None], team.sea.reset(jax.random.key(0))[1])
    act, actor, models = jax.jit(team.agent.act), team.agent.initial_actor_state(1), set()
    for episode in range(100):
        _, _, actor = act(params, actor, timestep, jax.random.key(episode))
        models.add(int(actor.model[0]))
    assert len(models) > 15


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"algorithms": ("sonar",)}, "'sonar'"),
        ({"regret_algorithms": ("bootstrapped_lsvi",)}, "'bootstrapped_lsvi'.*expected.*seed_lsvi"),
        ({"sizes": ()}, "sizes"),
        ({"instances": 0}, "inst"),
    ],
)
def test_settings_out_of_range_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        deep_sea.Config(**wrong)


def test_algorithms_are_held_against_sizes_and_teams_before_any_runs(tmp_path):
    for config in (deep_sea.Config(), deep_sea.Config(quick=True)):
        assert {name for name, _, _ in deep_sea.cells_of(config)} == set(ALGORITHMS)
    config = deep_sea.Config(out=tmp_path / "new", agents=(16,))
    with pytest.raises(SettingsError, match=r"seed_td, N = 10, K = 16: .*10 turns of 16 agents"):
        deep_sea.run(config)
    config = deep_sea.Config(
        out=tmp_path / "new", regret_algorithms=("seed_td",), regret_agents=(15,)
    )
    with pytest.raises(SettingsError, match=r"seed_td, N = 10, K = 15: .*10 turns of 15 agents"):
        deep_sea.run(config)
    assert not (tmp_path / "new").exists()


def test_regret_is_measured_of_those_that_run():
    measured = {"regret_agents": (3, 10), "regret_algorithms": ("seed_lsvi", "impala")}
    config = deep_sea.Config(algorithms=("dqn", "impala"), **measured)
    assert config.regret_cells == [("impala", 3), ("impala", 10)]
    assert deep_sea.Config(quick=True, **measured).regret_cells == []


def test_regret_is_what_a_team_dived_in_vain(tmp_path):
    """Ten agents with seeds find the treasure of five rows, where 32 dives at random find it."""
    config = deep_sea.Config(
        out=tmp_path,
        sizes=(5,),
        agents=(10,),
        algorithms=("seed_lsvi",),
        instances=1,
        regret_agents=(10,),
        regret_size=5,
        regret_episodes=20,
    )
    deep_sea.run(config)
    with (tmp_path / "regret.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["algorithm"], row["agents"]) == ("seed_lsvi", "10")
    assert 0.5 < float(row["mean_regret"]) < 10
    assert (tmp_path / "regret.png").exists()


def test_seeded_impala_has_the_constants_of_its_command():
    """And of its members no more than agents, since the others would never act."""
    for agents, members in ((4, 4), (100, DEEP_SEA.agent.num_members)):
        team = make_team("seeded_impala", 10, agents, 50, Constants())
        state = jax.eval_shape(team.agent.init, jax.random.key(0))
        (embedding,) = (x for x in jax.tree.leaves(state.params.prior) if x.shape[1:] == (56, 50))
        assert len(embedding) == members
    assert Constants().seeded is DEEP_SEA.agent
    assert Constants().hidden == DEEP_SEA.hidden


def test_unrolls_that_end_within_an_episode_are_refused():
    team = late_team(3, 2)._replace(unroll=2)
    with pytest.raises(ValueError, match="unrolls of 2 in a sea of 3 rows"):
        deep_sea.dives(team, 2, 8)


def test_parts_that_are_not_equal_are_refused():
    with pytest.raises(ValueError, match="5 updates in an episode of 12 steps"):
        make_team("seed_td", 12, 10, 50, Constants())
