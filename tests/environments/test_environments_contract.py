"""dm_env's own contract, and a lying reset, for every adapter's batches."""

import importlib.util

import dm_env
import jax
import numpy as np
import pytest
from absl.testing import absltest
from dm_env import specs, test_utils

from expedition.environments import FIRST, atari, make

KEY = jax.random.key(0)


class OneOf(dm_env.Environment):
    """A batch of one as the dm_env environment that it is said to be."""

    def __init__(self, batch):
        self._batch = batch

    def reset(self):
        return self._single(self._batch.reset())

    def step(self, action):
        return self._single(self._batch.step(np.asarray(action)[None]))

    def observation_spec(self):
        return self._batch.spec.observation

    def action_spec(self):
        return self._batch.spec.action

    def reward_spec(self):
        return specs.Array((), np.float32)

    def discount_spec(self):
        return specs.BoundedArray((), np.float32, 0.0, 1.0)

    def close(self):
        self._batch.close()

    @staticmethod
    def _single(timestep):
        step_type, reward, discount, observation = (np.asarray(x)[0] for x in timestep)
        if step_type == FIRST:
            assert (reward, discount) == (0, 1)
            return dm_env.restart(observation)
        return dm_env.TimeStep(dm_env.StepType(step_type), reward, discount, observation)


class Contract(test_utils.EnvironmentTestMixin):
    """Ends episodes: cart-poles fall, games are cut off, dm_control's actions are long."""

    library = None
    name = ""
    action_repeat = 1

    def setUp(self):
        if self.library and importlib.util.find_spec(self.library) is None:
            self.skipTest(f"{self.library} is not installed")
        limit, atari.MAX_FRAMES = atari.MAX_FRAMES, 40
        self.addCleanup(setattr, atari, "MAX_FRAMES", limit)
        super().setUp()

    def make_object_under_test(self):
        return OneOf(make(self.name, 1, KEY, action_repeat=self.action_repeat))

    def test_an_episode_ends(self):
        self.environment.reset()
        assert any(self.environment.step(self.make_action()).last() for _ in range(20))


class TestCatch(Contract, absltest.TestCase):
    name = "catch"


class TestMemoryChain(Contract, absltest.TestCase):
    name = "memory_chain:3"


class TestAtari(Contract, absltest.TestCase):
    library, name = "ale_py", "atari:pong"


class TestGymnasium(Contract, absltest.TestCase):
    library, name = "gymnasium", "gym:CartPole-v1"


class TestEnvPool(Contract, absltest.TestCase):
    library, name = "envpool", "envpool:CartPole-v1"


class TestDmControl(Contract, absltest.TestCase):
    library, name, action_repeat = "dm_control", "dm_control:pendulum-swingup", 100


class TestBatchedCartpole(Contract, absltest.TestCase):
    library, name, action_repeat = "dm_control", "dm_control:cartpole-swingup", 100


class LyingAtReset:
    """Reports a reward of 9999 and an ended episode on the steps that start one."""

    def __init__(self, environments):
        self._environments, self._ended = environments, False

    def __getattr__(self, name):
        return getattr(self._environments, name)

    def step(self, actions):
        starts = self._ended
        observations, rewards, terminated, truncated, info = self._environments.step(actions)
        self._ended = (terminated | truncated) & ~np.asarray(starts)
        rewards = np.where(starts, 9999, rewards)
        return observations, rewards, terminated | starts, truncated | starts, info


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("ale_py", "atari:pong"),
        ("envpool", "envpool:CartPole-v1"),
        ("gymnasium", "gym:CartPole-v1"),
    ],
)
def test_a_reward_on_the_step_that_begins_anew_changes_nothing(library, name, monkeypatch):
    pytest.importorskip(library)
    monkeypatch.setattr(atari, "MAX_FRAMES", 40)
    honest, lying = (make(name, 2, KEY) for _ in range(2))
    lying._environments = LyingAtReset(lying._environments)
    starts = 0
    for step in range(60):
        action = np.full(2, step // 20 % 2)
        timestep, other = (batch.step(action) for batch in (honest, lying))
        for one, same in zip(timestep, other, strict=True):
            np.testing.assert_array_equal(one, same)
        starts += (timestep.step_type == FIRST).sum()
    assert starts > 4
