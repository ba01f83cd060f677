"""Poisson clocks: whose turn it is to act."""

import math

import jax
import jax.numpy as jnp


def most_ticks(num_agents: int, horizon: float, max_steps: int | None) -> int:
    """A number of Poisson ticks that all clocks together will not be seen to pass."""
    total = num_agents * horizon
    return min(num_agents * _ticks(horizon, max_steps), math.ceil(total + 8 * math.sqrt(total)) + 8)


def poisson_order(
    key: jax.Array, num_agents: int, horizon: float, max_steps: int | None = None
) -> jax.Array:
    """Whose clock ticks, in the order of time: K independent Poisson(1) clocks, started at 0.

    Args:
        key: fixes the clocks.
        num_agents: K.
        horizon: the time after which a tick doesn't count.
        max_steps: each clock's first ticks, more than that are left out; None: no bound.

    Returns:
        `[E]` int32 agents; K in the places after the last tick.
    """
    ticks = _ticks(horizon, max_steps)
    events = most_ticks(num_agents, horizon, max_steps)
    times = jnp.cumsum(jax.random.exponential(key, (num_agents, ticks)), axis=1)
    agents = jnp.broadcast_to(jnp.arange(num_agents)[:, None], times.shape)
    agents = jnp.where(times <= horizon, agents, num_agents)
    return jax.lax.sort((times.ravel(), agents.ravel()), num_keys=1)[1][:events]


def _ticks(horizon: float, max_steps: int | None) -> int:
    # Eight standard deviations above the mean: a run that needs more will not be seen.
    ticks = math.ceil(horizon + 8 * math.sqrt(horizon)) + 8
    return ticks if max_steps is None else min(ticks, max_steps)
