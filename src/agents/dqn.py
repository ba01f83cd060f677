"""DQN with epsilon-greedy agents on one shared network and buffer: the paper's baseline.

Its loss and its choice are our own, and held against rlax's in the tests: importing that warns
(through TFP) on today's JAX.

Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, Nature 518.
"""

from dataclasses import dataclass, replace
from typing import Any

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent
from expedition.agents.seed_ensemble import EnsembleParams, seed_ensemble
from expedition.agents.seed_model import SeedEnsembleConfig
from expedition.environments.interface import EnvironmentSpec

PLAIN = SeedEnsembleConfig(num_models=1, prior_scale=0.0, noise_variance=0.0)  # Q-learning
SEEDS = ("num_models", "networks", "prior_scale", "noise_variance", "mask_probability")


def without_seeds(config: SeedEnsembleConfig) -> SeedEnsembleConfig:
    """The same settings for one network without a seed, with which seed TD is Q-learning."""
    return replace(config, **{name: getattr(PLAIN, name) for name in SEEDS})


@dataclass(frozen=True)
class DqnConfig:
    """The algorithm's settings."""

    epsilon: float = 0.05
    """Probability that an agent acts at random."""
    learner: SeedEnsembleConfig = PLAIN
    """Seed TD's settings of one network without a seed: `without_seeds` makes them of others."""

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon is {self.epsilon}; expected a number in [0, 1]")
        for name in SEEDS:
            given, expected = getattr(self.learner, name), getattr(PLAIN, name)
            if given != expected:
                raise ValueError(
                    f"the learner's {name} is {given}; expected {expected}: DQN has no seeds; "
                    "give without_seeds(learner)"
                )


def dqn(config: DqnConfig, spec: EnvironmentSpec, network: nn.Module) -> Agent:
    """Builds the agent: seed TD's learner without a seed, and actions that are random at times.

    Args:
        config: the settings.
        spec: shapes of one observation, and a discrete action.
        network: maps observations `[N, ...]` to action values `[N, A]`.
    """
    agent = seed_ensemble(config.learner, spec, network)

    def act(
        params: EnsembleParams, agents: jax.Array, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        when, which = jax.vmap(lambda k: jax.random.split(jax.random.fold_in(key, k)))(agents).T
        greedy, extras, agents = agent.act(params, agents, timestep, key)
        is_random = jax.vmap(lambda key: jax.random.bernoulli(key, config.epsilon))(when)
        anything = jax.vmap(lambda key: jax.random.randint(key, (), 0, spec.action.num_values))
        return jnp.where(is_random, anything(which), greedy), extras, agents

    return agent._replace(act=act)
