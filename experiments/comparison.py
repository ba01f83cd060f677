"""IMPALA, A2C, A3C on one task and one machine: `python -m experiments.comparison`.

All make as many updates of as many rows with the same network and settings, those of
`experiments.impala`, with two actor threads. IMPALA's and A3C's run freely, each with a whole
batch of environments; A2C's have half a batch each, and wait for the learner as it does for them.
`--methods seeded_impala impala` sets seeded IMPALA, with its own command's settings, beside IMPALA.
Writes `comparison.csv` and its picture: curves over steps and over time, speed, policy lag.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import plots, training_plots, trainings
from experiments.sweep import command, open_folder
from experiments.trainings import FREE, Training

ACTORS = 2


@dataclass(frozen=True)
class Config:
    """Settings of the comparison."""

    out: Path | None = None
    """Folder for table and pictures; a sweep that was stopped there goes on.
    Default: runs/comparison-<environment>, with -quick after it."""
    quick: bool = False
    """Two seeds."""
    methods: tuple[Literal["impala", "a2c", "a3c", "seeded_impala"], ...] = ("impala", "a2c", "a3c")
    """Which methods to run."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trainings of each kind. Only without --quick."""
    environment: str = "catch"
    """An environment as in `experiments.impala`, whose settings are taken."""
    total_steps: int | None = None
    """Rows to learn from; None: as many as `experiments.impala`."""

    def __post_init__(self) -> None:
        if not (self.methods and self.seeds):
            raise ValueError("methods or seeds is empty; expected some of each")


def run(config: Config) -> None:
    """Trains what is missing, then draws."""
    plots.require()
    kinds = [
        Training(config.environment, method, 0 if method == "a2c" else FREE, seed)
        for seed in ((0, 1) if config.quick else config.seeds)  # in turn, whatever else runs
        for method in config.methods
    ]
    cells = [
        (kind, trainings.settings(kind, total_steps=config.total_steps, actors=ACTORS))
        for kind in kinds
    ]
    name = f"comparison-{config.environment.replace(':', '-')}{'-quick' if config.quick else ''}"
    folder = config.out or Path("runs") / name
    presets = {method: trainings.preset(config.environment, method) for method in config.methods}
    open_folder(folder, config, free=("methods", "seeds"), presets=presets)
    trainings.fill(folder / training_plots.COMPARISON, cells)
    training_plots.draw(folder)
    print(training_plots.summary(folder / training_plots.COMPARISON))
    print(f"results: {folder}")


def main() -> None:
    """Parses the flags, runs."""
    command(Config, run, __doc__, all_cores=False)


if __name__ == "__main__":
    main()
