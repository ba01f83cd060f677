"""A run of any algorithm on the actor-learner runtime: prepared, run, recorded, loaded again.

Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, checkpoints,
summary.json, learning_curve.png and the final parameters. `--resume runs/<name>` goes on with it.
"""

import dataclasses
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple

import jax

from expedition import environments
from expedition.agents import Agent
from expedition.environments import BatchedEnvironment, EnvironmentSpec
from expedition.runtime import (
    AXIS,
    Checkpoints,
    Evaluation,
    NonFiniteError,
    StopRequest,
    TrainResult,
    evaluate,
    give_large_arrays_back,
    named_key,
    saved_updates,
    select_devices,
    stop_on_signals,
    train,
)
from expedition.runtime.distributed import all_agree, is_main, joined, require_platform
from expedition.runtime.metrics import CSVLogger, MetricsLogger, Row, TensorBoardLogger
from expedition.runtime.progress import ProgressLine
from expedition.runtime.record import (
    create_run,
    load_params,
    provenance,
    save_arrays,
    save_params,
    write_json,
)
from experiments import plots
from experiments.config import C, JobConfig, differences, parse, read

Name = str | int  # of a source of randomness


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[C]):
    """An algorithm's command."""

    name: str
    """Of its module, `experiments.<name>`."""
    description: str | None
    """What `--help` says of it."""
    preset: Callable[[str], C]
    """The settings to start from for an environment."""
    make_agent: Callable[[C, EnvironmentSpec], Agent]
    """The agent for the settings and an environment's spec; ValueError where they do not fit."""
    title: Callable[[C], str] | None = None
    """What a run's default name begins with; none: the command's name."""

    def parse(self, arguments: Sequence[str]) -> C:
        """Reads the command line."""
        return parse(arguments, self.preset, f"python -m experiments.{self.name}", self.description)

    def prepare(self, config: C) -> "Job":
        """Makes all that a run needs; what is wrong with the config shows here.

        Raises:
          ValueError: the environment is unknown, a setting does not fit it or this machine, or is
            not that of the run that is to go on.
          ModuleNotFoundError: an optional library is missing.
          FileExistsError: there is a run of that name.
        """
        plots.require()
        require_platform(config.platform)
        devices = select_devices(config.runtime)
        folder = config.out / (config.name or self._default_name(config))
        names: list[Name] = []
        if config.resume is not None:
            folder = config.resume.resolve()
            _check_changes(read(folder, type(config)), config)
            newest = saved_updates(folder / "checkpoints")
            names = ["from", newest] if newest else []  # no episode begins as one did before
        actors = [make_actor_environment(config, i, *names) for i in range(config.runtime.actors)]
        agent = self.make_agent(config, actors[0].spec)
        if config.resume is None:
            if is_main():
                create_run(folder, config)
            all_agree(True)  # that there is a folder
        checkpoints = Checkpoints(folder / "checkpoints", config.checkpoints)
        print(f"actors on {devices.actor}, learner on {', '.join(map(str, devices.learners))}")
        return Job(config, actors, agent, folder, checkpoints, tuple(names))

    def load(self, folder: str | Path) -> "Loaded":
        """Reads a run's config and final parameters."""
        default = self.preset(JobConfig.environment)
        config = read(Path(folder), type(default))
        agent = self.make_agent(config, make_environment(config, 1, "spec").spec)

        def init(key: jax.Array) -> Any:
            return agent.init(key).params

        on_a_device = jax.vmap(init, in_axes=None, out_axes=None, axis_name=AXIS, axis_size=1)
        like = jax.eval_shape(on_a_device, jax.random.key(0))
        return Loaded(config, agent, load_params(Path(folder), like))

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """The command line: exit code 2 and one line for bad input, 1 for a run that failed.

        Without arguments it is that of the process, and ends it.
        """
        give_large_arrays_back()
        before = set(threading.enumerate())
        with stop_on_signals() as request, ExitStack() as stack:
            try:
                config = self.parse(sys.argv[1:] if arguments is None else arguments)
                stack.enter_context(joined(config.distributed, config.platform))
                job = self.prepare(config)
            except (ValueError, ModuleNotFoundError, FileExistsError) as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(2)
            try:
                summary = run(job, request)
            except Exception:
                if arguments is None and _is_busy(before):
                    traceback.print_exc()
                    _leave(1)
                raise
            if is_main():
                _tell(job, summary)
        code = 0 if summary["exit_state"] == "finished" else config.exit_code_when_stopped
        if arguments is None and _is_busy(before):
            _leave(code)
        if summary["exit_state"] != "finished":
            sys.exit(code)

    def _default_name(self, config: C) -> str:
        environment = config.environment.replace(":", "-")
        title = self.name if self.title is None else self.title(config)
        return f"{title}-{environment}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


class Job(NamedTuple):
    """A run that is ready to start: every setting has been tried."""

    config: JobConfig
    actors: list[BatchedEnvironment]
    agent: Agent
    folder: Path
    checkpoints: Checkpoints
    begun: tuple[Name, ...]
    """Names this start's environments, other than those of the start before."""


class Loaded(NamedTuple):
    """A finished run."""

    config: JobConfig
    agent: Agent
    params: Any

    def evaluate(self, episodes: int = 20, name: Name = "evaluation") -> Evaluation:
        """Plays fresh episodes greedily; another name gives other episodes."""
        evaluation = evaluate(
            self.agent, self.params, make_environment(self.config, episodes, name)
        )
        assert evaluation is not None  # nobody can ask it to stop
        return evaluation


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


def _is_busy(before: set[threading.Thread]) -> bool:
    """Whether a thread since then, that compiles say, would abort the process as Python ends."""
    return any(thread.daemon for thread in set(threading.enumerate()) - before)


def _leave(code: int) -> None:
    """Ends the process at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_changes(before: JobConfig, now: JobConfig) -> None:
    changes = differences(before, now)
    if changes and not now.allow_changes:
        raise ValueError(
            f"{now.resume} goes on with other settings: {'; '.join(changes)}; leave them out, or "
            "give --allow-changes"
        )
    for change in changes:
        print(change)


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


def _tell(job: Job, summary: dict[str, Any]) -> None:
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
