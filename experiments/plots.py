"""Pictures of runs, made from their CSVs alone: `python -m experiments.plots` redraws all."""

import csv
import importlib.util
import math
from pathlib import Path

import tyro


def require() -> None:
    """Raises in one line if the plotting libraries are missing."""
    for name in ("matplotlib", "uniplot"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"{name} is not installed; plots need it: pip install 'expedition[plots]'"
            )


def read_curve(folder: Path) -> tuple[list[float], list[float]]:
    """Environment steps, and the mean return of the episodes that ended in each window."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [(float(r["env_steps"]), float(r["return_mean"])) for r in csv.DictReader(file)]
    kept = [row for row in rows if not math.isnan(row[1])]
    return [steps for steps, _ in kept], [value for _, value in kept]


def learning_curve(folder: Path) -> Path:
    """Draws `learning_curve.png` from `metrics.csv`."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    steps, returns = read_curve(folder)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, returns)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("mean training return")
    axes.set_title(folder.name, fontsize="small")
    axes.grid(alpha=0.3)
    path = folder / "learning_curve.png"
    figure.savefig(path, dpi=120)
    return path


def print_curve(folder: Path) -> None:
    """Shows the curve in the terminal."""
    import uniplot

    steps, returns = read_curve(folder)
    if steps:
        title = "mean training return over environment steps"
        uniplot.plot(returns, steps, lines=True, title=title)


def redraw(out: Path = Path("runs")) -> None:
    """Redraws the learning curve of every run.

    Args:
      out: the folder of the runs.
    """
    require()
    folders = sorted(path.parent for path in out.glob("*/metrics.csv"))
    found = [folder for folder in folders if not folder.is_symlink()]  # not `latest`
    for folder in found:
        print(learning_curve(folder))
    if not found:
        print(f"no run in {out}: make run leaves one there")


if __name__ == "__main__":
    tyro.cli(redraw)
