"""The team's cart-pole beside MuJoCo, beside the authors' trajectories and beside mechanics."""

from functools import partial
from math import pi
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.environments import swingup
from expedition.environments.dm_control import control_suite
from expedition.environments.interface import FIRST, LAST, MID
from expedition.environments.swingup import Swingup, SwingupState

pytest.importorskip("dm_control")

TASK = Swingup()
advance = jax.jit(jax.vmap(TASK.advance))


def states(position=0.0, angle=pi, velocity=0.0, spin=0.0):
    """As many states as the longest argument has numbers."""
    fields = np.broadcast_arrays(*map(np.atleast_1d, (position, angle, velocity, spin)))
    return SwingupState(
        *(jnp.asarray(x, jnp.float32) for x in fields), jnp.zeros(len(fields[0]), jnp.int32)
    )


def numbers(state):
    return np.stack([np.asarray(x, np.float64) for x in state[:4]], axis=-1)


def random_states(num, near_the_stop):
    rng = np.random.default_rng(0)
    position = rng.uniform(-1.7, 1.7, num)
    if near_the_stop:
        position = rng.choice([-1, 1], num) * rng.uniform(1.75, 1.96, num)
    angle, velocity, spin = rng.uniform([-7, -6, -15], [7, 6, 15], (num, 3)).T
    return states(position, angle, velocity, spin), rng.integers(3, size=num)


def by_mujoco(state, actions):
    """One step of MuJoCo from the same numbers."""
    from mujoco import MjData
    from mujoco.rollout import Rollout

    model = control_suite().cartpole.swingup().physics.model.ptr
    physics = np.concatenate([np.zeros((len(actions), 1)), numbers(state)], axis=1)
    control = (actions - 1.0)[:, None, None]
    after, _ = Rollout(nthread=0).rollout(model, MjData(model), physics, control, nstep=1)
    return after[:, 0, 1:]


@pytest.mark.parametrize("near_the_stop", [False, True])
def test_one_step_is_mujocos(near_the_stop):
    state, actions = random_states(5000, near_the_stop)
    after = numbers(advance(state, actions))
    np.testing.assert_allclose(after, by_mujoco(state, actions), rtol=0, atol=2e-5)
    is_beyond = np.abs(after[:, 0]) > swingup.RAIL
    assert is_beyond.mean() > 0.5 if near_the_stop else not is_beyond.any()


def test_one_step_is_the_authors():
    """Except that their pole is a thin rod, ours has MuJoCo's capsule: .5 % of its inertia."""
    with np.load(Path(__file__).parent / "swingup_trajectories.npz") as file:
        data = dict(file)
    before, after = data["before"], data["after"]  # [N, 4] x, x', φ, φ'
    state = states(before[:, 0], before[:, 2], before[:, 1], before[:, 3])
    ours = advance(state, np.sign(data["force"]).astype(int) + 1)
    turns = 2 * pi * np.round((after[:, 2] - np.asarray(ours.angle)) / (2 * pi))
    for mine, theirs, tolerance in (
        (ours.position, after[:, 0], 2e-6),
        (ours.velocity, after[:, 1], 2e-4),
        (np.asarray(ours.angle) + turns, after[:, 2], 1e-4),
        (ours.spin, after[:, 3], 8e-3),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)
    assert (np.abs(before[:, 0]) > swingup.RAIL).sum() > 100


AGENTS = 1000
ON_MUJOCO = 300


@jax.jit
def visited(start, actions):
    """Positions and spins `[time, agents]` of agents who act so, and whether in the goal."""

    def step(state, actions):
        state = jax.vmap(TASK.advance)(state, actions)
        return state, (state.position, state.spin, TASK.is_goal(state))

    start = jax.tree.map(lambda x: jnp.broadcast_to(x, actions.shape[1]), start)
    return jax.lax.scan(step, start, actions)[1]


@jax.jit
def best_rewards(key, activity):
    """Of agents that act at random with this probability and else do nothing, for 30 s."""

    def step(carry, key):
        state, best = carry
        which, when = jax.random.split(key)
        actions = jax.random.randint(which, (AGENTS,), 0, 3)
        actions = jnp.where(jax.random.bernoulli(when, activity, (AGENTS,)), actions, 1)
        state = jax.vmap(TASK.advance)(state, actions)
        return (state, jnp.maximum(best, jax.vmap(TASK.reward)(state, actions))), None

    start_key, key = jax.random.split(key)
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (AGENTS,)), TASK.draw(start_key))
    keys = jax.random.split(key, 3000)
    return jax.lax.scan(step, (start, jnp.full(AGENTS, -1.0)), keys)[0][1]


def test_agents_that_seldom_push_never_see_the_reward():
    """The authors' epsilon-greedy agents pushed in 5 % of their actions."""
    np.testing.assert_array_equal(best_rewards(jax.random.key(0), 0.075), 0.0)


def test_agents_that_push_at_random_fare_as_on_mujoco():
    """The stop's statistics, of agents who take the same actions and soon part all the same."""
    from mujoco import MjData
    from mujoco.rollout import Rollout

    model = control_suite().cartpole.swingup().physics.model.ptr
    start = np.concatenate([[0.0], numbers(TASK.draw(jax.random.key(0)))])
    actions = np.random.default_rng(0).integers(3, size=(ON_MUJOCO, 3000))
    controls = actions[..., None] - 1.0
    after, _ = Rollout(nthread=0).rollout(
        model, MjData(model), np.tile(start, (ON_MUJOCO, 1)), controls, nstep=3000
    )
    state = SwingupState(*(after[..., i] for i in range(1, 5)), None)
    goal = np.asarray(TASK.is_goal(state))
    theirs = per_agent(after[..., 1], after[..., 4], goal)
    ours = per_agent(*(np.asarray(x).T for x in visited(TASK.draw(jax.random.key(0)), actions.T)))
    assert theirs["at the stop"].mean() > 0.05
    assert 0.03 < theirs["in the goal"].mean() < 0.3
    for name, values in theirs.items():
        error = ((values.var() + ours[name].var()) / ON_MUJOCO) ** 0.5
        assert abs(values.mean() - ours[name].mean()) < 3 * error, name


def per_agent(position, spin, goal):
    """Statistics of paths, each `[agents, time]`."""
    return {
        "at the stop": (np.abs(position) > swingup.RAIL).mean(1),
        "spin": np.abs(spin).mean(1),
        "in the goal": goal.any(1),
    }


def energy(state):
    """In joules, kinetic and potential."""
    x = numbers(state)
    moving = swingup.MASS * x[:, 2] ** 2 / 2 + swingup.INERTIA * x[:, 3] ** 2 / 2
    together = swingup.MOMENT * np.cos(x[:, 1]) * x[:, 2] * x[:, 3]
    return moving + together + swingup.GRAVITY * swingup.MOMENT * np.cos(x[:, 1])


def test_the_stop_takes_energy_and_never_gives_any():
    """From before the cart meets the stop to after it has left it, without a push."""
    rng = np.random.default_rng(1)
    state = states(1.75, rng.uniform(-pi, pi, 500), rng.uniform(1, 6, 500), rng.uniform(-9, 9, 500))
    before, met, left = energy(state), np.zeros(500, bool), np.zeros(500, bool)
    kept = np.full(500, np.nan)
    for _ in range(100):
        state = advance(state, np.ones(500, int))
        is_in = np.asarray(state.position) > swingup.RAIL
        left_now = met & ~is_in & ~left
        kept[left_now] = (energy(state) - before)[left_now]
        met, left = met | is_in, left | left_now
    assert left.sum() > 400
    assert np.nanmax(kept) < 1e-3
    assert np.nanmedian(kept) < -1.0


def test_inside_the_rail_energy_is_kept():
    state = states(0.0, np.linspace(0.1, 6, 20), 0.3, 2.0)
    before = energy(state)
    for _ in range(100):
        state = advance(state, np.ones(20, int))
    np.testing.assert_allclose(energy(state), before, atol=5e-3)


@pytest.mark.parametrize("action", [0, 2])
def test_pinned_at_the_stop_a_push_does_not_drive_the_pole(action):
    state = states()
    for _ in range(1000):
        state = advance(state, np.array([action]))
    pinned = numbers(state)[0]
    assert 1.8 < abs(pinned[0]) < 2.0
    assert abs(pinned[2]) < 1e-2
    highest = -1.0
    for _ in range(1000):
        state = advance(state, np.array([action]))
        highest = max(highest, float(jnp.cos(state.angle[0])))
    # As high as the spin that it has left can carry it, and no higher.
    left = swingup.INERTIA * pinned[3] ** 2 / (2 * swingup.GRAVITY * swingup.MOMENT)
    assert highest <= np.cos(pinned[1]) + left + 1e-3
    assert energy(state) <= energy(states(*pinned)) + 1e-3


def test_features():
    state = states(0.05, 0.3, 2.0, -5.0)
    for task, position in ((TASK, 0.005), (Swingup(goal="metric", position_scale=2), 0.025)):
        expected = [np.cos(0.3), np.sin(0.3), -0.5, position, 0.2, 1.0]
        np.testing.assert_allclose(jax.vmap(task.features)(state)[0], expected, rtol=1e-6)
    for goal, inside in (("scaled", 0.19), ("metric", 0.09)):
        seen = jax.vmap(Swingup(goal=goal).features)(states(np.array([-inside, inside + 0.02])))
        np.testing.assert_array_equal(seen[:, 5], [1, 0])


UP = {"position": 0.09, "angle": 0.3, "velocity": 0.9, "spin": -0.9}


@pytest.mark.parametrize(
    ("change", "scaled", "metric"),
    [
        ({}, True, True),
        ({"angle": 0.33}, False, False),
        ({"angle": 2 * pi - 0.3}, True, True),
        ({"position": -0.11}, True, False),
        ({"position": 0.21}, False, False),
        ({"velocity": -1.1}, True, False),
        ({"velocity": 10.1}, False, False),
        ({"spin": 1.1}, True, False),
        ({"spin": -10.1}, False, False),
    ],
)
def test_goals(change, scaled, metric):
    state = states(**{**UP, **change})
    for goal, expected in (("scaled", scaled), ("metric", metric)):
        for action, cost in ((0, 0.1), (1, 0.0), (2, 0.1)):
            reward = jax.vmap(Swingup(goal=goal).reward)(state, jnp.array([action]))
            np.testing.assert_allclose(reward, expected - cost, rtol=1e-6)


def test_a_team_shares_its_start_and_ends_by_the_clock_alone():
    task = Swingup(max_steps=2)
    world = task.draw(jax.random.key(3))
    state, timestep = task.reset(world, jax.random.key(4))
    other, _ = task.reset(world, jax.random.key(5))
    np.testing.assert_array_equal(numbers(state), numbers(other))
    assert np.abs(numbers(state) - [0, pi, 0, 0]).max() < 0.05
    assert timestep.step_type == FIRST
    types = []
    for _ in range(2):
        state, timestep = task.step(world, state, jnp.int32(2))
        types.append(int(timestep.step_type))
        assert timestep.discount == 1.0
        np.testing.assert_allclose(timestep.reward, -0.1)
    assert types == [MID, LAST]


def test_starts_differ_by_their_standard_deviation():
    starts = jax.vmap(TASK.draw)(jax.random.split(jax.random.key(0), 2000))
    np.testing.assert_allclose(numbers(starts).mean(0), [0, pi, 0, 0], atol=1e-3)
    np.testing.assert_allclose(numbers(starts).std(0), 0.01, rtol=0.1)


@pytest.mark.parametrize("wrong", [{"goal": "printed"}, {"max_steps": 0}, {"position_scale": 0.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Swingup(**wrong)


def batch(num=3, *, key=0, **settings):
    from expedition.environments.swingup_mujoco import SwingupBatch

    return SwingupBatch(Swingup(**settings), num, jax.random.key(key))


def test_the_batch_is_the_port_on_mujoco():
    """Rewards, features and ends, over an episode and into the next."""
    task, environment = Swingup(max_steps=200), batch(8, max_steps=200)
    timestep = environment.reset()
    world = task.draw(jax.random.key(0))
    step = jax.jit(jax.vmap(partial(task.step, world)))
    one, expected = task.reset(world, jax.random.key(0))
    state = jax.tree.map(lambda x: jnp.broadcast_to(x, (8,)), one)
    np.testing.assert_allclose(timestep.observation, np.tile(expected.observation, (8, 1)), 1e-5)
    np.testing.assert_array_equal(timestep.step_type, FIRST)
    rng = np.random.default_rng(0)
    for i in range(200):
        actions = rng.integers(3, size=8) if i < 100 else np.array([0, 2] * 4)
        timestep = environment.step(actions)
        state, expected = step(state, jnp.asarray(actions))
        np.testing.assert_allclose(timestep.observation, expected.observation, atol=2e-4)
        np.testing.assert_allclose(timestep.reward, expected.reward, atol=1e-6)
        np.testing.assert_array_equal(timestep.step_type, expected.step_type)
    assert np.all(timestep.step_type == LAST)
    assert np.abs(environment.states.position).max() > swingup.RAIL
    again = environment.step(np.zeros(8, int))
    np.testing.assert_array_equal(again.step_type, FIRST)
    np.testing.assert_array_equal(again.reward, 0.0)
    np.testing.assert_allclose(again.observation, np.tile(one_features(task, one), (8, 1)), 1e-5)
    environment.close()


def one_features(task, state):
    return np.asarray(task.features(state))


def test_batches_of_one_key_are_one_team():
    first, second, other = (batch(key=key).reset().observation for key in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


def test_an_upright_state_is_paid_by_the_batch():
    environment = batch(2)
    environment.reset()
    environment._state[:, 2] = [0.0, pi]
    np.testing.assert_allclose(environment.step(np.array([1, 1])).reward, [1.0, 0.0], atol=1e-6)
    environment._state[:, 2] = 0.0
    np.testing.assert_allclose(environment.step(np.array([0, 1])).reward, [0.9, 1.0], atol=1e-6)


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="num_environments is 0; expected at least 1"):
        batch(0)
