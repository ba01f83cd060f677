"""A turn in the simulator: what agents do at an instant, and what their team learns from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Trajectory
from expedition.environments.interface import LAST
from expedition.exploration import threefry


class Agents(NamedTuple):
    """K agents in a world."""

    environment: Any  # [K, ...]
    timestep: dm_env.TimeStep  # [K, ...] the newest
    actor: Any  # [K, ...]
    returns: jax.Array  # [K] sum of rewards
    steps: jax.Array  # [K] int32, actions taken


class World(NamedTuple):
    """All that stays as it is while the agents act."""

    world: Any
    order: jax.Array  # [E] int32, whose turn; Poisson: K, nobody's, after the last tick
    act_key: jax.Array
    restart_key: jax.Array


def take_turn(
    agent: Agent,
    move: Callable[[Any, Any, jax.Array], tuple[Any, dm_env.TimeStep]],
    unroll: int,
    world: World,
    tick: jax.Array,
    acts: jax.Array,
    state: Any,
    rows: Agents,
) -> tuple[Any, Agents]:
    """Lets those of B agents that act take an unroll of actions, from which the team then learns.

    Args:
        agent: the algorithm.
        move: `move(world, state, action) -> (state, timestep)`, a problem's step of one agent.
        unroll: T, actions of each.
        world: where they act.
        tick: names the actions.
        acts: `[B]`, or one for all: whether the agent acts.
        state: the algorithm's.
        rows: the B agents, before.

    Returns:
        The algorithm's state, and the agents.
    """
    # Agents that do not act look like ended ones, whose rows are no transitions.
    step_type = jnp.where(acts, rows.timestep.step_type, jnp.int8(LAST))
    start = rows._replace(timestep=rows.timestep._replace(step_type=step_type))

    def step(before: Agents, i: jax.Array) -> tuple[Agents, Any]:
        key = threefry.fold_in(world.act_key, tick * unroll + i)
        action, extras, actor = agent.act(state.params, before.actor, before.timestep, key)
        move_all = jax.vmap(move, in_axes=(None, 0, 0))
        environment, timestep = move_all(world.world, before.environment, action)
        returns, steps = before.returns + timestep.reward, before.steps + 1
        after = Agents(environment, timestep, actor, returns, steps)
        after = where(before.timestep.step_type != LAST, after, before)
        return after, (after.timestep, action, extras)

    end, (timestep, action, extras) = jax.lax.scan(step, start, jnp.arange(unroll))

    def through(first: Any, others: Any) -> Any:
        return jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), first, others)

    trajectory = Trajectory(
        observation=through(start.timestep.observation, timestep.observation),
        step_type=through(start.timestep.step_type, timestep.step_type),
        action=action,
        extras=extras,
        reward=timestep.reward,
        discount=timestep.discount,
        actor_state=start.actor,
    )
    state, _ = agent.update(state, trajectory)
    # Whose turn it was not is as before, also in what it looks like.
    return state, where(acts, end, rows)


def where(which: jax.Array, these: Any, others: Any) -> Any:
    """`[B, ...]`, these agents' where `which` is true."""

    def choose(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(which.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    chosen: Any = jax.tree.map(choose, these, others)
    return chosen
