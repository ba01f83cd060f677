"""The tables of deep sea, and their pictures."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import plots, sweep


class Row(NamedTuple):
    """What became of an instance."""

    algorithm: str
    size: int  # N
    agents: int  # K
    instance: int
    episodes: int  # of each agent, until solved or until the end
    solved: bool
    seconds: float  # the first instance's with the compilation


class Rows:
    """A CSV of rows that grows; what it holds already is not measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if sweep.open_table(path):
            self._append(list(Row._fields))
        self._done = {row[:4] for row in read(path)}

    def has(self, *cell: str | int) -> bool:
        """Whether the instance (algorithm, size, agents, instance) was run."""
        return cell in self._done

    def add(self, row: Row) -> None:
        """Writes a row."""
        self._append([*row[:5], int(row.solved), f"{row.seconds:.1f}"])
        self._done.add(row[:4])

    def _append(self, fields: list) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(fields)


def read(path: Path) -> list[Row]:
    """The rows of a table; not the last one if a stop cut it short."""
    whole = path.read_text().rpartition("\n")[0]
    return [
        Row(a, int(n), int(k), int(i), int(e), solved == "1", float(s))
        for a, n, k, i, e, solved, s in csv.reader(whole.splitlines()[1:])
    ]


def draw(folder: Path) -> list[Path]:
    """Draws what there is of a sweep's two pictures."""
    drawn = []
    if (folder / "deep_sea.csv").exists() and read(folder / "deep_sea.csv"):
        drawn.append(_scaling(folder))
    if (folder / "regret.csv").exists() and sweep.read(folder / "regret.csv"):
        drawn.append(_regret(folder))
    return drawn


def summary(folder: Path) -> str:
    """A line for each algorithm, size and number of agents."""
    lines = ["episodes of each agent until solved: median (all instances; > not solved in)"]
    for (algorithm, agents, size), rows in _groups(read(folder / "deep_sea.csv")).items():
        each = ", ".join(f"{'' if row.solved else '>'}{row.episodes}" for row in rows)
        lines.append(
            f"  {plots.LABELS[algorithm]:19} K {agents:<4} N {size:<3} {_median(rows):7g}  ({each})"
        )
    return "\n".join(lines)


def _groups(rows: list[Row]) -> dict[tuple[str, int, int], list[Row]]:
    names = list(dict.fromkeys(row.algorithm for row in rows))
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (names.index(row.algorithm), *row[1:])):
        groups.setdefault((row.algorithm, row.agents, row.size), []).append(row)
    return groups


def _median(rows: list[Row]) -> float:
    return float(np.median([row.episodes for row in rows]))


def _scaling(folder: Path) -> Path:
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    groups = _groups(read(folder / "deep_sea.csv"))
    team_sizes = sorted({agents for _, agents, _ in groups})
    names = list(dict.fromkeys(name for name, _, _ in groups))
    sizes = sorted({size for _, _, size in groups})
    highest = max(row.episodes for rows in groups.values() for row in rows)
    highest = max(2 * highest, 2 ** (sizes[0] + 3))  # of the axis; the line is seen for K = 1 too
    figure = Figure(figsize=(4 * len(team_sizes), 4.2), layout="constrained")
    panels = figure.subplots(1, len(team_sizes), squeeze=False, sharey=True)[0]
    for axes, agents in zip(panels, team_sizes, strict=True):
        for i, name in enumerate(names):
            mine = {n: rows for (a, k, n), rows in groups.items() if (a, k) == (name, agents)}
            if not mine:
                continue
            ns = sorted(mine)
            axes.plot(ns, [_median(mine[n]) for n in ns], color=f"C{i}", label=plots.LABELS[name])
            for n in ns:
                for row in mine[n]:
                    marker = "o" if row.solved else "x"
                    axes.plot(n, row.episodes, marker, color=f"C{i}", markersize=4)
        n = np.linspace(sizes[0], min(sizes[-1], np.log2(highest * agents)), 50)
        axes.plot(n, 2**n / agents, color="black", linestyle="--", label="$2^N$ / K")
        axes.set_yscale("log")
        axes.set_ylim(1, highest)
        plots.finish(axes, "size N", "episodes of each agent until solved", f"K = {agents}")
    return plots.save(figure, folder / "deep_sea.png")


def _regret(folder: Path) -> Path:
    from matplotlib.figure import Figure

    rows = sweep.read(folder / "regret.csv")
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for i, name in enumerate(dict.fromkeys(row.algorithm for row in rows)):
        mine = sorted((row for row in rows if row.algorithm == name), key=lambda row: row.agents)
        plots.errorbars(axes, mine, plots.LABELS[name], f"C{i}")
    plots.beside_root(axes, rows)
    plots.finish(axes, "agents K", "bad episodes per agent (±2 s.e.)", "deep sea")
    return plots.save(figure, folder / "regret.png")
