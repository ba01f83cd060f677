"""Sweeps of learning curves: rows of time, one instance after the other, written as they go."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Curve(NamedTuple):
    """Whose curve it is: the columns that come before the time."""

    agents: int
    algorithm: str
    goal: str
    instance: int


class Point(NamedTuple):
    """A row."""

    curve: Curve
    second: float
    mean_reward: float


HEADER = [*Curve._fields, *Point._fields[1:]]


class Curves:
    """A CSV that grows by whole curves; those that it holds are not simulated again.

    Args:
      path: the file, made if it is not there.
      points: how many a whole curve has; what a stop left of one is removed.
    """

    def __init__(self, path: Path, points: int) -> None:
        self._path = path
        rows = read(path) if path.exists() else []
        count: dict[Curve, int] = {}
        for row in rows:
            count[row.curve] = count.get(row.curve, 0) + 1
        self.done = {curve for curve, number in count.items() if number == points}
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(HEADER)
        self._append(row for row in rows if row.curve in self.done)

    def add(self, curve: Curve, points: Iterable[tuple[float, float]]) -> None:
        """Writes a whole curve of (second, mean reward)."""
        self._append(Point(curve, *point) for point in points)
        self.done.add(curve)

    def _append(self, rows: Iterable[Point]) -> None:
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(
                [*row.curve, f"{row.second:g}", f"{row.mean_reward:.6g}"] for row in rows
            )


def read(path: Path) -> list[Point]:
    """The rows of a table."""
    with path.open(newline="") as file:
        lines = csv.reader(file)
        next(lines, None)
        return [
            Point(Curve(int(agents), algorithm, goal, int(instance)), float(second), float(reward))
            for agents, algorithm, goal, instance, second, reward in lines
        ]
