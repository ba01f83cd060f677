"""The concurrent simulator: K agents in one world, all their steps, one compiled program.

It is the runtime's data path folded into one scan: the same `Agent`, the same `Trajectory`, but
no threads and no lag: an agent acts on everything that is known at its instant.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, get_args

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent
from expedition.environments.interface import LAST
from expedition.exploration import threefry
from expedition.runtime.clocks import most_ticks, poisson_order
from expedition.runtime.turn import Agents, World, take_turn, where

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
    returns: jax.Array  # [W, K] sum of rewards, of all episodes
    steps: jax.Array  # [W, K] int32, actions taken
    state: Any  # [W, ...] the algorithm's, at the end
    actor_state: Any  # [W, K, ...]


class Progress(NamedTuple):
    """How far it has come."""

    tick: jax.Array  # [] int32, the first that has not come
    state: Any  # the algorithm's
    agents: Agents


class Running(NamedTuple):
    """W worlds under way."""

    worlds: World  # [W, ...]
    progress: Progress  # [W, ...]


class Simulation(NamedTuple):
    """The simulator in parts, for who wants to look on; pure, to be jitted."""

    start: Callable[[jax.Array], Running]
    """`start(keys [W]) -> running`."""
    advance: Callable[[Running, int | jax.Array], Running]
    """`advance(running, until) -> running`, before tick `until`; on Poisson clocks maybe later."""
    num_ticks: int
    """Ticks until the end."""


def simulation(
    agent: Agent,
    problem: Problem,
    *,
    num_agents: int,
    horizon: float,
    clock: Clock = "poisson",
    at_once: int | None = None,
    unroll: int = 1,
    restart: bool = False,
) -> Simulation:
    """Makes the parts of which `simulate` is made; see there."""
    _check(num_agents, horizon, clock, at_once, unroll)
    limit = None if restart else problem.max_steps
    at_once = num_agents if at_once is None else at_once
    turn = partial(take_turn, agent, problem.step, unroll)
    if clock == "poisson":
        num_ticks = most_ticks(num_agents, horizon, limit)
    else:
        num_ticks = int(horizon) // unroll * (num_agents // at_once)

    def start_one(key: jax.Array) -> tuple[World, Progress]:
        world_key, start_key, agent_key, clock_key, act_key = jax.random.split(key, 5)
        world = problem.draw(world_key)
        reset = jax.vmap(lambda key: problem.reset(world, key))
        environments, timesteps = reset(jax.random.split(start_key, num_agents))
        nothing = jnp.zeros(num_agents)
        actor_state = agent.initial_actor_state(num_agents)
        agents = Agents(environments, timesteps, actor_state, nothing, nothing.astype(jnp.int32))
        if clock == "poisson":
            order = poisson_order(clock_key, num_agents, horizon, limit)
            order = jnp.pad(order, (0, _LOOK_AHEAD), constant_values=num_agents)
        else:
            order = jnp.arange(num_ticks) % (num_agents // at_once)
        restart_key = jax.random.fold_in(key, 5)  # beside the five above
        still = World(world, order, act_key, restart_key)
        return still, Progress(jnp.int32(0), agent.init(agent_key), agents)

    def start(keys: jax.Array) -> Running:
        _check_keys(keys)
        return Running(*jax.vmap(start_one)(keys))

    def restarted(world: World, tick: jax.Array, rows: Agents) -> Agents:
        """The agents, of which each has an episode under way."""
        if not restart:
            return rows
        ended = rows.timestep.step_type == LAST
        keys = threefry.split(threefry.fold_in(world.restart_key, tick), len(ended))
        fresh = jax.vmap(problem.reset, in_axes=(None, 0))(world.world, keys)
        environment, timestep = where(ended, fresh, (rows.environment, rows.timestep))
        return rows._replace(environment=environment, timestep=timestep)

    def poisson_instant(world: World, progress: Progress) -> Progress:
        # Those that start anew at their next tick are under way.
        ended = (progress.agents.timestep.step_type == LAST) & (not restart)
        ahead = jax.lax.dynamic_slice_in_dim(world.order, progress.tick, _LOOK_AHEAD)
        acts = ~ended.at[ahead].get(mode="fill", fill_value=True)
        skipped = jnp.where(acts.any(), jnp.argmax(acts), _LOOK_AHEAD - 1)
        who = ahead[skipped][None]  # K, out of bounds, if nobody acts
        tick = progress.tick + skipped
        rows = jax.tree.map(lambda x: x.at[who].get(mode="clip"), progress.agents)
        rows = restarted(world, tick, rows)
        state, rows = turn(world, tick, acts.any(), progress.state, rows)
        who = jnp.where(acts.any(), who, num_agents)
        agents = jax.tree.map(lambda x, y: x.at[who].set(y, mode="drop"), progress.agents, rows)
        return Progress(tick + 1, state, agents)

    def synchronous_instant(world: World, progress: Progress) -> Progress:
        first = world.order[progress.tick] * at_once
        rows = jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, first, at_once), progress.agents
        )
        rows = restarted(world, progress.tick, rows)
        acts = rows.timestep.step_type != LAST
        state, rows = turn(world, progress.tick, acts, progress.state, rows)
        agents = jax.tree.map(
            lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, first, 0), progress.agents, rows
        )
        return Progress(progress.tick + 1, state, agents)

    instant = jax.vmap(poisson_instant if clock == "poisson" else synchronous_instant)

    def advance(running: Running, until: int | jax.Array) -> Running:
        until = jnp.minimum(until, num_ticks)
        # One loop for all worlds rather than a loop in each: under `vmap` that would copy the state
        # of those that have ended at every step.
        progress = jax.lax.while_loop(
            lambda progress: (progress.tick < until).any(),
            lambda progress: instant(running.worlds, progress),
            running.progress,
        )
        return running._replace(progress=progress)

    return Simulation(start, advance, num_ticks)


def simulate(
    agent: Agent,
    problem: Problem,
    keys: jax.Array,
    *,
    num_agents: int,
    horizon: float,
    clock: Clock = "poisson",
    at_once: int | None = None,
    unroll: int = 1,
    restart: bool = False,
) -> Outcome:
    """Lets K agents explore one world together, in each of W worlds.

    An agent whose episode has ended acts no more, unless it may restart. On Poisson clocks its
    ticks cost nothing: the program looks ahead for the next agent that acts. Memory is that of the
    agent's state and of one integer a tick, in each world.

    Args:
        agent: the algorithm; its `update` sees a trajectory of length `unroll` after each instant.
        problem: draws the worlds, and steps each agent in its own.
        keys: `[W]`, one a world; it fixes the world, the seeds, the clocks and every other draw.
        num_agents: K.
        horizon: the time after which nobody acts; every clock ticks once a unit of time, on average
            ("poisson": independent Poisson processes, one agent acts at a time, on everything known
            at that instant) or exactly ("synchronous").
        clock: whose ticks they are.
        at_once: how many agents of synchronous clocks act at one instant, before the next so many
            do, who know of it; a divisor of K. All by default.
        unroll: how many actions an agent of synchronous clocks takes with the parameters that it
            has when its turn comes, before the team learns from them. An episode that ends before
            them restarts no earlier than the next turn. A divisor of the horizon's whole ticks.
        restart: whether an agent whose episode has ended starts the next one when its clock ticks,
            and acts in it; returns and steps are then those of all its episodes.

    Returns:
        The outcome. No world's depends on which others there are.

    Raises:
        ValueError: there is no agent, no time or no such clock, turns do not fit, or the keys have
            not one axis.
    """
    parts = simulation(
        agent,
        problem,
        num_agents=num_agents,
        horizon=horizon,
        clock=clock,
        at_once=at_once,
        unroll=unroll,
        restart=restart,
    )
    worlds, (_, state, agents) = parts.advance(parts.start(keys), parts.num_ticks)
    return Outcome(worlds.world, agents.returns, agents.steps, state, agents.actor)


def _check(num_agents: int, horizon: float, clock: Clock, at_once: int | None, unroll: int) -> None:
    shortest = 1 if clock == "synchronous" else 0
    if num_agents < 1 or clock not in get_args(Clock) or not horizon > 0 or horizon < shortest:
        raise ValueError(
            f"{num_agents} agents, horizon {horizon} and clock {clock!r} were given; expected at "
            f"least 1, a positive number (synchronous: at least 1) and one of {get_args(Clock)}"
        )
    if unroll < 1 or (unroll > 1 and clock != "synchronous") or horizon < unroll * shortest:
        raise ValueError(
            f"unroll={unroll} with {clock} clocks and horizon {horizon} was given; expected 1, or "
            "with synchronous clocks at most the horizon"
        )
    if clock == "synchronous" and int(horizon) % unroll:
        raise ValueError(
            f"unroll={unroll} with horizon {horizon} was given; expected a divisor of its "
            f"{int(horizon)} whole ticks, or in the last of them nobody would act"
        )
    if at_once is not None and (clock != "synchronous" or at_once < 1 or num_agents % at_once):
        raise ValueError(
            f"at_once={at_once} of {num_agents} agents with {clock} clocks was given; expected a "
            "divisor of their number, with synchronous clocks"
        )


def _check_keys(keys: jax.Array) -> None:
    if isinstance(keys, list):
        raise ValueError("a list of keys was given; expected an array of them: jnp.stack(keys)")
    is_typed = jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)
    shape = keys.shape if is_typed else keys.shape[:-1]  # those of `jax.random.PRNGKey` are words
    if len(shape) != 1:
        raise ValueError(
            f"keys of shape {shape} were given; expected [W], one a world: jax.random.split(key, W)"
        )
