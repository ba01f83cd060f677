"""What a sweep says while it runs."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

QUIET = 60.0  # s, between lines that say what is being done, where no terminal is


class Reporter:
    """One live line on a terminal; elsewhere a plain one for each cell and each minute."""

    def __init__(self, cells: int) -> None:
        self._console = Console(highlight=False)
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=cells)
        self._next_line = time.monotonic()

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def show(self, text: str) -> None:
        """Says what is being done."""
        self._progress.update(self._task, description=text)
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + QUIET
            self._console.print(text, soft_wrap=True)

    def skip(self) -> None:
        """Counts a cell that was measured before."""
        self._progress.advance(self._task)

    def note(self, text: str) -> None:
        """Says what has been found, and counts the cell."""
        self._progress.advance(self._task)
        self._console.print(text, soft_wrap=True)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
