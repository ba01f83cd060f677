"""gymnasium environments as one batched environment."""

import difflib
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import dm_env
import jax
import numpy as np
from dm_env import specs

from expedition.environments.dm import finite_bounds, to_range
from expedition.environments.interface import (
    FIRST,
    LAST,
    MID,
    Array,
    EnvironmentSpec,
    check_shape,
)

if TYPE_CHECKING:
    from gymnasium import Env, Space
    from gymnasium.vector import VectorEnv


class GymBatch:
    """gymnasium environments, single ones or a `VectorEnv`, as a batched environment.

    Of gymnasium's auto-reset modes NEXT_STEP is this package's protocol: an ended environment
    ignores its next action and starts its next episode. A list of single environments, and a
    `SyncVectorEnv` of any mode, are stepped in it. What else has another mode is refused: with
    SAME_STEP the next episode has started when the final observation is shown, and an environment
    can't leave a step out while the others go on, so one of the two would have to be dropped.

    Observations are a Box of floats (float32 here) or of bytes. Real actions are in units of the
    action's range, as in `DmEnvBatch`.

    Args:
      environments: single environments, or the vector environment; this object closes them.
      seeds: one for each of its environments, of the type that its `reset` takes.
      frames_per_step: simulator frames that one action lasts.

    Raises:
      ValueError: the mode, a space or the number of seeds is not one that fits.
    """

    def __init__(
        self,
        environments: "Sequence[Env] | VectorEnv",
        seeds: Sequence[int] | np.ndarray,
        frames_per_step: int = 1,
    ) -> None:
        environments = _in_next_step_mode(environments)
        if len(seeds) != environments.num_envs:
            raise ValueError(
                f"{len(seeds)} seeds were given; expected one for each of "
                f"{environments.num_envs} environments"
            )
        self.spec = EnvironmentSpec(
            _observation_spec(environments.single_observation_space),
            _action_spec(environments.single_action_space),
        )
        self.num_environments = environments.num_envs
        self.frames_per_step = frames_per_step
        self._environments = environments
        self._discrete = isinstance(self.spec.action, specs.DiscreteArray)
        if not self._discrete:
            self._low, self._high = finite_bounds(self.spec.action)
        self._seeds: Any = seeds  # None once they are used
        self._ended = np.zeros(self.num_environments, bool)

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode in every environment."""
        observations, _ = self._environments.reset(seed=self._seeds)
        self._seeds = None
        self._ended = np.zeros(self.num_environments, bool)
        return dm_env.TimeStep(
            np.full(self.num_environments, FIRST, np.int8),
            np.zeros(self.num_environments, np.float32),
            np.ones(self.num_environments, np.float32),
            self._copy(observations),
        )

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; an ended one starts its next episode."""
        actions = np.asarray(actions)
        check_shape(actions, self.spec.action, self.num_environments)
        if self._seeds is not None:
            return self.reset()
        observations, rewards, terminated, truncated, _ = self._environments.step(
            self._to_library(actions)
        )
        starts = self._ended
        self._ended = (terminated | truncated) & ~starts
        return dm_env.TimeStep(
            np.where(starts, FIRST, np.where(self._ended, LAST, MID)).astype(np.int8),
            np.where(starts, 0.0, rewards).astype(np.float32),
            np.where(terminated & ~starts, 0.0, 1.0).astype(np.float32),
            self._copy(observations),
        )

    def close(self) -> None:
        """Closes every environment."""
        self._environments.close()

    def _to_library(self, actions: np.ndarray) -> np.ndarray:
        space: Any = self._environments.single_action_space
        if self._discrete:
            return (actions + space.start).astype(space.dtype)
        return to_range(actions, self._low, self._high).astype(space.dtype)

    def _copy(self, observations: np.ndarray) -> np.ndarray:
        # Fresh arrays a step: the actor and JAX may still hold the last ones.
        return np.array(observations, self.spec.observation.dtype, order="C")


def _in_next_step_mode(environments: "Sequence[Env] | VectorEnv") -> "VectorEnv":
    vector: Any = _gymnasium().vector
    expected = vector.AutoresetMode.NEXT_STEP
    if isinstance(environments, Sequence):
        if not environments:
            raise ValueError("no environments were given; expected at least one")
        makers = [partial(_itself, environment) for environment in environments]
        return vector.SyncVectorEnv(makers, copy=False, autoreset_mode=expected)
    if type(environments) is vector.SyncVectorEnv:
        synchronous: Any = environments  # it reads its mode at each step, and keeps no other trace
        synchronous.autoreset_mode = expected
        synchronous.metadata = {**synchronous.metadata, "autoreset_mode": expected}
    mode = environments.metadata.get("autoreset_mode")
    if mode != expected:
        raise ValueError(
            f"the autoreset mode {mode} was given; expected AutoresetMode.NEXT_STEP: "
            "make the vector environment with it"
        )
    return environments


def _itself(environment: "Env") -> "Env":
    return environment


def gym_batch(name: str, num_environments: int, key: jax.Array) -> GymBatch:
    """Makes `num_environments` copies of a gymnasium environment, each with its own random seed.

    Args:
      name: the environment's id, such as `CartPole-v1`.
      num_environments: how many copies.
      key: names the copies' seeds.

    Raises:
      ModuleNotFoundError: gymnasium, or a library that the environment needs, is not installed.
      ValueError: there is no such environment, or it has spaces that do not fit.
    """
    gymnasium = _gymnasium()
    seeds = make_seeds(key, num_environments).tolist()
    try:
        environments = gymnasium.make_vec(
            name,
            num_environments,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": "NextStep", "copy": False},  # GymBatch copies
        )
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ModuleNotFoundError(f"gymnasium environment {name!r} needs more: {error}") from error
    except gymnasium.error.Error as error:
        if name in gymnasium.registry:
            raise
        near = difflib.get_close_matches(name, gymnasium.registry, n=3) or ["CartPole-v1"]
        raise ValueError(
            f"gymnasium environment {name!r} was given; try {', '.join(near)}"
        ) from error
    return GymBatch(environments, seeds)


def make_seeds(key: jax.Array, num_environments: int) -> np.ndarray:
    """A seed of 31 bits for each environment.

    Raises:
      ValueError: there are no environments.
    """
    if num_environments < 1:
        raise ValueError(f"{num_environments} environments were given; expected at least 1")
    return np.asarray(jax.random.bits(key, (num_environments,), "uint32") >> 1).astype(np.int64)


def _observation_spec(space: "Space") -> specs.Array:
    is_box = isinstance(space, _gymnasium().spaces.Box)
    if is_box and space.dtype == np.uint8:
        return specs.Array(space.shape, np.uint8, "observation")
    if is_box and np.issubdtype(space.dtype, np.floating):
        return specs.Array(space.shape, np.float32, "observation")
    raise ValueError(
        f"observations in {space} were given; expected a Box of floats or of uint8: wrap the "
        "environment, for example in gymnasium.wrappers.FlattenObservation or TransformObservation"
    )


def _action_spec(space: "Space") -> specs.DiscreteArray | specs.BoundedArray:
    spaces = _gymnasium().spaces
    if isinstance(space, spaces.Discrete):
        return specs.DiscreteArray(int(space.n), name="action")
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, "action")
    raise ValueError(
        f"actions in {space} were given; expected a Discrete or a Box of floats: wrap the "
        "environment, for example in gymnasium.wrappers.TransformAction"
    )


def _gymnasium() -> ModuleType:
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("gymnasium is not installed; pip install '.[gym]'") from error
    return gymnasium
