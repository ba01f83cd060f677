"""Redraw every picture from its CSVs, nothing is trained: `python -m experiments.figures`."""

import sys
from pathlib import Path

import tyro

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import (
    deep_sea_plots,
    figure1,
    per_agent_plots,
    plots,
    regret_plots,
    scaling_plots,
    swingup_plots,
    training_plots,
)

DRAWERS = (deep_sea_plots, figure1, regret_plots, scaling_plots, swingup_plots, training_plots)


def redraw(folders: tuple[Path, ...] = (Path("results"), Path("runs"))) -> None:
    """Redraws learning curves of runs, and figures of sweeps.

    Args:
      folders: where runs and sweeps have left their folders.
    """
    plots.require()
    drawn: list[Path] = []
    for folder in sorted(path for parent in folders for path in parent.glob("*/")):
        if folder.is_symlink():  # `latest`
            continue
        if (folder / "metrics.csv").exists():
            drawn.append(plots.learning_curve(folder))
        for module in DRAWERS:
            drawn += module.draw(folder)
    for parent in folders:
        if pictures := per_agent_plots.draw(parent):
            drawn += pictures
            print(f"{parent}, slopes of regret per agent against K:")
            print(per_agent_plots.summary(parent))
    print("\n".join(map(str, drawn)) or f"nothing to draw in {', '.join(map(str, folders))}")


if __name__ == "__main__":
    tyro.cli(redraw, prog="python -m experiments.figures")
