"""The settings of an IMPALA run, and where each environment starts from."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from expedition.agents import ImpalaConfig
from expedition.runtime import RuntimeConfig


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
    seed: int = 0
    """Names every random choice of the run."""
    evaluation_episodes: int = 20
    """Fresh episodes that the greedy policy plays at the end."""
    name: str | None = None
    """The run's folder under `out`; none: environment, seed and time."""
    out: Path = Path("runs")
    """Where runs are kept."""

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


@dataclass(frozen=True)
class _EnvironmentFlag:
    environment: str = SWINGUP.environment


def parse(arguments: Sequence[str], description: str | None = None) -> Config:
    """Reads the command line; what it does not set comes from the environment's preset."""
    chosen = [a for a in arguments if a not in ("-h", "--help")]
    flag, _ = tyro.cli(_EnvironmentFlag, args=chosen, return_unknown_args=True)
    return tyro.cli(
        Annotated[Config, tyro.conf.OmitArgPrefixes],
        args=arguments,
        default=preset(flag.environment),
        description=description,
        prog="python -m experiments.impala",
    )
