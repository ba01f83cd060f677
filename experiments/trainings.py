"""Trainings that a sweep compares: IMPALA, seeded or without correction, A2C and A3C.

All run on the actor-learner runtime, with the settings of `experiments.impala` (seeded: of
`experiments.seeded_impala`) for the environment.
"""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np

from expedition.runtime import evaluate, named_key, train
from expedition.runtime.metrics import Row
from experiments import impala, seeded_impala
from experiments.curves import Curves
from experiments.job import make_actor_environment, make_environment
from experiments.report import Reporter
from experiments.sweep import SettingsError

Method = Literal["impala", "uncorrected", "a2c", "a3c", "seeded_impala"]
METHODS = get_args(Method)
Config = impala.Config | seeded_impala.Config
FREE = -1  # in place of a lag: actors and learner run freely
POINTS = 30  # of a curve


class Training(NamedTuple):
    """Whose curve it is."""

    environment: str
    method: str  # one of METHODS
    lag: int  # updates, or FREE
    seed: int


class Point(NamedTuple):
    """A part of a training; means are over the part."""

    curve: Training
    updates: int  # at its end
    env_steps: int
    seconds: float  # since the first update
    training_return: float  # of the episodes that ended, as the environment counts; or NaN
    lag_mean: float  # updates, as measured
    lag_max: float
    steps_per_second: float  # of the whole training, from the first update to the last
    final_return: float  # of the whole training: of its greedy policy, in fresh episodes


def preset(environment: str, method: str) -> Config:
    """The settings of a method's command for an environment."""
    command = seeded_impala if method == "seeded_impala" else impala
    settings: Config = command.preset(environment)
    return settings


def settings(training: Training, *, total_steps: int | None, actors: int) -> Config:
    """The settings of a training: those of its method's command, but for what it compares.

    Where actors run freely, each unroll is a batch; where they take turns, all of them share it.

    Args:
      training: the training.
      total_steps: rows to learn from; None: as many as the command does.
      actors: threads.

    Raises:
      ValueError: the method is unknown, or A2C was to lag.
      SettingsError: A3C was to have normalized observations.
    """
    method, lag = training.method, training.lag
    base = preset(training.environment, method)
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected {' or '.join(METHODS)}")
    if method == "a2c" and lag != 0:
        raise ValueError(f"lag of a2c is {lag}; expected 0, for else it is not synchronous")
    size = base.runtime.batch_size
    runtime = dataclasses.replace(
        base.runtime,
        total_steps=base.runtime.total_steps if total_steps is None else total_steps,
        actors=actors,
        environments_per_actor=size if lag == FREE else size // actors,
        deterministic=lag != FREE,
        policy_lag=1 if lag == FREE else lag,
        log_seconds=1e-9,  # a row each update
    )
    base = dataclasses.replace(base, seed=training.seed, runtime=runtime)
    if isinstance(base, seeded_impala.Config):
        return base
    if method == "a3c" and base.normalize_observations:
        raise SettingsError(
            f"{training.environment} is learnt with normalized observations, and a3c cannot have "
            "them; leave a3c out of the methods, or choose another environment"
        )
    correction: Literal["vtrace", "none"] = "vtrace" if method == "impala" else "none"
    return dataclasses.replace(
        base,
        algorithm="a3c" if method == "a3c" else "impala",
        agent=dataclasses.replace(base.agent, correction=correction),
    )


def measure(config: Config) -> list[tuple[float, ...]]:
    """Trains and evaluates; what a `Point` has after its curve, for each.

    Raises:
      KeyboardInterrupt: a signal stopped it.
    """
    environments = [make_actor_environment(config, i) for i in range(config.runtime.actors)]
    spec = environments[0].spec
    if isinstance(config, seeded_impala.Config):
        agent = seeded_impala.make_agent(config, spec)
    else:
        agent = impala.make_agent(config, spec)
    rows: list[Row] = []
    key = named_key(jax.random.key(config.seed), "train")
    result = train(agent, environments, config.runtime, key=key, log=rows.append)
    if result.exit_state != "finished":
        raise KeyboardInterrupt(result.exit_state)
    fresh = make_environment(config, config.evaluation_episodes, "evaluation")
    evaluation = evaluate(agent, result.params, fresh)
    assert evaluation is not None  # nobody can ask it to stop
    whole = (result.steps_per_second or math.nan, evaluation.summary()["mean"])
    start = rows[0]["wall_seconds"]
    points = min(POINTS, len(rows))
    parts = np.array_split(np.arange(len(rows)), points)
    return [(*_point([rows[i] for i in part], start), *whole) for part in parts]


def _point(rows: Sequence[Row], start: float) -> tuple[float, ...]:
    ended = [row for row in rows if row["episodes"]]
    episodes = sum(row["episodes"] for row in ended)
    returns = sum(row["return_mean"] * row["episodes"] for row in ended)
    return (
        rows[-1]["updates"],
        rows[-1]["env_steps"],
        rows[-1]["wall_seconds"] - start,
        returns / episodes if episodes else math.nan,
        float(np.mean([row["policy_lag_mean"] for row in rows])),
        max(row["policy_lag_max"] for row in rows),
    )


def fill(path: Path, cells: Sequence[tuple[Training, Config]]) -> None:
    """Adds those that the table lacks.

    Args:
      path: the table.
      cells: trainings with their settings, all of as many points.
    """
    points = {min(POINTS, config.runtime.num_updates) for _, config in cells}
    if len(points) > 1:
        raise ValueError(f"curves of {points} points were given; expected one number")
    table = Curves(path, points.pop(), Point)
    with _compiled_once(), Reporter(cells=len(cells)) as report:
        for training, config in cells:
            if training in table.done:
                report.skip()
                continue
            environment, method, lag, seed = training
            title = f"{environment} {method:11} lag {'free' if lag == FREE else lag:<4} seed {seed}"
            report.show(title)
            began = time.perf_counter()
            curve = measure(config)
            table.add(training, curve)
            *_, steps_per_second, final_return = curve[-1]
            report.note(
                f"{title}  final return {final_return:7.2f}  {steps_per_second:7,.0f} steps/s  "
                f"{time.perf_counter() - began:5.1f} s"
            )
            jax.clear_caches()  # of one training the next can use nothing


@contextlib.contextmanager
def _compiled_once() -> Iterator[None]:
    """Keeps what is compiled on disk, where trainings that differ in the seed alone find it."""
    if jax.config.jax_compilation_cache_dir is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        try:
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", None)
