"""Long runs whose memory, threads and queue must not grow: `python -m benchmarks.soak`.

The commands themselves run, with all that they log and save, in processes of their own, all at the
same time; they are looked at from outside.
"""

import csv
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import tyro

from expedition.runtime import saved_updates

Algorithm = Literal["impala", "seed_td"]
WARM_UP = 0.25  # part of the time that is not looked at
RUNS = {
    "impala": ("--environment", "catch"),
    # The buffer is full before the warm-up is over, and is copied for each checkpoint.
    "seed_td": ("--environment", "swingup", "--agent.capacity", "20000", "--agent.steps", "2"),
}
SAVED_EVERY = {"impala": 500, "seed_td": 50}  # updates


@dataclass(frozen=True)
class Settings:
    """Settings of the soak."""

    minutes: float = 30.0
    """Length of each run, from its first row of metrics."""
    algorithms: tuple[Algorithm, ...] = get_args(Algorithm)
    """Algorithms to watch, a run of each."""
    seconds: float = 1.0
    """Seconds between two looks."""


class Look(NamedTuple):
    """What is seen of a process."""

    hour: float
    megabytes: float  # its own, in memory or swapped out; not what is of files
    threads: float  # native ones too
    updates: float
    queue_depth: float
    checkpoints: float  # written until now


class Soak:
    """A command under way.

    Args:
      algorithm: whose.
      out: folder for the run and for what it says.
    """

    def __init__(self, algorithm: Algorithm, out: Path) -> None:
        self.algorithm = algorithm
        self._folder = out / algorithm
        self._said = (out / f"{algorithm}.log").open("w+")
        self._looks: list[Look] = []
        flags = (
            *("--checkpoint-updates", str(SAVED_EVERY[algorithm])),
            *("--total-steps", str(10**12), "--out", str(out), "--name", algorithm),
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{algorithm}", *RUNS[algorithm], *flags],
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def look(self) -> float:
        """Looks at the process; seconds since its first row of metrics.

        Raises:
          RuntimeError: it has ended.
        """
        if self._process.poll() is not None:
            self._said.seek(0)
            raise RuntimeError(f"{self.algorithm} has ended: {self._said.read()}")
        metrics = self._folder / "metrics.csv"
        if not metrics.exists():
            return 0.0
        header, *_, row = [*csv.reader(metrics.read_text().splitlines())]
        if row == header:
            return 0.0
        seen = dict(zip(header, row, strict=False))  # what is written of it
        process = Path("/proc") / str(self._process.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        look = Look(
            time.monotonic() / 3600,
            sum(int(status[name].split()[0]) for name in ("RssAnon", "VmSwap")) * 1024 / 1e6,
            int(status["Threads"]),
            float(seen.get("updates") or 0),
            float(seen.get("queue_depth") or 0),
            saved_updates(self._folder / "checkpoints") / SAVED_EVERY[self.algorithm],
        )
        self._looks.append(look)
        return 3600 * (look.hour - self._looks[0].hour)

    def end(self) -> None:
        """Ends it, if it has not."""
        self._process.terminate()
        self._process.wait()

    def report(self) -> str:
        """What was found after the warm-up."""
        hour, memory, threads, updates, depth, saved = np.array(self._looks).T
        warm = hour > hour[0] + WARM_UP * (hour[-1] - hour[0])
        hour, memory, threads = hour[warm], memory[warm], threads[warm]
        more, grown = (np.polyfit(hour, x, 1)[0] for x in (memory, threads))
        return (
            f"{self.algorithm}: {60 * (hour[-1] - hour[0]):.0f} minutes after the warm-up, "
            f"{np.ptp(updates[warm]):.0f} updates, {np.ptp(saved[warm]):.0f} checkpoints; "
            f"{memory.mean():.1f} MB (from {memory[0]:.1f} to {memory[-1]:.1f}), slope {more:+.1f} "
            f"MB an hour; {threads.min():.0f} to {threads.max():.0f} threads, slope {grown:+.1f} "
            f"an hour; at most {depth.max():.0f} unrolls waited"
        )


def main(settings: Settings) -> None:
    """Runs, and prints a line for each algorithm."""
    with tempfile.TemporaryDirectory() as out, ExitStack() as stack:
        soaks = [Soak(algorithm, Path(out)) for algorithm in settings.algorithms]
        for soak in soaks:
            stack.callback(soak.end)
        while min([soak.look() for soak in soaks]) < 60 * settings.minutes:
            time.sleep(settings.seconds)
        for soak in soaks:
            print(soak.report())


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
