"""The settings of every algorithm's run, read from the command line or from a run's folder."""

import dataclasses
import difflib
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tyro
from dm_env import specs
from tyro.conf import OmitArgPrefixes

from expedition.runtime import CheckpointConfig, RuntimeConfig
from expedition.runtime.distributed import DistributedConfig, Platform


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """A run's settings, but for the algorithm's."""

    environment: str = "dm_control:cartpole-swingup"
    """catch, swingup, probe:<name>, deep_sea:<size>, deep_sea_stochastic:<size>,
    memory_chain:<length>, atari:<game>, gym:<id>, envpool:<id>, or dm_control:<domain>-<task>;
    other defaults depend on it."""
    action_bins: int | None = None
    """dm_control: values per action dimension of a discretised action; None: real actions."""
    action_repeat: int = 1
    """dm_control and EnvPool: control steps that one action lasts."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the MLP's layers."""
    runtime: OmitArgPrefixes[RuntimeConfig] = field(default_factory=RuntimeConfig)
    checkpoints: OmitArgPrefixes[CheckpointConfig] = field(default_factory=CheckpointConfig)
    distributed: OmitArgPrefixes[DistributedConfig] = field(default_factory=DistributedConfig)
    platform: Platform | None = None
    """Where to compute; refused where there is no such device. None: the best that JAX finds."""
    seed: int = 0
    """Names every random choice of the run."""
    evaluation_episodes: int = 20
    """Fresh episodes that the greedy policy plays at the end."""
    name: str | None = None
    """The run's folder under `out`; None: algorithm, environment, seed and time."""
    out: Path = Path("runs")
    """Where runs are kept."""
    resume: Path | None = None
    """A run's folder: goes on from its newest sound checkpoint, with its settings."""
    allow_changes: bool = False
    """Whether a run that goes on may have other settings than it had."""
    exit_code_when_stopped: int = 0
    """Of a run that a signal stopped; a scheduler that is to start it again may need another."""

    def __post_init__(self) -> None:
        sizes = {"evaluation_episodes": self.evaluation_episodes}
        sizes |= {f"hidden[{i}]": width for i, width in enumerate(self.hidden)}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; expected at least 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; expected a number from 0 to 2**32 - 1")
        if self.distributed.processes != 1 and self.name is None and self.resume is None:
            raise ValueError("name is None; expected one that all processes of the run share")
        if self.name is not None and Path(self.name).name != self.name:
            raise ValueError(f"name is {self.name!r}; expected a folder's name, no path: see --out")
        if not self.hidden:
            raise ValueError("hidden is empty; expected the width of at least one layer")


C = TypeVar("C", bound=JobConfig)


def chosen(presets: Mapping[str, C], environment: str, otherwise: C) -> C:
    """The settings to start from: the first whose key the environment's name begins with."""
    matching = [base for prefix, base in presets.items() if environment.startswith(prefix)]
    return dataclasses.replace(matching[0] if matching else otherwise, environment=environment)


def require_discrete(environment: str, action: specs.Array, algorithm: str) -> int:
    """The number of actions.

    Raises:
      ValueError: they are real numbers.
    """
    if not isinstance(action, specs.DiscreteArray):
        raise ValueError(
            f"actions of {environment} are {action}; {algorithm} expects discrete ones: of "
            "dm_control's environments --action-bins makes them"
        )
    return int(action.num_values)


def read(folder: Path, kind: type[C]) -> C:
    """The settings of a run, as its folder has them.

    Raises:
      ValueError: the folder is no run's, or one of another version or algorithm.
    """
    try:
        fields = json.loads((folder / "config.json").read_text())
        config: C = _build(kind, fields | {"resume": None})
        # Where the other processes were is of that start alone.
        heartbeat = DistributedConfig(heartbeat_seconds=config.distributed.heartbeat_seconds)
        return dataclasses.replace(config, distributed=heartbeat)
    except OSError as error:
        runs = [path.parent.name for path in folder.parent.glob("*/config.json")]
        near = difflib.get_close_matches(folder.name, runs, n=5, cutoff=0)
        raise ValueError(
            f"{folder} is no run's folder; expected one that has a config.json, of which "
            f"{folder.parent} has {', '.join(near) or 'none'}"
        ) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder} has no settings of this command and version ({error!r}); expected a run of "
            "it: another command's is for that one to go on with, or to load"
        ) from error


def _build(kind: Any, content: Any) -> Any:
    """The value of a field, or of a dataclass, from what JSON has of it."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], value) for name, value in content.items()})
    if isinstance(content, list):
        return tuple(content)
    return Path(content) if kind is Path else content


def differences(before: JobConfig, now: JobConfig) -> list[str]:
    """A line for each setting that is not as it was, of those that what is learnt depends on."""
    free = {
        "checkpoints",
        "distributed",
        "platform",
        "resume",
        "allow_changes",
        "exit_code_when_stopped",
    }
    names = [one.name for one in dataclasses.fields(before) if one.name not in free]
    return [
        line
        for name in names
        for line in _differences(name, getattr(before, name), getattr(now, name))
    ]


def _differences(name: str, before: Any, now: Any) -> list[str]:
    if not dataclasses.is_dataclass(before):
        return [] if before == now else [f"{name} was {before}, {now} is given"]
    return [
        line
        for part in dataclasses.fields(before)
        for line in _differences(part.name, getattr(before, part.name), getattr(now, part.name))
    ]


@dataclass(frozen=True)
class _FirstFlags:
    environment: str = JobConfig.environment
    resume: Path | None = None


def parse(
    arguments: Sequence[str],
    preset: Callable[[str], C],
    prog: str | None = None,
    description: str | None = None,
) -> C:
    """Reads the command line; what it does not set comes from the environment's preset, or from
    the run that is to go on.

    Raises:
      ValueError: a setting is out of range, or there is no such run.
    """
    chosen = [a for a in arguments if a not in ("-h", "--help")]
    first, _ = tyro.cli(_FirstFlags, args=chosen, return_unknown_args=True)
    default = preset(first.environment)
    if first.resume is not None:
        default = read(first.resume, type(default))
    return tyro.cli(
        type(default), args=arguments, default=default, description=description, prog=prog
    )
