"""The actor-learner system beside its parts alone: environment, actor, learner."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import numpy as np

from expedition.environments import FunctionalBatch
from expedition.exploration.threefry import without_loop
from expedition.runtime import named_key, select_devices
from expedition.runtime.actor import Actor, actor_functions
from expedition.runtime.learner import Learner
from expedition.runtime.parameters import Versioned
from expedition.runtime.prefetch import shard
from expedition.runtime.train import train
from expedition.runtime.unroll import abstract_trajectory
from experiments.impala import Config, make_agent, preset
from experiments.job import make_environment

ENVIRONMENTS = ("catch", "dm_control:cartpole-swingup", "atari:pong")
WINDOWS = 7
WINDOW_SECONDS = 1.0


class Rate(NamedTuple):
    """Median and spread of some windows."""

    median: float  # steps/s
    spread: float  # steps/s, largest less smallest
    cost: float  # s of all cores for a step, median


def windows(function: Callable[[], int]) -> Rate:
    """How fast the function, which does some steps and counts them, does them."""
    function()
    rates, costs = [], []
    for _ in range(WINDOWS):
        start, cpu, steps = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < WINDOW_SECONDS:
            steps += function()
        rates.append(steps / (time.perf_counter() - start))
        costs.append((time.process_time() - cpu) / steps)
    return Rate(statistics.median(rates), max(rates) - min(rates), statistics.median(costs))


def environment_alone(config: Config) -> Rate:
    """One thread steps one actor's environments with random actions."""
    environment = make_environment(config, config.runtime.environments_per_actor, "benchmark")
    if isinstance(environment, FunctionalBatch):
        return _played_alone(environment, config.runtime.unroll_length)
    rng = np.random.default_rng(0)
    size = (64, environment.num_environments)
    actions = rng.integers(0, environment.spec.action.num_values, size)
    environment.reset()

    def steps() -> int:
        for action in actions:
            timestep = environment.step(action)
        jax.block_until_ready(timestep.reward)
        return actions.size

    return windows(steps)


def _played_alone(environment: FunctionalBatch, length: int) -> Rate:
    """The same in pure JAX, where an unroll is one program."""
    num, actions = environment.num_environments, environment.spec.action.num_values
    timestep, key = environment.reset(), jax.random.key(0)

    def act(params: Any, state: Any, timestep: Any, key: jax.Array, number: jax.Array) -> Any:
        drawn = jax.random.randint(
            without_loop(jax.random.fold_in(key, number)), (num,), 0, actions
        )
        return drawn, (), state

    def steps() -> int:
        played = environment.play(act, (), (), timestep, key, np.uint32(0), length)
        jax.block_until_ready(played)
        return num * length

    return windows(steps)


def actor_alone(config: Config) -> Rate:
    """One actor unrolls with fixed parameters; nobody learns."""
    runtime = config.runtime
    environment = make_environment(config, runtime.environments_per_actor, "benchmark")
    agent = make_agent(config, environment.spec)
    params = agent.init(jax.random.key(0)).params
    num = environment.num_environments
    like = abstract_trajectory(agent, params, environment.spec, num, runtime.unroll_length)
    state = agent.initial_actor_state(num)
    newest, key = Versioned(0, params), jax.random.key(1)
    actor = Actor(actor_functions(agent), like, state, environment, lambda unroll: newest, key)

    def steps() -> int:
        before = actor.env_steps
        actor.unroll()
        return actor.env_steps - before

    return windows(steps)


def learner_alone(config: Config) -> Rate:
    """Updates on one batch of zeros, over and over; counted in environment steps."""
    runtime = config.runtime
    spec = make_environment(config, 1, "spec").spec
    devices = select_devices(runtime).learners
    agent = make_agent(config, spec)
    learner = Learner(agent, jax.random.key(0), devices)
    like = abstract_trajectory(
        agent, learner.params(), spec, runtime.batch_size, runtime.unroll_length
    )
    batch = shard(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like), devices)

    def steps() -> int:
        learner.update(batch)
        return runtime.batch_size * runtime.unroll_length

    return windows(steps)


def system_rows(config: Config, windows: int = WINDOWS) -> list[dict[str, float]]:
    """The real run's rows of metrics, one before the windows and one at the end of each window.

    Each has `cpu_seconds` too, the time of all cores that this process has taken.
    """
    actors = [
        make_environment(config, config.runtime.environments_per_actor, "actor", i)
        for i in range(config.runtime.actors)
    ]
    rows: list[dict[str, float]] = []

    def log(row: Any) -> None:
        rows.append(dict(row) | {"cpu_seconds": time.process_time()})
        if len(rows) > windows:
            raise _EnoughError

    agent = make_agent(config, actors[0].spec)
    key = named_key(jax.random.key(config.seed), "benchmark")
    runtime = dataclasses.replace(config.runtime, log_seconds=WINDOW_SECONDS)
    with suppress(_EnoughError):
        train(agent, actors, runtime, key=key, log=log)
    return rows


def whole_system(config: Config) -> tuple[float, float, dict[str, float]]:
    """The real run, one row of metrics a window; also where the loops' time went."""
    kept = system_rows(config)[1:]
    rates = [row["env_steps_per_second"] for row in kept]
    times = {
        name: statistics.mean(row[name] for row in kept)
        for name in kept[0]
        if name.startswith(("actor_time", "learner_time"))
    }
    return statistics.median(rates), max(rates) - min(rates), times


class _EnoughError(Exception):
    """Ends a run that has been measured."""


def measure(name: str) -> dict[str, Any]:
    """One environment's figures, in environment steps (actions) a second.

    The bound is the least of what the actors make, what the learner takes, and what the cores
    can do of both, by the time of all cores that a step cost each of them alone: a convolution, or
    a game's threads, take more than one core.
    """
    config = preset(name)
    runtime = dataclasses.replace(config.runtime, total_steps=10**9)
    config = dataclasses.replace(config, runtime=runtime)
    environment, actor, learner = (
        alone(config) for alone in (environment_alone, actor_alone, learner_alone)
    )
    system, system_spread, times = whole_system(config)
    cores = len(os.sched_getaffinity(0))
    both = cores / (actor.cost + learner.cost)
    bound = min(runtime.actors * actor.median, learner.median, both)
    return {
        "what": name,
        "actors": runtime.actors,
        "environments_each": runtime.environments_per_actor,
        "unroll_length": runtime.unroll_length,
        "batch_size": runtime.batch_size,
        "environment_alone": environment.median,
        "environment_alone_spread": environment.spread,
        "environment_alone_cost": environment.cost,
        "actor_alone": actor.median,
        "actor_alone_spread": actor.spread,
        "actor_alone_cost": actor.cost,
        "learner_alone": learner.median,
        "learner_alone_spread": learner.spread,
        "learner_alone_cost": learner.cost,
        "system": system,
        "system_spread": system_spread,
        "bound": bound,
        "system_over_bound": system / bound,
        **times,
    }
