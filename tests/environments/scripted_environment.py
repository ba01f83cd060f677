"""A dm_env environment whose every time step is known in advance."""

import dm_env
import numpy as np
from dm_env import StepType, specs

REAL = specs.BoundedArray((2,), np.float32, [-2.0, 0.0], [2.0, 10.0], "action")
DISCRETE = specs.DiscreteArray(3, name="action")
DUMMY_REWARD = 9999.0


class Scripted(dm_env.Environment):
    """Episodes of `length` steps; step n of an episode has reward n and shows (episode, n).

    The observation's buffers are written in place, and its names are not in alphabetic order.
    """

    def __init__(self, length=3, *, action=REAL, terminates=True, first_reward=None):
        self._length = length
        self._action = action
        self._final_discount = 0.0 if terminates else 1.0
        self._first_reward = first_reward
        self._observation = {"steps": np.zeros(()), "episode": np.zeros((2, 1))}
        self._running = False
        self.actions = []  # those that were not ignored
        self.closed = False

    def reset(self):
        self._running = True
        self._observation["episode"] += 1
        self._observation["steps"][()] = 0
        discount = None if self._first_reward is None else 1.0
        return dm_env.TimeStep(StepType.FIRST, self._first_reward, discount, self._observation)

    def step(self, action):
        if not self._running:
            return self.reset()
        self.actions.append(action)
        self._observation["steps"] += 1
        steps = float(self._observation["steps"])
        if steps < self._length:
            return dm_env.transition(steps, self._observation, 1.0)
        self._running = False
        return dm_env.TimeStep(StepType.LAST, steps, self._final_discount, self._observation)

    def observation_spec(self):
        return {"steps": specs.Array((), float), "episode": specs.Array((2, 1), float)}

    def action_spec(self):
        return self._action

    def close(self):
        self.closed = True
