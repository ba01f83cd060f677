"""A row of the table in docs/environments.md, five seeds: `python -m experiments.tasks memory`.

Trains with the settings that `experiments.impala` has for the environment, or that `TASKS` gives,
and leaves `tasks.csv` and its picture.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import plots, training_plots, trainings
from experiments.impala import CONTROL, preset
from experiments.impala import Config as Settings
from experiments.sweep import command, open_folder
from experiments.trainings import FREE, Training

Task = Literal["cartpole", "memory", "swingup", "reacher"]


def settings(task: Task) -> dict[str, Settings]:
    """What is compared in a row, by the names of `training_plots.LABELS`."""
    if task == "cartpole":  # what `make run` trains
        return {"impala": preset(Settings.environment)}
    if task == "memory":
        recurrent = preset("memory_chain:10")
        return {"lstm": recurrent, "feedforward": dataclasses.replace(recurrent, lstm=None)}
    changes: dict[str, Any] = {
        "swingup": {"environment": "dm_control:cartpole-swingup", "action_repeat": 2},
        "reacher": {  # its features are of very different sizes
            "environment": "envpool:ReacherEasy-v1",
            "action_repeat": 4,
            "normalize_observations": True,
        },
    }[task]
    return {"gaussian": dataclasses.replace(CONTROL, **changes)}


@dataclass(frozen=True)
class Config:
    """Settings of the row."""

    task: Annotated[Task, tyro.conf.Positional]
    """Which of the rows' tasks."""
    out: Path | None = None
    """Folder for table and pictures; what was stopped there goes on. Default: runs/<task>."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trainings of each kind."""
    total_steps: int | None = None
    """Rows to learn from; None: as many as `experiments.impala`."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds is empty; expected at least one")


def run(config: Config) -> None:
    """Trains what is missing, then draws."""
    plots.require()
    cells, kinds = [], settings(config.task)
    for seed in config.seeds:  # in turn, whatever else runs
        for kind, base in kinds.items():
            changes = {"log_seconds": 1e-9}  # a row each update
            if config.total_steps is not None:
                changes["total_steps"] = config.total_steps
            runtime = dataclasses.replace(base.runtime, **changes)
            training = Training(base.environment, kind, FREE, seed)
            cells.append((training, dataclasses.replace(base, seed=seed, runtime=runtime)))
    folder = config.out or Path("runs") / config.task
    open_folder(folder, config, free=("seeds",), presets=kinds)
    trainings.fill(folder / training_plots.TASKS, cells)
    training_plots.draw(folder)
    print(training_plots.summary(folder / training_plots.TASKS))
    print(f"results: {folder}")


def main() -> None:
    """Parses the flags, runs."""
    command(Config, run, __doc__, all_cores=False)


if __name__ == "__main__":
    main()
