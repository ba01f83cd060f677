"""dm_control's cart-pole tasks, all environments of a batch stepped in one call to MuJoCo."""

from types import ModuleType
from typing import Any

import dm_env
import jax
import numpy as np
from dm_env import specs

from expedition.environments.interface import (
    FIRST,
    LAST,
    MID,
    Array,
    EnvironmentSpec,
    check_shape,
)

TASKS = {  # name: (does the pole start hanging, is the reward sparse)
    "balance": (False, False),
    "balance_sparse": (False, True),
    "swingup": (True, False),
    "swingup_sparse": (True, True),
}


TIME_LIMIT = 10.0  # seconds, the suite's


class CartpoleBatch:
    """The suite's one-pole tasks: its model, MuJoCo's physics, its rewards over arrays.

    An environment of the suite costs some 100 us of Python a frame, in which no other thread
    runs; here MuJoCo steps the whole batch outside Python. Frame for frame equal to the suite's
    own environment (tested), and like it cut off, not terminated, after 10 s. Actions in [-1, 1]
    are the cart's force in units of 10 N.

    Source: Tassa et al. (2018), DeepMind Control Suite, https://arxiv.org/abs/1801.00690
    """

    def __init__(
        self,
        suite: ModuleType,
        task: str,
        num_environments: int,
        key: jax.Array,
        *,
        action_bins: int | None = None,
        action_repeat: int = 1,
    ) -> None:
        # MuJoCo comes with dm_control, which not every installation has.
        import mujoco
        from mujoco.rollout import Rollout

        if (
            num_environments < 1
            or action_repeat < 1
            or (action_bins is not None and action_bins < 2)
        ):
            raise ValueError(
                f"num_environments={num_environments}, action_repeat={action_repeat} and "
                f"action_bins={action_bins} were given; expected at least 1, 1, and None or 2"
            )
        environment = getattr(suite.cartpole, task)()
        self._swing_up, self._sparse = TASKS[task]
        self._model = environment.physics.model.ptr
        self._data = mujoco.MjData(self._model)
        self._rollout = Rollout(nthread=0)  # on the caller's thread, outside Python's lock
        self._tolerance = suite.cartpole.rewards.tolerance
        self._max_frames = round(TIME_LIMIT / environment.control_timestep())
        self._seed = np.asarray(jax.random.bits(key, (4,), "uint32"))
        self._calls: Any = np.int64(0)  # names what is drawn at the next step
        self._grid = None if action_bins is None else np.linspace(-1, 1, action_bins)
        action: specs.DiscreteArray | specs.BoundedArray
        action = specs.BoundedArray((1,), np.float32, -1.0, 1.0, "action")
        if action_bins is not None:
            action = specs.DiscreteArray(action_bins, name="action")
        self.spec = EnvironmentSpec(specs.Array((5,), np.float32, "observation"), action)
        self.num_environments = num_environments
        self.frames_per_step = action_repeat
        self._state = np.zeros((num_environments, 5))  # time, cart, pole, and their velocities
        self._frames = np.zeros(num_environments, int)
        self._ended = np.ones(num_environments, bool)

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode in every environment."""
        self._ended[:] = True
        return self.step(np.zeros((self.num_environments, *self.spec.action.shape), int))

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; an ended one starts its next episode."""
        actions = np.asarray(actions)
        check_shape(actions, self.spec.action, self.num_environments)
        force = self._grid[actions] if self._grid is not None else np.clip(actions[:, 0], -1, 1)
        starts = self._ended
        rewards = np.where(starts, 0.0, self._advance(force)).astype(np.float32)
        if starts.any():
            self._state[starts], self._frames[starts] = self._initial_states(starts.sum()), 0
        self._calls += 1
        self._ended = self._frames >= self._max_frames
        step_types = np.where(starts, FIRST, np.where(self._ended, LAST, MID)).astype(np.int8)
        discounts = np.ones(self.num_environments, np.float32)
        return dm_env.TimeStep(step_types, rewards, discounts, self._observations())

    def get_state(self) -> tuple[Any, ...]:
        """Physics, frames of the episode, whether it has ended; what names the next start."""
        episode = self._state.copy(), self._frames.copy(), self._ended.copy()
        return *episode, self._seed, self._calls

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Goes on from there."""
        self._state, self._frames, self._ended = (np.array(x) for x in state[:3])
        self._seed, self._calls = np.array(state[3]), np.int64(state[4])

    def close(self) -> None:
        """Nothing is held beyond this object."""

    def _advance(self, force: np.ndarray) -> np.ndarray:
        """Steps the physics by the action's frames; the reward of those before the limit."""
        states, _ = self._rollout.rollout(
            self._model, self._data, self._state, force[:, None, None], nstep=self.frames_per_step
        )
        frames = self._frames[:, None] + np.arange(1, self.frames_per_step + 1)
        in_time = frames <= self._max_frames
        last = in_time.sum(1) - 1
        rewards = self._rewards(states, force[:, None])
        running = ~self._ended
        self._state[running] = states[np.arange(len(states)), last][running]
        self._frames += np.where(running, last + 1, 0)
        return np.sum(rewards * in_time, axis=1)

    def _rewards(self, states: np.ndarray, force: np.ndarray) -> np.ndarray:
        cart, upright, spin = states[..., 1], np.cos(states[..., 2]), states[..., 4]
        if self._sparse:
            in_range = self._tolerance(cart, (-0.25, 0.25))
            return in_range * self._tolerance(upright, (0.995, 1))
        centred = (1 + self._tolerance(cart, margin=2)) / 2
        gentle = self._tolerance(force, margin=1, value_at_margin=0, sigmoid="quadratic")
        slow = (1 + self._tolerance(spin, margin=5)) / 2
        return (upright + 1) / 2 * (4 + gentle) / 5 * slow * centred

    def _initial_states(self, num: int) -> np.ndarray:
        rng = np.random.default_rng((*self._seed, self._calls))
        normal = rng.standard_normal((num, 4))
        cart, pole = 0.01 * normal[:, 0], np.pi + 0.01 * normal[:, 1]
        if not self._swing_up:
            cart = rng.uniform(-0.1, 0.1, num)
            pole = rng.uniform(-0.034, 0.034, num)
        velocity = 0.01 * normal[:, 2:]
        return np.concatenate([np.zeros((num, 1)), np.stack([cart, pole], 1), velocity], 1)

    def _observations(self) -> np.ndarray:
        _, cart, pole, speed, spin = self._state.T
        features = (cart, np.cos(pole), np.sin(pole), speed, spin)
        return np.stack(features, axis=1).astype(np.float32)
