"""Sweeps of learning curves: rows of time, one instance after the other, written as they go."""

import csv
import os
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
        self._path, self._points = path, points
        rows = read(path) if path.exists() else []
        count: dict[Curve, int] = {}
        for row in rows:
            count[row.curve] = count.get(row.curve, 0) + 1
        self.done = {curve for curve, number in count.items() if number == points}
        # Beside the old table, which is replaced at once: a stop here loses nothing.
        new = path.with_suffix(".new")
        new.write_text(",".join(HEADER) + "\n")
        self._append(new, (row for row in rows if row.curve in self.done))
        os.replace(new, path)

    def add(self, curve: Curve, points: list[tuple[float, float]]) -> None:
        """Writes a whole curve of (second, mean reward).

        Raises:
          ValueError: it is not whole.
        """
        if len(points) != self._points:
            raise ValueError(f"a curve of {len(points)} points was given; expected {self._points}")
        self._append(self._path, (Point(curve, *point) for point in points))
        self.done.add(curve)

    @staticmethod
    def _append(path: Path, rows: Iterable[Point]) -> None:
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(
                [*row.curve, f"{row.second:g}", f"{row.mean_reward:.6g}"] for row in rows
            )


def read(path: Path) -> list[Point]:
    """The rows of a table; not the last one if a stop cut it short."""
    whole = path.read_text().rpartition("\n")[0]
    return [
        Point(Curve(int(agents), algorithm, goal, int(instance)), float(second), float(reward))
        for agents, algorithm, goal, instance, second, reward in csv.reader(whole.splitlines()[1:])
    ]
