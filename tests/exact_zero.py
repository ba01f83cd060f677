"""An environment whose observation is its true value, and a network that reads it off.

Whatever the policies, thresholds and episode ends, every temporal difference is then zero, and
stays so only while each reward, discount, observation and step type sits in its own row.
"""

import dm_env
import flax.linen as nn
import numpy as np
from dm_env import specs

from expedition.environments.interface import FIRST, LAST, MID, EnvironmentSpec


class ExactZero:
    """Random values; an episode goes on with probability 3/4, else terminates or is truncated."""

    spec = EnvironmentSpec(specs.Array((1,), "float32"), specs.DiscreteArray(3))
    frames_per_step = 1

    def __init__(self, num_environments, discount, seed=0):
        self.num_environments = num_environments
        self._discount = discount
        self._rng = np.random.default_rng(seed)
        self._value = np.zeros(num_environments, np.float32)
        self._ended = np.ones(num_environments, bool)

    def reset(self):
        self._ended[:] = True
        return self.step(None)

    def step(self, actions):
        del actions  # the values are those of any policy
        num = self.num_environments
        value = self._rng.normal(size=num).astype(np.float32)
        terminated, truncated = self._rng.random((2, num)) < 1 / 8
        discount = np.where(terminated & ~self._ended, 0, 1).astype(np.float32)
        reward = self._value - self._discount * discount * value
        step_type = np.where(terminated | truncated, LAST, MID)
        step_type = np.where(self._ended, FIRST, step_type).astype(np.int8)
        reward = np.where(self._ended, 0, reward).astype(np.float32)
        self._value, self._ended = value, step_type == LAST
        return dm_env.TimeStep(step_type, reward, discount, value[:, None])

    def close(self):
        pass


class ReadsValue(nn.Module):
    """The observation as the value; a random policy."""

    @nn.compact
    def __call__(self, observation, reset, state):
        logits = nn.Dense(3, kernel_init=nn.initializers.normal(1.0))(observation)
        return logits, observation[..., 0], state

    def initial_state(self, batch_size):
        return ()
