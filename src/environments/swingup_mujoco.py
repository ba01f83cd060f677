"""The team's cart-pole swing-up on MuJoCo itself: dm_control's model, all agents in one call."""

from typing import Any

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from expedition.environments.dm_control import control_suite
from expedition.environments.interface import FIRST, LAST, MID, Array, check_shape
from expedition.environments.swingup import FORCE, Swingup, SwingupState


class SwingupBatch:
    """`Swingup` with the physics of MuJoCo rather than of its port.

    All agents start where the key says: batches made with one key are of one team.

    Args:
      task: features, reward, start and length.
      num_environments: B.
      key: names the shared start.

    Raises:
      ModuleNotFoundError: dm_control is not installed.
      ValueError: there is no environment.
    """

    def __init__(self, task: Swingup, num_environments: int, key: jax.Array) -> None:
        if num_environments < 1:
            raise ValueError(f"num_environments is {num_environments}; expected at least 1")
        suite = control_suite()
        # MuJoCo comes with dm_control, which not every installation has.
        import mujoco
        from mujoco.rollout import Rollout

        self._model = suite.cartpole.swingup().physics.model.ptr
        self._data = mujoco.MjData(self._model)
        self._rollout = Rollout(nthread=0)  # on the caller's thread, outside Python's lock
        self.spec = task.spec
        self.num_environments = num_environments
        self.frames_per_step = 1
        self._max_steps = task.max_steps
        start = task.draw(key)
        self._start = np.array([0.0, start.position, start.angle, start.velocity, start.spin])
        self._state = np.tile(self._start, (num_environments, 1))  # [B, 5], the first is the time
        self._steps = np.full(num_environments, task.max_steps)

        def see(physics: jax.Array, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Features and rewards of states `[B, 5]` to which the actions led."""
            _, position, angle, velocity, spin = physics.T
            state = SwingupState(position, angle, velocity, spin, jnp.zeros(len(physics), int))
            return jax.vmap(task.features)(state), jax.vmap(task.reward)(state, actions)

        self._see = jax.jit(see)

    def reset(self) -> dm_env.TimeStep:
        """Puts every agent at the start."""
        self._steps[:] = self._max_steps
        return self.step(np.ones(self.num_environments, np.int32))

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; an ended one starts its next episode."""
        actions = np.asarray(actions)
        check_shape(actions, self.spec.action, self.num_environments)
        starts = self._steps >= self._max_steps
        states, _ = self._rollout.rollout(
            self._model,
            self._data,
            self._state,
            (actions[:, None, None] - 1.0) * FORCE / self._gear,
            nstep=1,
        )
        self._state = np.where(starts[:, None], self._start, states[:, 0])
        self._steps = np.where(starts, 0, self._steps + 1)
        observations, rewards = self._see(self._state.astype(np.float32), actions)
        ended = self._steps >= self._max_steps
        return dm_env.TimeStep(
            np.where(starts, FIRST, np.where(ended, LAST, MID)).astype(np.int8),
            np.where(starts, 0.0, rewards).astype(np.float32),
            np.ones(self.num_environments, np.float32),
            np.asarray(observations),
        )

    def get_state(self) -> tuple[np.ndarray, ...]:
        """The start, physics, and the number of steps of the episode."""
        return self._start, self._state.copy(), self._steps.copy()

    def set_state(self, state: tuple[np.ndarray, ...]) -> None:
        """Goes on from there."""
        self._start, self._state, self._steps = (np.array(x) for x in state)

    @property
    def states(self) -> SwingupState:
        """Where the carts and poles are, each field `[B]`."""
        _, position, angle, velocity, spin = self._state.T
        return SwingupState(
            *(jnp.asarray(x) for x in (position, angle, velocity, spin, self._steps))
        )

    @property
    def _gear(self) -> Any:
        return self._model.actuator_gear[0, 0]

    def close(self) -> None:
        """Nothing is held beyond this object."""
