"""Threads that stop together, and runs that stop cleanly."""

import faulthandler
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from expedition.runtime.channel import QueueClosed

GRACE_SECONDS = 8.0  # for all threads together, after the stop


class Supervisor:
    """Runs threads; when one fails, or the body of the `with` ends, all are stopped and joined.

    The first failure is raised where the `with` ends, with its original traceback last. A
    thread stops by the queues that it works on: `stop` closes them, `QueueClosed` ends it.
    """

    def __init__(self, *closers: Callable[[], None]) -> None:
        self._closers = closers
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def spawn(self, name: str, function: Callable[[], None]) -> threading.Thread:
        """Starts a thread."""
        # Daemons, so that one stuck in foreign code cannot keep the process alive.
        thread = threading.Thread(target=self._guard, args=(function,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def forget(self, thread: threading.Thread) -> None:
        """Does not wait for the thread at the end."""
        self._threads.remove(thread)

    def _guard(self, function: Callable[[], None]) -> None:
        try:
            function()
        except QueueClosed:
            pass
        except BaseException as failure:
            with self._lock:
                self._failure = self._failure or failure
            self.stop()

    @property
    def failed(self) -> bool:
        """Whether a thread has failed."""
        return self._failure is not None

    def stop(self) -> None:
        """Asks every thread to end, by closing the queues; may be repeated."""
        for close in self._closers:
            close()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        names = ", ".join(thread.name for thread in self._threads if thread.is_alive())
        stuck = f"{names} did not end within {GRACE_SECONDS:.0f} s of the stop" if names else ""
        if self._failure is not None and (error is None or isinstance(error, QueueClosed)):
            if stuck:
                self._failure.add_note(stuck)
            own = self._failure.__cause__ or self._failure.__context__
            raise self._failure from own  # and not from the body's QueueClosed
        if stuck and error is None:
            warnings.warn(stuck, RuntimeWarning, stacklevel=2)
        elif stuck and error is not None:
            error.add_note(stuck)


def dump_stacks() -> None:
    """Writes where every thread is to the terminal's stderr."""
    faulthandler.dump_traceback(sys.__stderr__ or 2)


class Watchdog:
    """Ends the process with exit code 1, and shows where every thread is, unless it is fed in time.

    For what no exception can end: a device, or another process, that does not answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fed = -math.inf

    def feed(self) -> None:
        """Starts the time anew."""
        now = time.monotonic()
        if now - self._fed > min(1.0, self._seconds / 10):  # each time takes a new thread
            self._fed = now
            stderr = sys.__stderr__ or 2
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=stderr)

    def __enter__(self) -> "Watchdog":
        self.feed()
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()


class StopRequest:
    """Whether, and by what, the run was asked to stop."""

    reason: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a request; a second one acts as it does by default.

    Outside the main thread, where Python delivers no signals, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def note(number: int, frame: FrameType | None) -> None:
        # Only a plain assignment: the main thread may hold any lock at this moment.
        request.reason = signal.Signals(number).name
        signal.signal(number, before[signal.Signals(number)])

    # None: a handler that was not set from Python and cannot be put back.
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    for number in numbers:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
