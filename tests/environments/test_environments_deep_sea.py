"""Deep sea against a diver in plain Python, against bsuite itself, and in the simulator."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.agents.agent import Agent
from expedition.environments import FIRST, LAST, MID, DeepSea, OneWorld, make
from expedition.runtime import simulation

EPISODES = 64
SEAS = pytest.mark.parametrize(
    "sea",
    [DeepSea(5), DeepSea(8, mapping_seed=7), DeepSea(6, stochastic=True)],
    ids=lambda sea: f"{sea.size}{'-stochastic' * sea.stochastic}",
)


def actions_of(sea, seed=0):
    """Random, but in the first two episodes: always right, the second misses the treasure."""
    actions = np.random.default_rng(seed).integers(2, size=(EPISODES, sea.size))
    actions[:2] = np.diagonal(sea.right)
    actions[1, -1] ^= 1
    return actions.astype(np.int32)


@partial(jax.jit, static_argnums=0)
def play(sea, keys, actions):
    """One episode a key: states and time steps, [N, ...] at first and [N, size, ...] after it."""

    def episode(key, actions):
        def step(state, action):
            after, timestep = sea.step(state, action)
            return after, (after, timestep)

        state, first = sea.reset(key)
        return first, jax.lax.scan(step, state, actions)[1]

    return jax.vmap(episode)(keys, actions)


def episodes(sea):
    actions = actions_of(sea)
    first, (states, rest) = play(sea, jax.random.split(jax.random.key(0), EPISODES), actions)
    states = states._replace(key=())
    return actions, *jax.device_get((first, states, rest))


def dive(sea, actions, columns):
    """Yields observation, reward and badness after each action, in plain Python.

    Where the current may have carried a diver (stochastic: right may lead straight down) is what
    `columns` say; that it is possible is asserted.
    """
    column, bad, last = 0, False, sea.size - 1
    for row, action in enumerate(actions):
        goes_right = action == sea.right[row][column]
        reward = -0.01 / sea.size if goes_right else 0.0
        if goes_right and column == last:
            reward += 1
        bad = bad or (not goes_right and column == row)
        moved = min(column + 1, last) if goes_right else max(column - 1, 0)
        if sea.stochastic and goes_right:
            assert columns[row] in (column, moved)
            moved = columns[row]
        is_noisy = sea.stochastic and row == last and column in (0, last)
        column = moved
        grid = np.zeros((sea.size, sea.size))
        if row < last:
            grid[row + 1, column] = 1
        yield grid, reward, bad, is_noisy


@SEAS
def test_dynamics_equal_those_in_plain_python(sea):
    actions, _, states, rest = episodes(sea)
    noisy = 0
    for i in range(EPISODES):
        steps = zip(*dive(sea, actions[i], states.column[i]), strict=True)
        grids, rewards, bads, is_noisy = map(np.array, steps)
        np.testing.assert_array_equal(rest.observation[i], grids)
        np.testing.assert_array_equal(states.is_bad[i], bads)
        np.testing.assert_allclose(rest.reward[i][~is_noisy], rewards[~is_noisy], atol=1e-7)
        assert (rest.reward[i][is_noisy] != rewards[is_noisy]).all()
        noisy += is_noisy.sum()
    assert noisy > 0 or not sea.stochastic
    assert states.is_bad[:, -1].any()


@SEAS
def test_an_episode_falls_to_the_ground(sea):
    _, first, states, rest = episodes(sea)
    assert (first.step_type == FIRST).all()
    assert (first.observation.reshape(EPISODES, -1).argmax(-1) == 0).all()
    assert (rest.step_type == [MID] * (sea.size - 1) + [LAST]).all()
    assert (rest.discount == [1.0] * (sea.size - 1) + [0.0]).all()
    assert (states.row == np.arange(1, sea.size + 1)).all()


def test_the_best_return_is_what_the_sea_says():
    sea = DeepSea(8)
    _, _, states, rest = episodes(sea)
    returns = rest.reward.sum(-1)
    assert returns.max() == pytest.approx(sea.optimal_return)
    assert returns[1] == pytest.approx(-0.01 * 7 / 8)
    assert not states.is_bad[0, -1]
    assert states.is_bad[1, -1]


def test_currents_and_noise_are_what_they_should_be():
    """Right leads straight down once in N times; the ends' noise is standard normal."""
    sea, n = DeepSea(4, stochastic=True), 20_000
    always_right = np.broadcast_to(np.diagonal(sea.right), (n, 4))
    # Off the diagonal the same action may mean left: only who is still on it is counted.
    keys = jax.random.split(jax.random.key(1), n)
    _, (states, rest) = jax.device_get(play(sea, keys, always_right.astype(np.int32)))
    before = np.ones(n, bool)
    for row in range(3):
        after = before & (states.column[:, row] == row + 1)
        assert abs(after.sum() / before.sum() - 3 / 4) < 4 * (3 / 16 / before.sum()) ** 0.5
        before = after
    noise = rest.reward[before, -1] - (1 - 0.01 / 4)
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert abs(noise.var() - 1) < 4 * (2 / len(noise)) ** 0.5
    fell = states.column[before, -1] == 3  # beyond the last column there is none
    assert fell.all()


def test_actions_mean_what_they_mean_in_bsuite():
    """The first and the last row of bsuite 0.3.6 for size 10 and mapping seed 42."""
    right = DeepSea(10).right
    np.testing.assert_array_equal(right[0], [0, 1, 1, 1, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(right[9], [0, 1, 1, 1, 1, 0, 1, 0, 0, 0])


class Dictated:
    """In place of bsuite's random numbers: what happened to our diver."""

    def __init__(self):
        self.carried, self.noise = True, 0.0

    def rand(self):
        return float(self.carried)

    def randn(self):
        return self.noise


@SEAS
def test_it_is_bsuites(sea):
    deep_sea = pytest.importorskip("bsuite.environments.deep_sea")
    actions, first, states, rest = episodes(sea)
    theirs = deep_sea.DeepSea(
        sea.size, deterministic=not sea.stochastic, mapping_seed=sea.mapping_seed
    )
    theirs._rng = chance = Dictated()
    total_bad = 0
    for i in range(EPISODES):
        np.testing.assert_array_equal(theirs.reset().observation, first.observation[i])
        before = 0
        for row, action in enumerate(actions[i]):
            column = states.column[i, row]
            chance.carried = column == min(before + 1, sea.size - 1)
            treasure = before == sea.size - 1 and action == sea.right[row, before]
            is_right = action == sea.right[row, before]
            chance.noise = rest.reward[i, row] - treasure + is_right * 0.01 / sea.size
            timestep = theirs.step(action)
            np.testing.assert_array_equal(timestep.observation, rest.observation[i, row])
            np.testing.assert_allclose(timestep.reward, rest.reward[i, row], atol=1e-6)
            assert timestep.step_type == rest.step_type[i, row]
            assert timestep.discount == rest.discount[i, row]
            before = column
        total_bad += states.is_bad[i, -1]
    assert theirs.bsuite_info()["total_bad_episodes"] == total_bad


def test_a_cell_is_where_the_grid_shows_the_diver():
    actions, _, _, rest = episodes(DeepSea(5))
    sea = DeepSea(5, observation="cell")
    keys = jax.random.split(jax.random.key(0), EPISODES)
    first, (_, of_cells) = jax.device_get(play(sea, keys, actions))
    grids = rest.observation.reshape(EPISODES, 5, 25)
    np.testing.assert_array_equal(first.observation, 0)
    numbers = np.zeros((5, 5), int)
    numbers[np.tril_indices(5)] = np.arange(15)  # row by row, those that can be reached
    np.testing.assert_array_equal(
        of_cells.observation[:, :-1], numbers.ravel()[grids[:, :-1].argmax(-1)]
    )
    np.testing.assert_array_equal(of_cells.observation[:, -1], 15)
    assert sea.num_cells == 16
    np.testing.assert_array_equal(of_cells.reward, rest.reward)
    sea.spec.observation.validate(of_cells.observation[0, -1])


def test_time_steps_have_the_specified_types():
    sea = DeepSea(3)
    batch = make("deep_sea:3", 2, jax.random.key(0))
    assert batch.spec == sea.spec
    for timestep in (batch.reset(), batch.step(np.zeros(2, np.int32))):
        sea.spec.observation.validate(np.asarray(timestep.observation[0]))
        assert timestep.reward.dtype == timestep.discount.dtype == np.float32
        assert timestep.step_type.dtype == np.int8


def test_a_team_dives_in_one_sea():
    """Agent k's way is always right, but for its first k actions: in every episode the same."""
    sea, agents, dives = DeepSea(4), 3, 5

    def act(params, actor, timestep, key):
        cell = jnp.argmax(timestep.observation.reshape(-1, 16), axis=1)
        row, column = cell // 4, cell % 4
        return jnp.asarray(sea.right)[row, column] ^ (row < actor), (), actor

    agent = Agent(
        lambda key: Knowledge(()), jnp.arange, act, None, lambda state, batch: (state, {})
    )
    parts = simulation(
        agent,
        OneWorld(sea),
        num_agents=agents,
        horizon=4 * dives,
        clock="synchronous",
        restart=True,
    )
    running = jax.jit(parts.start)(jax.random.split(jax.random.key(0), 1))
    agents_after = jax.jit(parts.advance)(running, parts.num_ticks).progress.agents
    np.testing.assert_array_equal(agents_after.steps, 4 * dives)
    np.testing.assert_array_equal(agents_after.environment.is_bad, [[False, True, True]])
    expected = dives * np.array([1 - 0.01, -0.01 * 3 / 4, -0.01 * 2 / 4])
    np.testing.assert_allclose(agents_after.returns[0], expected, rtol=1e-5)


class Knowledge(NamedTuple):
    """Of a team that learns nothing."""

    params: tuple[()]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"size": 1}, "size is 1"),
        ({"mapping_seed": -1}, "mapping_seed -1"),
        ({"observation": "sonar"}, "'sonar'"),
    ],
)
def test_settings_out_of_range_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        DeepSea(**wrong)
