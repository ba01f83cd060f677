"""The two interfaces of an environment: functional (one, pure JAX) and batched (many, stateful).

Both speak `dm_env.TimeStep` and dm_env specs. Both follow dm_env's protocol for episode ends:
the step that ends an episode returns the *final* observation with `step_type == LAST`, and the
next call to `step` ignores its action and returns the next episode's `FIRST` observation with
reward 0. So every value that a loss bootstraps from is an observation that was really seen.

A time limit is not a termination: `LAST` with discount 1 is the former, with 0 the latter.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs

FIRST, MID, LAST = (int(step_type) for step_type in dm_env.StepType)

Array = jax.Array | np.ndarray


class EnvironmentSpec(NamedTuple):
    """What an agent must know of an environment to build its networks."""

    observation: specs.Array
    action: specs.DiscreteArray | specs.BoundedArray


class FunctionalEnvironment(Protocol):
    """One environment as pure functions of its state; everything may be jitted and vmapped."""

    @property
    def spec(self) -> EnvironmentSpec:
        """Shapes and types of one observation and one action."""
        ...

    def reset(self, key: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Starts an episode; every random choice is a function of the key."""
        ...

    def step(self, state: Any, action: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Advances by one action.

        After a `LAST` the result is computed but thrown away, so any state and action must be
        safe to step.
        """
        ...


class BatchedEnvironment(Protocol):
    """B environments stepped together; every array of a time step has a leading axis B."""

    spec: EnvironmentSpec
    num_environments: int
    frames_per_step: int  # simulator frames that one action lasts

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode in every environment."""
        ...

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; one whose last step was `LAST` starts its next episode."""
        ...

    def close(self) -> None:
        """Frees what the environments hold; the batch is not used afterwards."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """What a batched environment may have besides, so that a stopped run goes on where it was."""

    def get_state(self) -> Any:
        """All that its next steps depend on, as a pytree of arrays that no step changes."""
        ...

    def set_state(self, state: Any) -> None:
        """Goes on from a state; that of another batch of the same settings will do."""
        ...


def check_shape(actions: Array, spec: specs.Array, num_environments: int) -> None:
    """Raises a ValueError unless there is one action of the spec's shape per environment."""
    expected = (num_environments, *spec.shape)
    if np.shape(actions) != expected:
        raise ValueError(f"actions of shape {np.shape(actions)} were given; expected {expected}")


def first(observation: jax.Array) -> dm_env.TimeStep:
    """The time step that starts an episode, in JAX types."""
    return dm_env.TimeStep(jnp.int8(FIRST), jnp.float32(0), jnp.float32(1), observation)


def transition(
    observation: jax.Array,
    reward: jax.Array,
    *,
    terminated: jax.Array | bool = False,
    truncated: jax.Array | bool = False,
) -> dm_env.TimeStep:
    """The time step that an action caused: `LAST` if it ended the episode, else `MID`."""
    step_type = jnp.where(jnp.logical_or(terminated, truncated), jnp.int8(LAST), jnp.int8(MID))
    discount = jnp.where(terminated, jnp.float32(0), jnp.float32(1))
    return dm_env.TimeStep(step_type, jnp.asarray(reward, jnp.float32), discount, observation)
