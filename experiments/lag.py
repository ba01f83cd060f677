"""What V-trace is for: learning from a policy that acts late: `python -m experiments.lag`.

In runs whose actors take turns, the parameters that act are older than those that learn, by as many
updates as one likes. IMPALA weights what they did by V-trace, or does not; A3C's gradients are as
old as its data. Writes `lag.csv` with pictures of what is reached and of the curves.

Source: Espeholt et al. (2018), IMPALA: Scalable Distributed Deep-RL with Importance Weighted
Actor-Learner Architectures, https://arxiv.org/abs/1802.01561
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import plots, training_plots, trainings
from experiments.sweep import command, open_folder
from experiments.trainings import Training

QUICK_LAGS = (1, 100)


@dataclass(frozen=True)
class Config:
    """Settings of the figure of policy lag."""

    out: Path | None = None
    """Folder for table and pictures; a sweep that was stopped there goes on.
    Default: runs/lag, or runs/lag-quick."""
    quick: bool = False
    """Two lags and two seeds."""
    lags: tuple[int, ...] = (0, 1, 5, 25, 100)
    """Updates by which acting parameters are older than those that learn. Only without --quick."""
    methods: tuple[Literal["impala", "uncorrected", "a3c"], ...] = ("impala", "uncorrected", "a3c")
    """IMPALA, IMPALA without V-trace, A3C."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trainings of each kind. Only without --quick."""
    environment: str = "catch"
    """An environment as in `experiments.impala`, whose settings are taken."""
    total_steps: int | None = None
    """Rows to learn from; None: as many as `experiments.impala`."""

    def __post_init__(self) -> None:
        if not (self.lags and self.methods and self.seeds):
            raise ValueError("lags, methods or seeds is empty; expected some of each")


def run(config: Config) -> None:
    """Trains what is missing, then draws."""
    plots.require()
    lags, seeds = (QUICK_LAGS, (0, 1)) if config.quick else (config.lags, config.seeds)
    kinds = [
        Training(config.environment, method, lag, seed)
        for seed in seeds
        for lag in lags
        for method in config.methods
    ]
    cells = [
        (kind, trainings.settings(kind, total_steps=config.total_steps, actors=1)) for kind in kinds
    ]
    folder = config.out or Path("runs/lag-quick" if config.quick else "runs/lag")
    presets = {method: trainings.preset(config.environment, method) for method in config.methods}
    open_folder(folder, config, free=("lags", "methods", "seeds"), presets=presets)
    trainings.fill(folder / training_plots.LAG, cells)
    training_plots.draw(folder)
    print(training_plots.summary(folder / training_plots.LAG))
    print(f"results: {folder}")


def main() -> None:
    """Parses the flags, runs."""
    command(Config, run, __doc__, all_cores=False)


if __name__ == "__main__":
    main()
