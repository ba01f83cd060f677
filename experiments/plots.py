"""Pictures of runs, made from their CSVs alone."""

import csv
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABELS = {
    "bootstrapped_dqn": "bootstrapped DQN",
    "bootstrapped_impala": "bootstrapped IMPALA",
    "bootstrapped_lsvi": "bootstrapped LSVI",
    "concurrent_ucrl": "concurrent UCRL",
    "dqn": "DQN",
    "impala": "IMPALA",
    "psrl": "PSRL",
    "replayed_impala": "replayed IMPALA",
    "seed_sampling": "seed sampling",
    "seed_lsvi": "seed LSVI",
    "seed_td": "seed TD",
    "seed_td_printed": "seed TD as printed",
    "seeded_impala": "seeded IMPALA",
    "thompson_resampling": "Thompson resampling",
}

FEW = 20  # points of a curve that are drawn as such


def require() -> None:
    """Raises in one line if the plotting libraries are missing."""
    for name in ("matplotlib", "uniplot"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"{name} is not installed; plots need it: pip install '.[plots]'"
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
    axes.plot(steps, returns, marker="." if len(steps) < FEW else None)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("mean return while acting")
    axes.set_title(folder.name, fontsize="small")
    axes.grid(alpha=0.3)
    return save(figure, folder / "learning_curve.png")


def print_curve(folder: Path) -> None:
    """Shows the curve in the terminal."""
    import uniplot

    steps, returns = read_curve(folder)
    if len(steps) > 1:
        title = "mean return while acting, over environment steps"
        uniplot.plot(returns, steps, lines=True, title=title)


def errorbars(axes: Any, rows: Sequence[Any], label: str, color: str) -> None:
    """Means over agents, with two standard errors, of a sweep's rows."""
    axes.errorbar(
        [row.agents for row in rows],
        [row.mean for row in rows],
        [2 * row.standard_error for row in rows],
        color=color,
        marker=".",
        capsize=2,
        label=label,
    )


def beside_root(axes: Any, rows: Sequence[Any]) -> None:
    """Makes the axes logarithmic and adds 1/√K, from the highest mean over agents."""
    first, last = min(row.agents for row in rows), max(row.agents for row in rows)
    top = max(row.mean for row in rows)
    ends = [top, top * (first / last) ** 0.5]
    axes.plot([first, last], ends, color="black", linestyle="--", label="1/√K")
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain(axes.xaxis)
    plain(axes.yaxis)


def finish(axes: Any, x: str, y: str, title: str) -> None:
    """Names the axes, and what the lines are."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def save(figure: Any, path: Path) -> Path:
    """Writes a picture."""
    figure.savefig(path, dpi=110)
    return path


def plain(axis: Any) -> None:
    """Makes a logarithmic axis say 1, 2, 5, 10 rather than powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())
