"""What happened since the last row of metrics, and since the start."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from expedition.runtime.metrics import Row
from expedition.runtime.pool import ActorPool
from expedition.runtime.prefetch import Batch
from expedition.runtime.timing import TimeSplit, shares
from expedition.runtime.unroll import Episode


class Window:
    """Counts, and turns what it counted into a row of metrics.

    Four counters: `env_steps` (actions that actors took), `env_frames` (simulator frames these
    lasted), `learner_steps` (actions learnt from) and `updates` (gradient steps). Rows that only
    restart an episode count in none of them. Rates begin after the first update, and so leave
    out the compilation.

    Args:
      pool: whose actors are counted.
      waiting: how many unrolls wait for the learner.
    """

    def __init__(self, pool: ActorPool, waiting: Callable[[], int]) -> None:
        self._pool = pool
        self._waiting = waiting
        self.updates = 0
        self.learner_steps = 0
        self.time = TimeSplit("wait", "update", "publish", "save", "log")
        self._seconds_before = 0.0  # of the run that goes on
        self._start = time.perf_counter()
        self._first: tuple[float, int] | None = None  # time and learner_steps at the first update
        self._last = (0.0, 0)  # and at the last
        self._reset()

    def _mark(self) -> None:
        """Begins to measure rates and times anew."""
        self._since = time.perf_counter()
        self._counters = self.counters()
        self._actor_times = [actor.time.seconds() for actor in self._pool.actors]
        self._learner_time = self.time.seconds()

    def _reset(self) -> None:
        self._mark()
        self._lags: list[int] = []
        self._episodes: list[Episode] = []
        self._metrics: dict[str, Any] = {}
        self.updates_since_log = 0

    def counters(self) -> dict[str, int]:
        """The four counters."""
        return {
            "env_steps": sum(actor.env_steps for actor in self._pool.actors),
            "env_frames": sum(actor.env_frames for actor in self._pool.actors),
            "learner_steps": self.learner_steps,
            "updates": self.updates,
        }

    def add(self, batch: Batch, metrics: dict[str, Any]) -> None:
        """Takes note of an update."""
        self._lags += [self.updates - version for version in batch.versions]
        self._episodes += batch.episodes
        self._metrics = metrics
        self.learner_steps += batch.transitions
        self.updates += 1
        self.updates_since_log += 1
        now = (time.perf_counter(), self.learner_steps)
        if self._first is None:
            self._mark()
            self._first = now
        self._last = now

    def get_state(self) -> dict[str, float]:
        """What goes on in a run that is taken up again; the actors know their own counts."""
        return {
            "updates": self.updates,
            "learner_steps": self.learner_steps,
            "wall_seconds": self._wall_seconds(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Counts on from there."""
        self.updates, self.learner_steps = state["updates"], state["learner_steps"]
        self._seconds_before = state["wall_seconds"]

    def _wall_seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._start

    def seconds(self) -> float:
        """Seconds since the last row, or since the first update."""
        return time.perf_counter() - self._since

    def steps_per_second(self) -> float | None:
        """Steps learnt from, a second, from the first update to the last; None before two."""
        if self._first is None or self._first == self._last:
            return None
        (start, first), (end, last) = self._first, self._last
        return (last - first) / (end - start)

    def close(self) -> Row:
        """The window's row of metrics; starts the next window."""
        seconds, counters = self.seconds(), self.counters()
        rates = {
            f"{name}_per_second": (counters[name] - self._counters[name]) / seconds
            for name in ("env_steps", "env_frames", "updates")
        }
        actor_times = [actor.time.seconds() for actor in self._pool.actors]
        actor_time = shares(actor_times, self._actor_times)
        learner_time = shares([self.time.seconds()], [self._learner_time])
        row = {
            **counters,
            "window_updates": self.updates_since_log,
            "wall_seconds": self._wall_seconds(),
            **rates,
            **_spread("return", [episode.total_reward for episode in self._episodes]),
            **_spread("training_return", [episode.training_return for episode in self._episodes]),
            **_spread("episode_length", [episode.length for episode in self._episodes]),
            "episodes": len(self._episodes),
            **_spread("policy_lag", self._lags),
            "queue_depth": self._waiting(),
            "env_restarts": self._pool.restarts,
            **{name: float(value) for name, value in self._metrics.items()},
            **{f"actor_time_{part}": share for part, share in actor_time.items()},
            **{f"learner_time_{part}": share for part, share in learner_time.items()},
        }
        self._reset()
        return row


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean and extremes, NaN where there is nothing to measure."""
    measures: dict[str, Callable[..., Any]] = {"mean": np.mean, "min": np.min, "max": np.max}
    return {
        f"{name}_{measure}": float(function(values)) if len(values) else math.nan
        for measure, function in measures.items()
    }
