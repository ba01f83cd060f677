"""Regret per agent against the number of agents K, of every problem, beside 1/√K: one picture.

That the regret of each of K agents who share their data falls as 1/√K, up to logarithms, is a bound
over long times (Chen et al., 2022, Society of Agents: Regret Bounds of Concurrent Thompson
Sampling); on log axes it is a straight line of slope -1/2.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from experiments.sweep import Row, read

TABLES = {
    "bipolar_chain": "bipolar chain",
    "parallel_chains": "parallel chains",
    "regret": "deep sea",
}
"""The names of tables whose numbers are regret per agent."""


def draw(parent: Path) -> list[Path]:
    """Draws `regret/regret.png` from the tables of all sweeps in a folder, a panel each.

    Args:
        parent: holds a folder for each sweep; a panel's title is the problem's.

    Returns:
        What was drawn: nothing, if there is no table.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    tables = {path: rows for path in _paths(parent) if (rows := read(path))}
    if not tables:
        return []
    figure = Figure(figsize=(5 * len(tables), 4.5), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (path, rows) in zip(panels, tables.items(), strict=True):
        _panel(axes, rows)
        plots.finish(axes, "agents K", "regret per agent (±2 s.e.)", TABLES[path.stem])
    (parent / "regret").mkdir(exist_ok=True)
    return [plots.save(figure, parent / "regret" / "regret.png")]


def exponent(rows: Sequence[Row]) -> float:
    """The slope a of log regret over log K: regret is about K^a.

    The slope is that of least squares, where all K count alike.

    Args:
        rows: of one algorithm; those without regret, whose logarithm is none, are left out.

    Returns:
        The slope; NaN, if fewer than two numbers of agents are left.
    """
    points = [(row.agents, row.mean) for row in rows if row.mean > 0]
    if len({agents for agents, _ in points}) < 2:
        return float("nan")
    agents, regret = np.log(np.array(points)).T
    return float(np.polyfit(agents, regret, 1)[0])


def summary(parent: Path) -> str:
    """A line for each problem and algorithm: the exponent, and between which K."""
    lines = []
    for path in _paths(parent):
        for name, rows in _by_algorithm(read(path)).items():
            between = f"K {rows[0].agents} to {rows[-1].agents}"
            lines.append(
                f"{TABLES[path.stem]:16} {plots.LABELS[name]:20} {exponent(rows):6.2f}  {between}"
            )
    return "\n".join(lines)


def _paths(parent: Path) -> list[Path]:
    found = (path for name in TABLES for path in sorted(parent.glob(f"*/{name}.csv")))
    return [path for path in found if not path.parent.is_symlink()]


def _by_algorithm(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.agents):
        groups.setdefault(row.algorithm, []).append(row)
    return {name: groups[name] for name in plots.LABELS if name in groups}


def _panel(axes: Any, rows: list[Row]) -> None:
    for i, (name, mine) in enumerate(_by_algorithm(rows).items()):
        label = f"{plots.LABELS[name]}: $K^{{{exponent(mine):.2f}}}$"
        plots.errorbars(axes, mine, label, f"C{i}")
    plots.beside_root(axes, rows)
