"""The newest parameters, for whoever asks."""

import threading
from collections import deque
from typing import Any, NamedTuple

from expedition.runtime.channel import SLICE_SECONDS, QueueClosed


class Versioned(NamedTuple):
    """Parameters, and the number of updates that made them."""

    version: int
    params: Any


class ParameterServer:
    """Holds the newest versions of the parameters; the learner publishes, actors take.

    What is published must stay valid: never the arrays that the learner donates.

    Args:
      versions: one or more to begin with, each newer than the one before it.
      keep: how many are held.
    """

    def __init__(self, *versions: Versioned, keep: int = 2) -> None:
        self._newest = deque(versions, maxlen=keep)
        self._changed = threading.Condition()
        self._closed = False

    def publish(self, version: int, params: Any) -> None:
        """Adds the newest parameters; the oldest are gone when there are too many.

        Raises:
          ValueError: the version is not newer than the published one.
        """
        with self._changed:
            if version <= self._newest[-1].version:
                raise ValueError(
                    f"version {version} was published after {self._newest[-1].version}; "
                    "expected a newer one"
                )
            self._newest.append(Versioned(version, params))
            self._changed.notify_all()

    def latest(self) -> Versioned:
        """The newest version and its parameters."""
        with self._changed:
            return self._newest[-1]

    def held(self) -> list[Versioned]:
        """What the server holds, the newest last."""
        with self._changed:
            return list(self._newest)

    def at(self, version: int) -> Versioned:
        """The parameters of this very version, waiting for them.

        Raises:
          QueueClosed: the server is or was closed meanwhile.
          ValueError: the version is older than those that are held.
        """
        with self._changed:
            while not self._closed and self._newest[-1].version < version:
                self._changed.wait(SLICE_SECONDS)
            if self._closed:
                raise QueueClosed
            for held in self._newest:
                if held.version == version:
                    return held
            held_versions = [held.version for held in self._newest]
            raise ValueError(f"version {version} was asked for; there are {held_versions}")

    def close(self) -> None:
        """Wakes everyone who waits for a version; may be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
