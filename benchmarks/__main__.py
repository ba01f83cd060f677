"""`python -m benchmarks`: prints every figure and writes them, with the machine, as JSON."""

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
    console = Console(width=140)
    vtrace_rows = vtrace.measure()
    console.print(_table("microseconds a call", vtrace_rows))
    # In a process of its own: there every core is a device.
    subprocess.run([sys.executable, "-m", "benchmarks.concurrent"], check=True)
    system_rows = [actor_learner.measure(name) for name in actor_learner.ENVIRONMENTS]
    shown = [
        {k: v for k, v in row.items() if "time" not in k and "spread" not in k}
        for row in system_rows
    ]
    console.print(_table("environment steps (actions) a second", shown))
    for row in system_rows:
        times = {k: v for k, v in row.items() if "time" in k}
        console.print(row["what"], {name: f"{share:.0%}" for name, share in times.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "vtrace": vtrace_rows,
        "actor_learner": system_rows,
    }
    write_json(out, {"figures": figures, **provenance()})
    console.print(f"written to {out}")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    tyro.cli(main)
