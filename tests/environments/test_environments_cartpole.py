"""The batched cart-pole, frame for frame beside dm_control's own environments."""

import jax
import numpy as np
import pytest

pytest.importorskip("dm_control")

from expedition.environments.cartpole import TASKS, CartpoleBatch
from expedition.environments.dm_control import control_suite, dm_control_batch
from expedition.environments.interface import FIRST, LAST, MID


def make(task, num=3, **settings):
    return CartpoleBatch(control_suite(), task, num, jax.random.key(0), **settings)


def suite_environment(task, state):
    """The suite's own environment, set to a state (cart, pole, and their velocities)."""
    environment = control_suite().load("cartpole", task)
    environment.reset()
    with environment.physics.reset_context():
        environment.physics.set_state(state)
    return environment


def flat(timestep):
    return np.concatenate([timestep.observation["position"], timestep.observation["velocity"]])


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_episode_equals_the_suites(task):
    batch = make(task)
    batch.reset()
    references = [suite_environment(task, state[1:]) for state in batch._state]
    rng = np.random.default_rng(1)
    rewarded, periods = 0.0, np.array([[40.0], [55.0], [23.0]])
    for frame in range(1, 1001):
        # Slow enough swings to run into the rail's ends, large enough to be clipped.
        actions = 1.5 * np.sign(np.sin(frame / periods)) + rng.normal(size=(3, 1))
        timestep = batch.step(actions)
        for i, environment in enumerate(references):
            expected = environment.step(np.clip(actions[i], -1, 1))
            np.testing.assert_allclose(timestep.observation[i], flat(expected), atol=2e-5)
            np.testing.assert_allclose(timestep.reward[i], expected.reward, atol=1e-5)
            assert timestep.discount[i] == expected.discount == 1.0
            assert timestep.step_type[i] == int(expected.step_type)
            # Chaos would grow the last digits' difference; each frame starts from one state.
            environment.physics.set_state(batch._state[i, 1:])
            environment.physics.forward()
        rewarded += timestep.reward.sum()
    assert np.all(timestep.step_type == LAST)
    assert np.max(np.abs(batch._state[:, 1])) > 1.0
    assert rewarded > 0 or task == "swingup_sparse"


def test_free_running_it_stays_with_the_suite_for_a_second():
    batch = make("swingup")
    batch.reset()
    environment = suite_environment("swingup", batch._state[0, 1:])
    rng = np.random.default_rng(0)
    for _ in range(100):
        actions = rng.uniform(-1, 1, (3, 1))
        timestep = batch.step(actions)
        expected = environment.step(actions[0])
    np.testing.assert_allclose(timestep.observation[0], flat(expected), atol=1e-4)


@pytest.mark.parametrize("task", ["swingup", "balance"])
def test_starts_are_distributed_as_the_suites(task):
    ours = make(task, 400)
    ours.reset()
    environment = control_suite().load("cartpole", task, task_kwargs={"random": 1})
    theirs = []
    for _ in range(400):
        environment.reset()
        theirs.append(environment.physics.get_state())
    theirs = np.stack(theirs)
    spread = theirs.std(0)
    np.testing.assert_allclose(ours._state[:, 1:].mean(0), theirs.mean(0), atol=0.3 * spread.max())
    np.testing.assert_allclose(ours._state[:, 1:].std(0), spread, rtol=0.2)
    np.testing.assert_allclose(np.abs(ours._state[:, 1:]).max(0), np.abs(theirs).max(0), rtol=0.5)


def test_repeated_frames_are_the_sum_of_single_ones():
    single, repeated = make("swingup"), make("swingup", action_repeat=4)
    single.reset()
    repeated.reset()
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 1))
        rewards = sum(single.step(actions).reward for _ in range(4))
        timestep = repeated.step(actions)
        np.testing.assert_allclose(timestep.reward, rewards, rtol=1e-5)
    np.testing.assert_allclose(repeated._state, single._state, atol=1e-9)


def test_the_time_limit_cuts_the_last_action_short_and_the_next_step_restarts():
    batch = make("swingup", action_repeat=300)
    for _ in range(2):
        for count in range(5):
            timestep = batch.step(np.ones((3, 1)))
            expected = FIRST if count == 0 else LAST if count == 4 else MID
            assert np.all(timestep.step_type == expected)
            assert np.all(timestep.discount == 1.0)
        assert np.allclose(batch._state[:, 0], 10.0)
        assert np.all(timestep.reward <= 100)  # frames left of 1000 after three times 300


def test_bins_span_the_range_of_the_force():
    discrete, real = make("swingup", action_bins=5), make("swingup")
    discrete.reset()
    real.reset()
    for action, force in enumerate([-1, -0.5, 0, 0.5, 1]):
        ours = discrete.step(np.full(3, action))
        expected = real.step(np.full((3, 1), float(force)))
        np.testing.assert_array_equal(ours.observation, expected.observation)
    assert discrete.spec.action.num_values == 5


def test_the_key_names_the_episodes_and_the_suite_names_the_batch():
    assert isinstance(dm_control_batch("cartpole-swingup", 2, jax.random.key(0)), CartpoleBatch)
    first, same = make("swingup").reset(), make("swingup").reset()
    other = CartpoleBatch(control_suite(), "swingup", 3, jax.random.key(1)).reset()
    np.testing.assert_array_equal(first.observation, same.observation)
    assert not np.any(first.observation == other.observation)
    assert len(np.unique(first.observation[:, 0])) == 3


@pytest.mark.parametrize("settings", [{"num": 0}, {"action_repeat": 0}, {"action_bins": 1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected at least 1, 1, and None or 2"):
        make("swingup", **settings)
