"""Seed LSVI: each agent's least-squares value iteration on shared data under its own seed.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, section 3.1.
"""

from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.exploration.regression import Regression


class SeedLsviState(NamedTuple):
    """What the team knows."""

    params: Any  # the regression's statistics


def seed_lsvi(regression: Regression, *, horizon: int) -> Agent:
    """K agents; before each action an agent solves its own randomised problem on all data.

    `θ_H = 0, θ_h = T_k θ_{h+1}` with the agent's operator `T_k` (see `exploration.regression`);
    the action is greedy for θ_0. Evaluation is greedy for the same without noise and prior.

    Args:
        regression: the values' features, and the model that the regressions assume.
        horizon: H, the number of regressions; what is further ahead is not seen.

    Raises:
        ValueError: the horizon is below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}; expected at least 1")

    def init(key: jax.Array) -> SeedLsviState:
        return SeedLsviState(regression.init(key))

    def solve(statistics: Any, agent: jax.Array | None, observation: Any) -> jax.Array:
        zero = jnp.zeros_like(regression.prior(statistics, jnp.int32(0)))
        theta = regression.iterate(statistics, agent, zero, steps=horizon)
        return jnp.argmax(regression.values(theta, observation))

    def act(
        params: Any, actor_state: jax.Array, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        del key  # all randomness is the seed's
        solve_each = jax.vmap(solve, in_axes=(None, 0, 0))
        return solve_each(params, actor_state, timestep.observation), (), actor_state

    def act_greedily(
        params: Any, actor_state: jax.Array, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, jax.Array]:
        action = jax.vmap(lambda observation: solve(params, None, observation))
        return action(timestep.observation), actor_state

    def update(state: SeedLsviState, batch: Trajectory) -> tuple[SeedLsviState, Metrics]:
        return SeedLsviState(regression.update(state.params, batch.transitions)), {}

    return Agent(init, regression.team, act, act_greedily, update)
