"""The settings of an IMPALA run, and where each environment starts from."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from expedition.agents import ImpalaConfig
from expedition.runtime import CheckpointConfig, RuntimeConfig
from expedition.runtime.distributed import DistributedConfig, Platform


@dataclass(frozen=True)
class Config:
    """Trains IMPALA; the defaults shown are those of the environment given."""

    environment: str = "dm_control:cartpole-swingup"
    """catch, probe:<name>, atari:<game>, gym:<id>, or dm_control:<domain>-<task>."""
    action_bins: int | None = None
    """dm_control: values per action dimension of a discretised action; none: real actions."""
    action_repeat: int = 1
    """dm_control: control steps that one action lasts."""
    torso: Literal["mlp", "shallow", "deep"] = "mlp"
    """Network: an MLP, or for images the paper's shallow or deep (residual) one."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the MLP's layers."""
    lstm: int | None = None
    """Features of an LSTM core behind the torso; none: no recurrence."""
    agent: ImpalaConfig = field(default_factory=ImpalaConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    platform: Platform | None = None
    """Where to compute; refused where there is no such device. None: the best that JAX finds."""
    seed: int = 0
    """Names every random choice of the run."""
    evaluation_episodes: int = 20
    """Fresh episodes that the greedy policy plays at the end."""
    name: str | None = None
    """The run's folder under `out`; none: environment, seed and time."""
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
        if self.lstm is not None:
            sizes["lstm"] = self.lstm
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


CATCH = Config(
    environment="catch",
    hidden=(64, 64),
    agent=ImpalaConfig(optimizer="adam", learning_rate=5e-3, reduction="mean"),
    runtime=RuntimeConfig(total_steps=150_000),
    evaluation_episodes=32,  # the actors' batch: no environment step is compiled anew
)
SWINGUP = Config(
    action_bins=5,
    action_repeat=2,
    agent=ImpalaConfig(
        discount=0.98,
        entropy_cost=0.1,
        reduction="mean",
        max_abs_reward=None,
        optimizer="adam",
        learning_rate=2e-3,
        global_norm_clip=1.0,
    ),
    runtime=RuntimeConfig(
        total_steps=2_500_000,
        batch_size=16,
        environments_per_actor=16,
        actors=1,  # it and the learner fill two cores; a second one would add lag, not speed
        queue_capacity=1,
    ),
)
ATARI = Config(  # the paper's (table G.1, but lives do not end episodes): all defaults are
    torso="shallow",
    runtime=RuntimeConfig(total_steps=50_000_000),  # 200 million frames
)
GYM = dataclasses.replace(SWINGUP, action_bins=None, action_repeat=1)
PRESETS = {"catch": CATCH, "probe:": CATCH, "atari:": ATARI, "gym:": GYM}


def preset(environment: str) -> Config:
    """The settings to start from for an environment."""
    matching = [base for prefix, base in PRESETS.items() if environment.startswith(prefix)]
    base = matching[0] if matching else SWINGUP
    return dataclasses.replace(base, environment=environment)


def read(folder: Path) -> Config:
    """The settings of a run, as its folder has them.

    Raises:
      ValueError: the folder is no run's, or one of another version.
    """
    try:
        fields = json.loads((folder / "config.json").read_text())
        fields["runtime"]["learner_devices"] = tuple(fields["runtime"]["learner_devices"])
        fields |= {
            "agent": ImpalaConfig(**fields["agent"]),
            "runtime": RuntimeConfig(**fields["runtime"]),
            "checkpoints": CheckpointConfig(**fields["checkpoints"]),
            "distributed": DistributedConfig(**fields["distributed"]),
            "hidden": tuple(fields["hidden"]),
            "out": Path(fields["out"]),
            "resume": None,
        }
        return Config(**fields)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no run's settings that can be read: {error!r}") from error


def differences(before: Config, now: Config) -> list[str]:
    """A line for each setting that is not as it was, of those that what is learnt depends on."""
    free = {
        "checkpoints",
        "distributed",
        "platform",
        "name",
        "out",
        "resume",
        "allow_changes",
        "exit_code_when_stopped",
    }
    lines = []
    for one in dataclasses.fields(before):
        old, new = (getattr(settings, one.name) for settings in (before, now))
        parts = [(one.name, old, new)]
        if dataclasses.is_dataclass(old):
            names = [part.name for part in dataclasses.fields(old)]
            parts = [(name, getattr(old, name), getattr(new, name)) for name in names]
        if one.name not in free:
            lines += [f"{name} was {a}, {b} is given" for name, a, b in parts if a != b]
    return lines


@dataclass(frozen=True)
class _FirstFlags:
    environment: str = SWINGUP.environment
    resume: Path | None = None


def parse(arguments: Sequence[str], description: str | None = None) -> Config:
    """Reads the command line; what it does not set comes from the environment's preset, or from
    the run that is to go on.

    Raises:
      ValueError: a setting is out of range, or there is no such run.
    """
    chosen = [a for a in arguments if a not in ("-h", "--help")]
    first, _ = tyro.cli(_FirstFlags, args=chosen, return_unknown_args=True)
    default = preset(first.environment) if first.resume is None else read(first.resume)
    return tyro.cli(
        Annotated[Config, tyro.conf.OmitArgPrefixes],
        args=arguments,
        default=default,
        description=description,
        prog="python -m experiments.impala",
    )
