"""The newest parameters, for whoever asks."""

import threading
from typing import Any, NamedTuple


class Versioned(NamedTuple):
    """Parameters, and the number of updates that made them."""

    version: int
    params: Any


class ParameterServer:
    """Holds the newest parameters; the learner publishes, actors take.

    What is published must stay valid: never the arrays that the learner donates.
    """

    def __init__(self, params: Any) -> None:
        self._newest = Versioned(0, params)
        self._lock = threading.Lock()

    def publish(self, version: int, params: Any) -> None:
        """Replaces the parameters.

        Raises:
          ValueError: the version is not newer than the published one.
        """
        with self._lock:
            if version <= self._newest.version:
                raise ValueError(
                    f"version {version} was published after {self._newest.version}; "
                    "expected a newer one"
                )
            self._newest = Versioned(version, params)

    def latest(self) -> Versioned:
        """The newest version and its parameters."""
        with self._lock:
            return self._newest
