"""The dm_control suite: every benchmark task steps; limits, seeds and errors."""

import sys
from types import ModuleType

import dm_env
import jax
import numpy as np
import pytest
from absl.testing import absltest
from dm_env import test_utils

from expedition.environments import (
    LAST,
    MID,
    ActionRepeat,
    DiscreteActions,
    dm_control,
    dm_control_batch,
)

try:
    SUITE = dm_control.control_suite()
except ModuleNotFoundError:  # no release for this Python
    SUITE = None
INSTALLED = pytest.mark.skipif(SUITE is None, reason="dm_control is not installed")
TASKS = ["-".join(task) for task in SUITE.BENCHMARKING] if SUITE else []


def batch(task="cartpole-swingup", num=1, seed=0, **settings):
    return dm_control_batch(task, num, jax.random.key(seed), **settings)


def record(environment, action, num_steps=5):
    """The time steps [steps + 1, B] of a constant action."""
    shape = (environment.num_environments, *environment.spec.action.shape)
    actions = np.full(shape, action)
    timesteps = [environment.reset(), *(environment.step(actions) for _ in range(num_steps))]
    return dm_env.TimeStep(*map(np.stack, zip(*timesteps, strict=True)))


def equal(left, right):
    return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


@INSTALLED
class TestWrappedCartpoleContract(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        environment = SUITE.load("cartpole", "swingup", task_kwargs={"time_limit": 0.1})
        return DiscreteActions(ActionRepeat(environment, 3), 3)


@pytest.mark.parametrize("task", TASKS)
def test_every_benchmark_task_steps(task):
    environment = batch(task, num=2)
    timesteps = record(environment, 0.5)
    assert (timesteps.step_type[1:] == MID).all()
    assert (timesteps.discount == 1).all()
    assert timesteps.observation.shape == (6, 2, *environment.spec.observation.shape)
    assert np.isfinite(timesteps.observation).all()
    assert (timesteps.observation[-1] != timesteps.observation[0]).any()
    assert ((timesteps.reward >= 0) & (timesteps.reward <= 1)).all()


@INSTALLED
@pytest.mark.parametrize("action_repeat", [1, 2])
def test_cartpole_ends_after_1000_frames_by_its_time_limit(action_repeat):
    environment = batch(action_repeat=action_repeat)
    assert environment.frames_per_step == action_repeat
    timesteps = record(environment, 0.0, num_steps=1000 // action_repeat)
    assert (timesteps.step_type[1:-1] == MID).all()
    assert timesteps.step_type[-1] == LAST
    assert timesteps.discount[-1] == 1


@INSTALLED
def test_the_rewards_of_repeated_actions_are_added():
    single, double = (record(batch(action_repeat=n), 1.0, 20 // n) for n in (1, 2))
    np.testing.assert_array_equal(double.observation, single.observation[::2])
    sums = single.reward[1:].reshape(10, 2).sum(axis=1)
    np.testing.assert_allclose(double.reward[1:, 0], sums, rtol=1e-6)


@INSTALLED
def test_each_environment_has_its_own_seed():
    observation = batch(num=8).reset().observation
    assert len(np.unique(observation, axis=0)) == 8


@INSTALLED
def test_the_key_names_the_trajectories():
    trajectory = record(batch(num=2, seed=3), 0.3)
    assert equal(record(batch(num=2, seed=3), 0.3), trajectory)
    assert not equal(record(batch(num=2, seed=4), 0.3), trajectory)


@INSTALLED
@pytest.mark.parametrize(("action", "number"), [(-1.0, 0), (0.0, 2), (1.0, 4)])
def test_bins_stand_for_real_actions(action, number):
    environment = batch(action_bins=5)
    assert environment.spec.action.num_values == 5
    assert equal(record(environment, number), record(batch(), action))


@INSTALLED
def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'cartpole-swing_up' was given; try cartpole-swingup"):
        batch("cartpole-swing_up")


@INSTALLED
def test_unlimited_actuators_are_refused():
    with pytest.raises(ValueError, match="expected finite bounds"):
        batch("lqr-lqr_2_1")


def test_a_missing_dm_control_is_explained_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs Python 3\.11 or 3\.12") as raised:
        batch()
    assert "\n" not in str(raised.value)


def test_a_broken_dm_control_is_not_called_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", ModuleType("dm_control"))
    monkeypatch.delitem(sys.modules, "dm_control.suite", raising=False)
    with pytest.raises(ImportError, match="cannot import name 'suite'"):
        batch()
