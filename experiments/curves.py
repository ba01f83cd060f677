"""Sweeps of learning curves: rows of time, one instance after the other, written as they go."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints


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


P = TypeVar("P", bound=tuple)  # a NamedTuple like `Point`: the curve comes first


def header(kind: type[P]) -> list[str]:
    """The names of the columns of rows like `Point`."""
    hints = get_type_hints(kind)
    return [*get_type_hints(hints.pop("curve")), *hints]


HEADER = header(Point)


class Curves(Generic[P]):
    """A CSV that grows by whole curves; those that it holds are not made again.

    Args:
      path: the file, made if it is not there.
      points: how many a whole curve has; what a stop left of one is removed.
      kind: of the rows.
    """

    def __init__(self, path: Path, points: int, kind: type[P] = Point) -> None:
        self._path, self._points, self._kind = path, points, kind
        rows = read(path, kind) if path.exists() else []
        count: dict[Any, int] = {}
        for row in rows:
            count[row[0]] = count.get(row[0], 0) + 1
        self.done = {curve for curve, number in count.items() if number == points}
        # Beside the old table, which is replaced at once: a stop here loses nothing.
        new = path.with_suffix(".new")
        new.write_text(",".join(header(kind)) + "\n")
        self._append(new, (row for row in rows if row[0] in self.done))
        os.replace(new, path)

    def add(self, curve: Any, points: Sequence[tuple[float, ...]]) -> None:
        """Writes a whole curve, of what a row has after its curve: (second, mean reward).

        Raises:
          ValueError: it is not whole.
        """
        if len(points) != self._points:
            raise ValueError(f"a curve of {len(points)} points was given; expected {self._points}")
        self._append(self._path, (self._kind(curve, *point) for point in points))
        self.done.add(curve)

    @staticmethod
    def _append(path: Path, rows: Iterable[P]) -> None:
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(
                [*row[0], *(f"{x:.6g}" if isinstance(x, float) else x for x in row[1:])]
                for row in rows
            )


def read(path: Path, kind: type[P] = Point) -> list[P]:
    """The rows of a table; not the last one if a stop cut it short."""
    hints = get_type_hints(kind)
    curve = hints.pop("curve")
    of_curve, of_point = get_type_hints(curve).values(), hints.values()
    found, width = [], len(of_curve)
    whole = path.read_text().rpartition("\n")[0]
    for line in csv.reader(whole.splitlines()[1:]):
        names = curve(*(make(x) for make, x in zip(of_curve, line[:width], strict=True)))
        values = (make(x) for make, x in zip(of_point, line[width:], strict=True))
        found.append(kind(names, *values))
    return found
