"""`python -m benchmarks`: prints every figure and writes them, with the machine, as JSON."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import actor_learner, vtrace
from expedition.runtime.record import provenance, write_json


def main(out: Path = Path("runs/benchmarks.json")) -> None:
    """Measures; figures are medians of 7 windows, spread is largest less smallest.

    Args:
      out: the JSON file to write.
    """
    console, origin = Console(width=140), provenance()
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    cores = len(os.sched_getaffinity(0))
    console.print(f"{origin['machine']['processor']}, {cores} cores; {versions}")
    vtrace_rows = vtrace.measure()
    console.print(_table("microseconds a call", vtrace_rows))
    # In a process of its own: there every core is a device.
    subprocess.run([sys.executable, "-m", "benchmarks.concurrent"], check=True)
    system_rows = [actor_learner.measure(name) for name in actor_learner.ENVIRONMENTS]
    console.print(_systems(system_rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "vtrace": vtrace_rows,
        "actor_learner": system_rows,
    }
    write_json(out, {"figures": figures, **origin})
    console.print(f"written to {out}")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _systems(rows: list[dict[str, Any]]) -> Table:
    """A column for each environment."""
    names = [name for name in rows[0] if name != "what" and not name.endswith("_spread")]
    title = "environment steps (actions) a second (spread); costs in us of all cores a step; shares"
    table = Table("what", *(row["what"] for row in rows), title=title)
    for name in names:
        table.add_row(name, *(_figure(row, name) for row in rows))
    return table


def _figure(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if name.endswith("_cost"):
        return f"{1e6 * value:,.2f}"
    if "_time_" in name or name == "system_over_bound":
        return f"{value:.0%}"
    spread = row.get(f"{name}_spread")
    return f"{value:,.0f}" if spread is None else f"{value:,.0f} ({spread:,.0f})"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    tyro.cli(main)
