"""A run of any algorithm on the actor-learner runtime: trained, evaluated, recorded.

Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, checkpoints,
summary.json, learning_curve.png and the final parameters. `--resume runs/<name>` goes on with it.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax

from expedition import environments
from expedition.agents import Agent
from expedition.environments import BatchedEnvironment
from expedition.runtime import (
    Checkpoints,
    Evaluation,
    NonFiniteError,
    StopRequest,
    TrainResult,
    evaluate,
    named_key,
    select_devices,
    stop_on_signals,
    train,
)
from expedition.runtime.distributed import all_agree, is_main
from expedition.runtime.metrics import CSVLogger, MetricsLogger, Row, TensorBoardLogger
from expedition.runtime.progress import ProgressLine
from expedition.runtime.record import provenance, save_arrays, save_params, write_json
from experiments import plots
from experiments.config import JobConfig

Name = str | int  # of a source of randomness


class Job(NamedTuple):
    """A run that is ready to start: every setting has been tried."""

    config: JobConfig
    actors: list[BatchedEnvironment]
    agent: Agent
    folder: Path
    checkpoints: Checkpoints
    begun: tuple[Name, ...]
    """Names this start's environments, other than those of the start before."""


def make_environment(config: JobConfig, num_environments: int, *names: Name) -> BatchedEnvironment:
    """A batch of the config's environment, named so that no two batches share randomness."""
    return environments.make(
        config.environment,
        num_environments,
        named_key(jax.random.key(config.seed), "environment", *names),
        action_bins=config.action_bins,
        action_repeat=config.action_repeat,
    )


def make_actor_environment(config: JobConfig, actor: int, *names: Name) -> BatchedEnvironment:
    """One actor's batch of environments, another one in each process."""
    number = jax.process_index() * config.runtime.actors + actor
    return make_environment(config, config.runtime.environments_per_actor, "actor", number, *names)


def run(job: Job, request: StopRequest | None = None) -> dict[str, Any]:
    """Trains, evaluates and records, until it is asked to stop; returns the summary.

    The request is from the caller's `stop_on_signals`; None: Ctrl-C and SIGTERM stop this run.
    """
    if request is None:
        with stop_on_signals() as request:
            return run(job, request)
    folder = job.folder
    start = time.perf_counter()
    summary: dict[str, Any] = {"exit_state": "failed", **provenance()}
    try:
        _train_and_evaluate(job, request, summary)
    except BaseException as error:
        summary["exit_state"] = f"failed: {type(error).__name__}: {error}"
        if isinstance(error, NonFiniteError):  # each process has a part of the batch
            number = f"_{jax.process_index()}" if jax.process_count() > 1 else ""
            save_arrays(folder / f"nonfinite_batch{number}.npz", error.batch)
            all_agree(True)  # that it is there: the first to end would end the others
        raise
    finally:
        summary["wall_seconds"] = time.perf_counter() - start
        if is_main():
            write_json(folder / "summary.json", _with_the_start_before(folder, summary))
    if is_main() and (folder / "metrics.csv").exists():
        plots.learning_curve(folder)
    return summary


def _with_the_start_before(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """What is known of the run: all of a start that made updates; of others how they ended, too."""
    begun = summary.get("begun_at_update")
    if begun is not None and summary.get("updates") != begun:
        return summary
    try:
        before = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return summary
    new = {k: v for k, v in summary.items() if k in ("exit_state", "evaluation")}
    if before.get("exit_state") == "finished" and summary["exit_state"].startswith("stopped"):
        new = {}  # there was nothing left to stop
    return summary | before | new


def _train_and_evaluate(job: Job, request: StopRequest, summary: dict[str, Any]) -> None:
    """Trains, saves the parameters, evaluates; adds what the summary says of it."""

    def on_start(counters: dict[str, int]) -> None:
        summary["begun_at_update"] = counters["updates"]

    result = _train(job, request, on_start)
    summary |= {**result.counters, "steps_per_second": result.steps_per_second}
    save_params(job.folder, result.params)
    exit_state = result.exit_state
    if result.exit_state == "finished":
        evaluation = None
        if is_main() and not request.reason:
            evaluation = _evaluate(job, result.params, request)
        if evaluation is not None:
            summary["evaluation"] = evaluation.summary()
        # The others wait: all processes end alike, or a cluster would start some of them anew.
        if not all_agree(evaluation is not None or not is_main()):
            reason = request.reason or "another process"
            exit_state = f"stopped by {reason} in the evaluation"
    summary["exit_state"] = exit_state


def _evaluate(job: Job, params: Any, request: StopRequest) -> Evaluation | None:
    config = job.config
    print(f"evaluating {config.evaluation_episodes} episodes")
    fresh = make_environment(config, config.evaluation_episodes, "evaluation")
    with jax.default_device(select_devices(config.runtime).actor):
        return evaluate(
            job.agent,
            params,
            fresh,
            request=request,
            stall_timeout=config.runtime.stall_timeout,
        )


def _train(job: Job, request: StopRequest, begun: Callable[[dict[str, int]], None]) -> TrainResult:
    """Trains with every logger attached; they are closed however it ends."""
    config = job.config
    with ExitStack() as stack:
        writes: list[Callable[[Row], None]] = []
        stack.callback(job.checkpoints.close)

        def on_start(counters: dict[str, int]) -> None:
            begun(counters)
            if not is_main():
                return
            if config.resume is not None:
                print(f"going on from update {counters['updates']}")
                kept = dataclasses.replace(config, resume=None, allow_changes=False)
                write_json(job.folder / "config.json", kept)
            loggers: list[MetricsLogger] = [
                CSVLogger(job.folder),
                TensorBoardLogger(job.folder, counters["env_steps"]),
            ]
            for logger in loggers:
                stack.callback(logger.close)
            progress = stack.enter_context(ProgressLine(config.runtime.num_updates))
            writes.extend(logger.write for logger in (*loggers, progress))

        def log(row: Row) -> None:
            for write in writes:
                write(row)

        return train(
            job.agent,
            job.actors,
            config.runtime,
            key=named_key(jax.random.key(config.seed), "train"),
            log=log,
            request=request,
            checkpoints=job.checkpoints,
            rebuild=lambda actor, n: make_actor_environment(
                config, actor, *job.begun, "restart", n
            ),
            on_start=on_start,
        )


def tell(job: Job, summary: dict[str, Any]) -> None:
    """Says in the terminal what came of it."""
    if (job.folder / "metrics.csv").exists():
        plots.print_curve(job.folder)
    if "evaluation" in summary:
        result = summary["evaluation"]
        print(
            f"greedy policy: return {result['mean']:.2f} +- {result['standard_deviation']:.2f} "
            f"over {result['episodes']} fresh episodes"
        )
    speed = summary["steps_per_second"]  # None before two updates of this start
    print(
        f"{summary['exit_state']} after {summary['wall_seconds']:.0f} s, "
        f"{summary['env_steps']:,} steps" + ("" if speed is None else f", {speed:,.0f} steps/s")
    )
    print(f"results: {job.folder}")
