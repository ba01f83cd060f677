"""The run's live line on the terminal."""

import math
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from expedition.runtime.metrics import Row

_LINE_SECONDS = 10.0


class ProgressLine:
    """Steps, rate, return, policy lag, queue depth and time left.

    A live bar on a terminal; elsewhere (a log file) a plain line every ten seconds.
    """

    def __init__(self, total_updates: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._total = total_updates
        self._next_line = 0.0
        self._last_return = "-"  # of the newest window in which an episode ended
        self._first: Row | None = None
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("compiling", total=total_updates)

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def write(self, row: Row) -> None:
        """Shows the row."""
        if not math.isnan(row["return_mean"]):
            self._last_return = f"{row['return_mean']:.2f}"
        text = (
            f"{row['env_steps']:,} steps {row['env_steps_per_second']:,.0f}/s "
            f"return {self._last_return} lag {row['policy_lag_mean']:.1f} "
            f"queue {row['queue_depth']}"
        )
        self._progress.update(self._task, completed=row["updates"], description=text)
        if not self._console.is_terminal and row["wall_seconds"] >= self._next_line:
            self._next_line = row["wall_seconds"] + _LINE_SECONDS
            if rate := self._updates_per_second(row):
                text += f", {(self._total - row['updates']) / rate:.0f} s left"
            update = f"update {row['updates']}/{self._total}"
            self._console.print(f"{update} {text}", soft_wrap=True)

    def _updates_per_second(self, row: Row) -> float:
        """Since the first row, not of the last window alone, which may have stood still."""
        if self._first is None:
            self._first = row
            return row["updates_per_second"]
        seconds = row["wall_seconds"] - self._first["wall_seconds"]
        return (row["updates"] - self._first["updates"]) / seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
