"""Memory chain: what the first observation shows is asked for at the end (from bsuite)."""

from dataclasses import dataclass
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition


class MemoryChainState(NamedTuple):
    """What was shown, which bit of it will be asked for, and for how many steps it was gone."""

    context: jax.Array  # [bits] bool
    query: jax.Array  # [] int32
    steps: jax.Array  # [] int32, since the reset


@dataclass(frozen=True)
class MemoryChain:
    """A context of random bits is shown; `length` steps later one of them is to be named.

    Actions: 0 and 1, the value of the bit; only the last one of an episode's `length + 1` matters:
    +1 if it is right, else -1, and the episode terminates. Observation: float32 `[2 + bits]`, the
    part of the time that is left, before the last action the index of the bit, and the context as
    -1 and 1 after the reset and once more after the first action; else zeros. Without memory the
    mean return is 0.

    Source: Osband et al. (2020), Behaviour Suite for Reinforcement Learning, section B.6 (memory
    length; memory size with more bits). Its observations have a leading axis of 1.
    """

    length: int = 10
    bits: int = 1

    def __post_init__(self) -> None:
        if self.length < 1 or self.bits < 1:
            raise ValueError(
                f"a chain of {self.length} steps and {self.bits} bits was given; "
                "expected at least 1 of each"
            )

    @property
    def spec(self) -> EnvironmentSpec:
        """A vector of 2 + bits numbers, and two actions."""
        observation = specs.Array((2 + self.bits,), "float32", "observation")
        return EnvironmentSpec(observation, specs.DiscreteArray(2, name="action"))

    def reset(self, key: jax.Array) -> tuple[MemoryChainState, dm_env.TimeStep]:
        """Draws the context and the query."""
        context_key, query_key = jax.random.split(key)
        context = jax.random.bernoulli(context_key, shape=(self.bits,))
        query = jax.random.randint(query_key, (), 0, self.bits)
        state = MemoryChainState(context, query, jnp.int32(0))
        return state, first(self._observe(state, jnp.int32(0)))

    def step(
        self, state: MemoryChainState, action: jax.Array
    ) -> tuple[MemoryChainState, dm_env.TimeStep]:
        """Passes the time; the last action is the answer."""
        is_last = state.steps >= self.length
        is_right = action == state.context[state.query]
        reward = jnp.where(is_last, jnp.where(is_right, 1.0, -1.0), 0.0)
        observation = self._observe(state, state.steps)
        state = state._replace(steps=state.steps + 1)
        return state, transition(observation, reward, terminated=is_last)

    def _observe(self, state: MemoryChainState, time: jax.Array) -> jax.Array:
        query = jnp.where(time == self.length - 1, state.query, 0)
        context = jnp.where(time == 0, 2.0 * state.context - 1.0, 0.0)
        return jnp.concatenate([jnp.stack([(self.length - time) / self.length, query]), context])
