"""Whole runs beside public peers: `python -m benchmarks.contest`.

Catch: our preset beside Haiku's example `impala_lite`. CartPole-v1 by EnvPool: ours beside Stoix's
Sebulba IMPALA. Every run is a process of its own, timed from its start, so that start-up and
compilation count in the time to a return; ours and theirs take turns. Theirs run their own code
with their own settings in environments of their own (`benchmarks/peers.py`).

Beside steps a second there is the time of all cores that a step takes, which hardly depends on what
else the machine does.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from expedition.runtime.record import provenance, write_json

Task = Literal["catch", "cartpole"]
EPISODES = 100  # of which the mean return is looked at
WARM_UP = 0.25  # part of a run's steps that its rate leaves out: compilation
TARGETS = {"catch": 0.95, "cartpole": 450.0}
LONG = ("cartpole",)  # whose runs end at the target
TICKS = os.sysconf("SC_CLK_TCK")


class Line(NamedTuple):
    """What a run had done when it said so."""

    seconds: float  # since the process was started
    cpu: float  # seconds of all cores
    steps: int


class Run(NamedTuple):
    """What was seen of one process."""

    rate: float  # steps a second, after the warm-up
    cost: float  # microseconds of all cores a step, after the warm-up
    seconds: float | None  # from its start to the target; None: not reached
    cpu: float | None  # seconds of all cores until then


def watch(command: peers.Command, target: float, stop: bool) -> Run:
    """Runs a command that prints lines of steps, return and episodes.

    Args:
      command: what to run.
      target: the mean return of 100 episodes to wait for.
      stop: whether to end it as soon as the target is reached.

    Raises:
      PeerError: it ended with an error, or before it said anything.
    """
    returns: deque[float] = deque(maxlen=EPISODES)
    lines: list[Line] = []
    reached: Line | None = None
    errors = peers.FOLDER / "errors.txt"
    errors.parent.mkdir(parents=True, exist_ok=True)
    with errors.open("w") as file, command.start(stderr=file) as process:
        try:
            for line, said in _lines(process):
                lines.append(line)
                returns.extend([said["return"]] * said["episodes"])
                full = len(returns) == EPISODES
                if reached is None and full and statistics.mean(returns) >= target:
                    reached = line
                    if stop:
                        process.terminate()
            code = process.wait()
        finally:
            process.kill()  # does nothing if it has ended
    if not lines or (code and not (stop and reached)):
        raise peers.PeerError(f"{' '.join(command.words)} failed:\n{errors.read_text()[-2000:]}")
    when = (reached.seconds, reached.cpu) if reached else (None, None)
    return Run(*_rate(lines), *when)


def _lines(process: subprocess.Popen[str]) -> Iterator[tuple[Line, dict[str, Any]]]:
    start = time.perf_counter()
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith('{"steps"'):  # whatever else theirs print
            said = json.loads(text)
            yield Line(time.perf_counter() - start, _cpu(process.pid), said["steps"]), said


def _cpu(pid: int) -> float:
    """Seconds of all cores that a process has taken, itself and in the system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rate(lines: list[Line]) -> tuple[float, float]:
    """Steps a second, and microseconds of all cores a step, beyond the warm-up."""
    first = next(line for line in lines if line.steps >= WARM_UP * lines[-1].steps)
    seconds, cpu, steps = (b - a for a, b in zip(first, lines[-1], strict=True))
    if not seconds > 0 or not steps > 0:
        return float("nan"), float("nan")
    return steps / seconds, 1e6 * cpu / steps


def compete(task: Task, runs: int) -> dict[str, Any]:
    """One task's row: medians over the runs, which take turns."""
    ours = peers.Command((sys.executable, "-m", "benchmarks.guests.ours", task))
    if task == "catch":
        name, theirs = "impala_lite", peers.haiku_on_catch(450)
    else:
        name, theirs = "Stoix", peers.stoix_on_cartpole(1_000_000)
    found: list[list[Run]] = [[], []]
    for _ in range(runs):
        for command, of_one in zip((ours, theirs), found, strict=True):
            of_one.append(watch(command, TARGETS[task], stop=task in LONG))
    row: dict[str, Any] = {"task": task, "peer": name, "target": TARGETS[task]}
    for who, of_one in zip(("ours", "theirs"), found, strict=True):
        reached = [run for run in of_one if run.seconds is not None]
        row |= _spread(f"{who}: steps/s", [run.rate for run in of_one])
        row |= _spread(f"{who}: CPU us a step", [run.cost for run in of_one])
        row |= _spread(f"{who}: s to target", [run.seconds for run in reached])
        row |= _spread(f"{who}: CPU s to target", [run.cpu for run in reached])
        row[f"{who}: reached"] = f"{len(reached)} of {runs}"
    pairs = list(zip(*found, strict=True))
    row["times theirs, steps/s"] = statistics.median(a.rate / b.rate for a, b in pairs)
    row["times theirs, steps a CPU s"] = statistics.median(b.cost / a.cost for a, b in pairs)
    return row


def _spread(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Median, and largest less smallest."""
    known = [value for value in values if value is not None]
    if not known:
        return {name: None}
    return {name: statistics.median(known), f"{name}, spread": max(known) - min(known)}


def main(
    tasks: tuple[Task, ...] = get_args(Task),
    runs: int = 5,
    out: Path = Path("runs/benchmark_contest.json"),
) -> None:
    """Prints a table for each task: medians of the runs, spread is largest less smallest.

    Args:
      tasks: which.
      runs: of each competitor, in turn.
      out: the JSON file to write.
    """
    try:
        rows = [compete(task, runs) for task in tasks]
    except peers.PeerError as error:
        sys.exit(
            f"error: {error}\ndocs/benchmarks.md says what peers need; --tasks leaves some out"
        )
    console = Console(width=100)
    for row in rows:
        table = Table("what", "figure", title=f"{row['task']}: ours beside {row['peer']}")
        for name, value in row.items():
            table.add_row(name, f"{value:,.3g}" if isinstance(value, float) else str(value))
        console.print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"figures": rows, "load": os.getloadavg(), **provenance()})
    console.print(f"written to {out}")


if __name__ == "__main__":
    tyro.cli(main)
