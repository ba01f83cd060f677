"""What a run measures, and where it is written."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tensorboardX import SummaryWriter

Row = Mapping[str, float]


class MetricsLogger(Protocol):
    """Takes a row of named numbers; all rows of a run have the same names."""

    def write(self, row: Row) -> None:
        """Writes the row so that it is on disk when the call returns."""
        ...

    def close(self) -> None:
        """Ends the log."""
        ...


class CSVLogger:
    """One line a row, with a header, in `metrics.csv`."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "metrics.csv").open("w", newline="")
        self._writer: csv.DictWriter | None = None

    def write(self, row: Row) -> None:
        """Appends a line and flushes it."""
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(row))
            self._writer.writeheader()
        self._writer.writerow({name: _short(value) for name, value in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


class TensorBoardLogger:
    """One scalar a name, over environment steps."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder))

    def write(self, row: Row) -> None:
        """Adds the finite values as scalars."""
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, int(row["env_steps"]))
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file and ends its thread."""
        self._writer.close()
