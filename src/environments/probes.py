"""Five tiny environments with known answers, each of which isolates one thing an agent must learn.

An agent that fails one of them has a bug in the part that the probe names. With discount gamma:

| probe                | optimal value V(observation)      | optimal action     |
|----------------------|-----------------------------------|--------------------|
| `constant_value`     | V(0) = 1                          | any                |
| `observation_value`  | V(x) = x, x = +-1                 | any                |
| `discounting`        | V(0) = gamma, V(1) = 1            | any                |
| `action_reward`      | V(0) = 1                          | target +1          |
| `observation_action` | V(x) = 1, x = +-1                 | target x           |

Actions are binary (0 means -1, 1 means +1) or one real number; the reward of the last two is
1 - (action - target)^2. Idea: Jones (2021), Debugging RL, Without the Agonizing Pain.
"""

from dataclasses import dataclass
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition

PROBES = (
    "constant_value",
    "observation_value",
    "discounting",
    "action_reward",
    "observation_action",
)


class ProbeState(NamedTuple):
    """The observation that the agent last saw, and the number of steps since the reset."""

    observation: jax.Array  # [1] float32
    steps: jax.Array  # [] int32


@dataclass(frozen=True)
class Probe:
    """One of `PROBES`, with binary or real actions; see the table in the module's docstring."""

    name: str
    continuous: bool = False

    def __post_init__(self) -> None:
        if self.name not in PROBES:
            raise ValueError(f"probe {self.name!r} was given; expected one of {', '.join(PROBES)}")

    @property
    def spec(self) -> EnvironmentSpec:
        """One number to look at; two actions, or one real number."""
        action: specs.DiscreteArray | specs.BoundedArray = specs.DiscreteArray(2, name="action")
        if self.continuous:
            action = specs.BoundedArray((1,), "float32", -1.0, 1.0, "action")
        return EnvironmentSpec(specs.Array((1,), "float32", "observation"), action)

    def reset(self, key: jax.Array) -> tuple[ProbeState, dm_env.TimeStep]:
        """Shows +-1 where the observation matters, else 0."""
        observation = jnp.zeros(1)
        if self.name in ("observation_value", "observation_action"):
            observation = jax.random.rademacher(key, (1,), jnp.float32)
        return ProbeState(observation, jnp.int32(0)), first(observation)

    def step(self, state: ProbeState, action: jax.Array) -> tuple[ProbeState, dm_env.TimeStep]:
        """Ends the episode, after one step or (discounting) two."""
        number = action[0] if self.continuous else 2.0 * action - 1.0
        shown = state.observation[0]
        reward = {
            "constant_value": jnp.float32(1),
            "observation_value": shown,
            "discounting": jnp.where(state.steps == 1, 1.0, 0.0),
            "action_reward": 1.0 - jnp.square(number - 1.0),
            "observation_action": 1.0 - jnp.square(number - shown),
        }[self.name]
        terminated = state.steps == 1 if self.name == "discounting" else True
        observation = jnp.ones(1) if self.name == "discounting" else state.observation
        timestep = transition(observation, reward, terminated=terminated)
        return ProbeState(observation, state.steps + 1), timestep
