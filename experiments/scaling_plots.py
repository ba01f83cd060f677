"""Pictures of what grows with devices, actors and agents, from the benchmarks' tables alone."""

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import plots

DEVICES, ACTORS, AGENTS = "scaling.csv", "actors.csv", "agents.csv"
Rows = list[dict[str, str]]


def draw(folder: Path) -> list[Path]:
    """Draws what the folder has of tables."""
    pictures: dict[str, Callable[[Path, Rows], Path]] = {
        DEVICES: _communication,
        ACTORS: _actors,
        AGENTS: _agents,
    }
    return [
        picture(folder / name, read(folder / name))
        for name, picture in pictures.items()
        if (folder / name).exists()
    ]


def read(path: Path) -> Rows:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a table; all rows have the same names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _communication(path: Path, rows: Rows) -> Path:
    """Kilobytes against devices."""
    figure, axes = _axes()
    styles = itertools.cycle(("o-", "s-", "x:"))  # where lines coincide
    for name, own in _by(rows, "agent").items():
        devices = [int(row["devices"]) for row in own]
        sent = [(int(row["all-reduce"]) + int(row["all-gather"])) / 1e3 for row in own]
        axes.plot(devices, sent, next(styles), label=name, alpha=0.7, linewidth=2)
        axes.set_xscale("log")
        axes.set_xticks(devices, map(str, devices))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    plots.finish(axes, "devices", "kB sent by each, an update", "communication of an update")
    return plots.save(figure, path.with_suffix(".png"))


def _actors(path: Path, rows: Rows) -> Path:
    """Steps a second against actor threads."""
    figure, axes = _axes()
    cores = int(rows[0]["cores"])
    for name, own in _by(rows, "environment").items():
        _line(axes, own, "actors", "per_second", f"{name}, as measured")
        label = f"{name}, if it had {cores} cores to itself (by the time of cores)"
        _line(axes, own, "actors", "per_core_second", label, cores)
    axes.set_xticks(sorted({int(row["actors"]) for row in rows}))
    axes.set_ylim(bottom=0)
    title = "IMPALA's whole system, learner included"
    plots.finish(axes, "actor threads", "environment steps a second", title)
    return plots.save(figure, path.with_suffix(".png"))


def _agents(path: Path, rows: Rows) -> Path:
    """Agent-steps of a second of one core against the size of the team."""
    figure, axes = _axes()
    for name, own in _by(rows, "algorithm").items():
        _line(axes, own, "agents", "per_core_second", plots.LABELS[name])
    axes.set(xscale="log", yscale="log")
    title = "concurrent simulator, bipolar chain"
    plots.finish(axes, "agents K in a world", "agent-steps a second of one core", title)
    return plots.save(figure, path.with_suffix(".png"))


def _line(axes: Any, rows: Rows, x: str, y: str, label: str, scale: float = 1.0) -> None:
    """Medians, with the least and the largest window."""
    middle, least, largest = (
        [scale * float(row[y + end]) for row in rows] for end in ("", "_least", "_largest")
    )
    below = [m - low for m, low in zip(middle, least, strict=True)]
    above = [high - m for m, high in zip(middle, largest, strict=True)]
    where = [int(row[x]) for row in rows]
    axes.errorbar(where, middle, [below, above], marker="o", capsize=2, alpha=0.8, label=label)


def _by(rows: Rows, name: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    return figure, figure.add_subplot()
