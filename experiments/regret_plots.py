"""Pictures and the comparison of regret sweeps, from their tables alone."""

import math
from pathlib import Path

from experiments import plots
from experiments.sweep import Row, read

PUBLISHED = Path(__file__).parent / "published"
PROBLEMS = {"bipolar_chain": "bipolar chain", "parallel_chains": "parallel chains"}


def draw(folder: Path) -> list[Path]:
    """Draws each table's curves beside the published ones, and all of them on log axes."""
    found = [name for name in PROBLEMS if _rows(folder, name)]
    return [_curves(folder, name) for name in found] + ([_slopes(folder, found)] if found else [])


def published(name: str) -> dict[tuple[str, int], float]:
    """The digitised regret of (algorithm, agents)."""
    lines = (PUBLISHED / f"{name}.csv").read_text().splitlines()[1:]
    cells = (line.split(",") for line in lines)
    return {(algorithm, int(agents)): float(regret) for algorithm, agents, regret in cells}


def comparison(folder: Path) -> str:
    """A line for each published value: ours, the ratio, and whether it is met.

    The last number is the difference in standard deviations: of our mean, of the mean of 100
    worlds, as many as the paper's may have been (see docs/figures.md), and of the digitisation.
    """
    lines = []
    for name in PROBLEMS:
        theirs = published(name)
        rows = [row for row in _rows(folder, name) if (row.algorithm, row.agents) in theirs]
        met = [_is_met(row, theirs[row.algorithm, row.agents]) for row in rows]
        lines.append(
            f"{PROBLEMS[name]}: {sum(met)} of {len(met)} published values met "
            "within 10 % or two standard errors"
        )
        for row, is_met in zip(rows, met, strict=True):
            value = theirs[row.algorithm, row.agents]
            errors = (row.standard_error, row.standard_error * (row.instances / 100) ** 0.5)
            error = math.hypot(*errors, 0.03 * value)
            lines.append(
                f"  {plots.LABELS[row.algorithm]:20} K {row.agents:<5} {row.mean:7.2f} "
                f"± {row.standard_error:5.2f}  published {value:6.2f}  "
                f"ratio {row.mean / value:4.2f}  {(row.mean - value) / error:+5.1f}σ"
                f"{'' if is_met else '  not met'}"
            )
    return "\n".join(lines)


def _rows(folder: Path, name: str) -> list[Row]:
    path = folder / f"{name}.csv"
    return read(path) if path.exists() else []


def _is_met(row: Row, value: float) -> bool:
    return abs(row.mean - value) <= max(0.1 * value, 2 * row.standard_error)


def _by_algorithm(rows: list[Row]) -> dict[str, list[Row]]:
    found = {
        a: sorted((r for r in rows if r.algorithm == a), key=lambda r: r.agents)
        for a in plots.LABELS
    }
    return {algorithm: group for algorithm, group in found.items() if group}


def _curves(folder: Path, name: str) -> Path:
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    theirs = published(name)
    for i, (algorithm, rows) in enumerate(_by_algorithm(_rows(folder, name)).items()):
        plots.errorbars(axes, rows, plots.LABELS[algorithm], f"C{i}")
        points = sorted((k, value) for (a, k), value in theirs.items() if a == algorithm)
        axes.plot(*zip(*points, strict=True), color=f"C{i}", linestyle=":", marker="x", alpha=0.7)
    axes.plot([], [], color="grey", linestyle=":", marker="x", label="published (digitised)")
    axes.set_xscale("log")
    plots.plain(axes.xaxis)
    axes.set_ylim(bottom=0)
    plots.finish(axes, "agents K", "mean regret per agent (±2 s.e.)", PROBLEMS[name])
    return plots.save(figure, folder / f"{name}.png")


def _slopes(folder: Path, names: list[str]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        groups = _by_algorithm(_rows(folder, name))
        for i, (algorithm, rows) in enumerate(groups.items()):
            x, y = [row.agents for row in rows], [row.mean for row in rows]
            axes.plot(x, y, color=f"C{i}", marker=".", label=plots.LABELS[algorithm])
        plots.beside_root(axes, [row for rows in groups.values() for row in rows])
        plots.finish(axes, "agents K", "mean regret per agent", PROBLEMS[name])
    return plots.save(figure, folder / "slopes.png")
