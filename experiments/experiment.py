"""An algorithm's command: its flags read, its runs prepared, run, and loaded again."""

import dataclasses
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple

import jax

from expedition.agents import Agent
from expedition.environments import EnvironmentSpec
from expedition.runtime import (
    AXIS,
    Checkpoints,
    Evaluation,
    evaluate,
    give_large_arrays_back,
    saved_updates,
    select_devices,
    stop_on_signals,
)
from expedition.runtime.distributed import all_agree, is_main, joined, require_platform
from expedition.runtime.record import create_run, load_params
from experiments import plots
from experiments.config import C, JobConfig, differences, parse, read
from experiments.job import Job, Name, make_actor_environment, make_environment, run, tell


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[C]):
    """An algorithm's command."""

    name: str
    """The name of its module, `experiments.<name>`."""
    description: str | None
    """The text that `--help` begins with."""
    preset: Callable[[str], C]
    """The settings to start from for an environment."""
    make_agent: Callable[[C, EnvironmentSpec], Agent]
    """The agent for the settings and an environment's spec; ValueError where they do not fit."""
    title: Callable[[C], str] | None = None
    """What a run's default name begins with; none: the command's name."""

    def parse(self, arguments: Sequence[str]) -> C:
        """Reads the command line."""
        return parse(arguments, self.preset, f"python -m experiments.{self.name}", self.description)

    def prepare(self, config: C) -> Job:
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
                tell(job, summary)
        code = 0 if summary["exit_state"] == "finished" else config.exit_code_when_stopped
        if arguments is None and _is_busy(before):
            _leave(code)
        if summary["exit_state"] != "finished":
            sys.exit(code)

    def _default_name(self, config: C) -> str:
        environment = config.environment.replace(":", "-")
        title = self.name if self.title is None else self.title(config)
        return f"{title}-{environment}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


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
