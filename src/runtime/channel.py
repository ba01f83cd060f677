"""A closable bounded queue: what joins the runtime's threads."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# No wait is longer than this without a look around, so that a signal is noticed.
SLICE_SECONDS = 0.5


class QueueClosed(Exception):
    """The queue was closed: nothing more can be put in, or nothing more will come out."""


class BoundedQueue(Generic[T]):
    """First in, first out, at most `capacity` items; `close` wakes everyone who waits.

    After `close` a producer gets `QueueClosed`; a consumer gets what is left, then
    `QueueClosed` (an iteration ends). The standard library's queue has no `shutdown` before
    Python 3.13.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a queue capacity of {capacity} was given; expected at least 1")
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T, timeout: float | None = None) -> None:
        """Appends the item, waiting for room.

        Raises:
          QueueClosed: the queue is or was closed meanwhile; the item was not taken.
          TimeoutError: there was no room for `timeout` seconds.
        """
        with self._changed:
            self._wait(lambda: self._closed or len(self._items) < self._capacity, timeout)
            if self._closed:
                raise QueueClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """Removes and returns the oldest item, waiting for one.

        Raises:
          QueueClosed: the queue is closed and empty.
          TimeoutError: nothing came for `timeout` seconds.
        """
        with self._changed:
            self._wait(lambda: self._closed or bool(self._items), timeout)
            if not self._items:
                raise QueueClosed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def _wait(self, ready, timeout: float | None) -> None:
        if timeout is not None:
            if not self._changed.wait_for(ready, timeout):
                raise TimeoutError(f"the queue did not change for {timeout} s")
            return
        while not self._changed.wait_for(ready, SLICE_SECONDS):
            pass

    def close(self) -> None:
        """Lets no more in and wakes every waiting producer and consumer; may be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """Yields items until the queue is closed and empty."""
        while True:
            try:
                yield self.get()
            except QueueClosed:
                return
