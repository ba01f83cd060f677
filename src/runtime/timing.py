"""Where a loop's time goes."""

import time


class TimeSplit:
    """Splits a loop's whole time among named parts; every moment belongs to exactly one.

    Only the loop's own thread calls `lap`; any thread may read.
    """

    def __init__(self, *parts: str) -> None:
        self._seconds = dict.fromkeys(parts, 0.0)
        self._mark = time.perf_counter()

    def lap(self, part: str) -> None:
        """Gives the time since the last lap to the part."""
        now = time.perf_counter()
        self._seconds[part] += now - self._mark
        self._mark = now

    def seconds(self) -> dict[str, float]:
        """Seconds that each part has taken so far."""
        return dict(self._seconds)


def shares(now: list[dict[str, float]], before: list[dict[str, float]]) -> dict[str, float]:
    """The share of each part between two readings of some loops, in [0, 1].

    They sum to 1, or are all 0 where no lap ended between the readings.
    """
    spent = {
        part: sum(n[part] - b[part] for n, b in zip(now, before, strict=True)) for part in now[0]
    }
    total = sum(spent.values())
    return {part: seconds / total if total else 0.0 for part, seconds in spent.items()}
