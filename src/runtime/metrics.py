"""What a run measures, and where it is written."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TextIO

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
    """One line a row, with a header, in `metrics.csv`.

    In a folder that has rows, as of a run that goes on from a checkpoint, the first new row
    replaces those of updates that it counts anew.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.csv"
        self._file: TextIO | None = None

    def write(self, row: Row) -> None:
        """Appends a line and flushes it.

        Raises:
          ValueError: the folder's rows have other names.
        """
        file = self._file or self._begin(row)
        self._writer.writerow({name: _short(value) for name, value in row.items()})
        file.flush()

    def _begin(self, row: Row) -> TextIO:
        kept = self._rows_before(row)
        new = self._path.with_suffix(".new")
        self._file = new.open("w", newline="")
        self._writer = csv.DictWriter(self._file, list(row))
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()
        new.replace(self._path)  # at once: a crash leaves the old rows or these
        return self._file

    def _rows_before(self, row: Row) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is not None and list(reader.fieldnames) != list(row):
                raise ValueError(
                    f"{self._path} has columns {reader.fieldnames}; expected {list(row)}"
                )
            first = row["updates"] - row["window_updates"]
            # The last line may have been cut short.
            whole = (r for r in reader if None not in r.values() and "" not in r.values())
            return [r for r in whole if int(r["updates"]) <= first]

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


class TensorBoardLogger:
    """One scalar a name, over environment steps.

    Args:
      folder: of the event files.
      env_steps: where a run goes on: what older files have of later steps is hidden.
    """

    def __init__(self, folder: Path, env_steps: int = 0) -> None:
        self._folder, self._env_steps = folder, env_steps
        self._writer: SummaryWriter | None = None

    def write(self, row: Row) -> None:
        """Adds the finite values as scalars."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder), purge_step=self._env_steps + 1)
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, int(row["env_steps"]))
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file and ends its thread."""
        if self._writer is not None:
            self._writer.close()
