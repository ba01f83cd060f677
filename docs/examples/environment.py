"""An environment of one's own, in pure JAX, and IMPALA trained on it: a windy ledge."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.agents import ImpalaConfig, impala
from expedition.environments import EnvironmentSpec, FunctionalBatch
from expedition.environments.interface import first, transition
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime import AXIS, RuntimeConfig, train


class State(NamedTuple):
    """All that the next step depends on, its randomness included."""

    x: jax.Array  # [] from the middle
    steps: jax.Array  # [] int32
    key: jax.Array


@dataclass(frozen=True)
class Ledge:
    """To stay on it, |x| < 1, for 100 steps; actions: 0 left, 1 stay, 2 right; reward 1 a step."""

    wind: float = 0.2
    spec = EnvironmentSpec(specs.Array((1,), "float32"), specs.DiscreteArray(3))

    def reset(self, key):
        """In the middle."""
        return State(jnp.float32(0), jnp.int32(0), key), first(jnp.zeros(1))

    def step(self, state, action):
        """A step and a gust."""
        key, gust = jax.random.split(state.key)
        x = state.x + 0.25 * (action - 1) + self.wind * jax.random.normal(gust)
        state = State(x, state.steps + 1, key)
        fallen, late = jnp.abs(x) >= 1, state.steps >= 100  # the latter is no termination
        return state, transition(x[None], jnp.float32(1), terminated=fallen, truncated=late)


def main():
    """Mean returns as it learns, each .1 s: to some 85; random steps have 17, the best is 99.8."""
    runtime = RuntimeConfig(total_steps=150_000, log_seconds=0.1)
    actors = [FunctionalBatch(Ledge(), 32, jax.random.key(actor)) for actor in range(2)]
    network = ActorCritic(MLPTorso((32,)), policy_head(Ledge.spec.action))
    config = ImpalaConfig(discount=0.9, optimizer="adam", learning_rate=3e-3, reduction="mean")
    agent = impala(config, Ledge.spec, network, num_updates=runtime.num_updates, axis_name=AXIS)
    rows = []
    train(agent, actors, runtime, key=jax.random.key(0), log=rows.append)
    return [row["return_mean"] for row in rows]


if __name__ == "__main__":
    print(main())
