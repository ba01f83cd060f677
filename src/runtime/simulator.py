"""The concurrent simulator: K agents in one world, all their steps, one compiled program.

It is the runtime's data path folded into one scan: the same `Agent`, the same `Trajectory`, but
no threads and no lag: an agent acts on everything that is known at its instant.
"""

import math
from typing import Any, Literal, NamedTuple, Protocol, get_args

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Trajectory
from expedition.environments.interface import LAST

Clock = Literal["poisson", "synchronous"]

_LOOK_AHEAD = 16  # ticks


class Problem(Protocol):
    """A distribution over worlds; K agents explore one of them. Everything is pure."""

    max_steps: int | None  # no agent can act more often; None: no bound

    def draw(self, key: jax.Array) -> Any:
        """Draws a world: what all agents share and none knows."""
        ...

    def reset(self, world: Any, key: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Puts an agent at its start."""
        ...

    def step(self, world: Any, state: Any, action: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Advances an agent by one action."""
        ...


class Outcome(NamedTuple):
    """What became of K agents in each of W worlds."""

    world: Any  # [W, ...]
    returns: jax.Array  # [W, K] sum of rewards
    steps: jax.Array  # [W, K] int32, actions taken
    state: Any  # [W, ...] the algorithm's, at the end
    actor_state: Any  # [W, K, ...]


class _Agents(NamedTuple):
    environment: Any  # [K, ...]
    timestep: dm_env.TimeStep  # [K, ...] the newest
    actor: Any  # [K, ...]
    returns: jax.Array  # [K]
    steps: jax.Array  # [K]


class _World(NamedTuple):
    """All that stays as it is while the agents act."""

    world: Any
    order: jax.Array  # [E] int32, whose clock ticks; K, nobody's, after the horizon
    act_key: jax.Array


class _Progress(NamedTuple):
    tick: jax.Array  # [] int32, the first that has not come
    state: Any
    agents: _Agents


def simulate(
    agent: Agent,
    problem: Problem,
    keys: jax.Array,
    *,
    num_agents: int,
    horizon: float,
    clock: Clock = "poisson",
) -> Outcome:
    """Lets K agents explore one world together, in each of W worlds.

    An agent whose episode has ended acts no more. Its ticks cost nothing: the program looks ahead
    for the next agent that acts. Memory is that of the agent's state and of one integer a tick, in
    each world.

    Args:
        agent: the algorithm; its `update` sees a trajectory of length 1 after each instant.
        problem: draws the worlds, and steps each agent in its own.
        keys: `[W]`, one a world; it fixes the world, the seeds, the clocks and every other draw.
        num_agents: K.
        horizon: the time after which nobody acts; every clock ticks once a unit of time, on average
            ("poisson": independent Poisson processes, one agent acts at a time, on everything known
            at that instant) or exactly ("synchronous": all act at once).
        clock: whose ticks they are.

    Returns:
        The outcome. No world's depends on which others there are.

    Raises:
        ValueError: there is no agent, no time or no such clock.
    """
    shortest = 1 if clock == "synchronous" else 0
    if num_agents < 1 or clock not in get_args(Clock) or not horizon > 0 or horizon < shortest:
        raise ValueError(
            f"{num_agents} agents, horizon {horizon} and clock {clock!r} were given; expected at "
            f"least 1, a positive number (synchronous: at least 1) and one of {get_args(Clock)}"
        )

    def start(key: jax.Array) -> tuple[_World, _Progress]:
        world_key, start_key, agent_key, clock_key, act_key = jax.random.split(key, 5)
        world = problem.draw(world_key)
        reset = jax.vmap(lambda key: problem.reset(world, key))
        environments, timesteps = reset(jax.random.split(start_key, num_agents))
        nothing = jnp.zeros(num_agents)
        actor_state = agent.initial_actor_state(num_agents)
        agents = _Agents(environments, timesteps, actor_state, nothing, nothing.astype(jnp.int32))
        if clock == "poisson":
            order = poisson_order(clock_key, num_agents, horizon, problem.max_steps)
            order = jnp.pad(order, (0, _LOOK_AHEAD), constant_values=num_agents)
        else:
            order = jnp.arange(int(horizon))  # of instants
        return _World(world, order, act_key), _Progress(jnp.int32(0), agent.init(agent_key), agents)

    def poisson_instant(world: _World, progress: _Progress) -> _Progress:
        ended = progress.agents.timestep.step_type == LAST
        ahead = jax.lax.dynamic_slice_in_dim(world.order, progress.tick, _LOOK_AHEAD)
        acts = ~ended.at[ahead].get(mode="fill", fill_value=True)
        skipped = jnp.where(acts.any(), jnp.argmax(acts), _LOOK_AHEAD - 1)
        who = ahead[skipped][None]  # K, out of bounds, if nobody acts
        tick = progress.tick + skipped
        rows = jax.tree.map(lambda x: x.at[who].get(mode="clip"), progress.agents)
        state, rows = _act(agent, problem, world, tick, acts.any(), progress.state, rows)
        who = jnp.where(acts.any(), who, num_agents)
        agents = jax.tree.map(lambda x, y: x.at[who].set(y, mode="drop"), progress.agents, rows)
        return _Progress(tick + 1, state, agents)

    def synchronous_instant(world: _World, progress: _Progress) -> _Progress:
        acts = progress.agents.timestep.step_type != LAST
        state, rows = _act(
            agent, problem, world, progress.tick, acts, progress.state, progress.agents
        )
        agents = jax.tree.map(
            lambda new, old: jnp.where(acts.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            rows,
            progress.agents,
        )
        return _Progress(progress.tick + 1, state, agents)

    worlds, progress = jax.vmap(start)(keys)
    instant = jax.vmap(poisson_instant if clock == "poisson" else synchronous_instant)
    # One loop for all worlds rather than a loop in each: under `vmap` that would copy the state of
    # those that have ended at every step.
    progress = jax.lax.while_loop(
        lambda progress: (progress.tick < worlds.order.shape[1]).any(),
        lambda progress: instant(worlds, progress),
        progress,
    )
    agents = progress.agents
    return Outcome(worlds.world, agents.returns, agents.steps, progress.state, agents.actor)


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
    # Eight standard deviations above the mean: a run that needs more will not be seen.
    ticks = math.ceil(horizon + 8 * math.sqrt(horizon)) + 8
    ticks = ticks if max_steps is None else min(ticks, max_steps)
    total = num_agents * horizon
    events = min(num_agents * ticks, math.ceil(total + 8 * math.sqrt(total)) + 8)
    times = jnp.cumsum(jax.random.exponential(key, (num_agents, ticks)), axis=1)
    agents = jnp.broadcast_to(jnp.arange(num_agents)[:, None], times.shape)
    agents = jnp.where(times <= horizon, agents, num_agents)
    return jax.lax.sort((times.ravel(), agents.ravel()), num_keys=1)[1][:events]


def _act(
    agent: Agent,
    problem: Problem,
    world: _World,
    tick: jax.Array,
    acts: jax.Array,
    state: Any,
    rows: _Agents,
) -> tuple[Any, _Agents]:
    """One step of B agents, and what the team learns of those that act."""
    # Agents that do not act look like ended ones, whose rows are no transitions.
    step_type = jnp.where(acts, rows.timestep.step_type, jnp.int8(LAST))
    before = rows.timestep._replace(step_type=step_type)
    key = jax.random.fold_in(world.act_key, tick)
    action, extras, actor = agent.act(state.params, rows.actor, before, key)
    step = jax.vmap(problem.step, in_axes=(None, 0, 0))
    environment, after = step(world.world, rows.environment, action)
    state, _ = agent.update(state, _trajectory(rows.actor, before, action, extras, after))
    return state, _Agents(environment, after, actor, rows.returns + after.reward, rows.steps + 1)


def _trajectory(
    actor: Any,
    before: dm_env.TimeStep,
    action: jax.Array,
    extras: Any,
    after: dm_env.TimeStep,
) -> Trajectory:
    """One step of B agents as an unroll of length 1."""

    def one(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[None], tree)

    return Trajectory(
        observation=jax.tree.map(lambda *x: jnp.stack(x), before.observation, after.observation),
        step_type=jnp.stack([before.step_type, after.step_type]),
        action=action[None],
        extras=one(extras),
        reward=after.reward[None],
        discount=after.discount[None],
        actor_state=actor,
    )
