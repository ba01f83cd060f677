"""Kills a run again and again, goes on with it each time, and compares its end with an unbroken
run's: `python -m benchmarks.preemption --kills 30`.

Half of the kills are a SIGTERM, half a SIGKILL. Two of four come while a checkpoint is written, the
others at moments drawn from all of a process's life: import, compilation, training. Two more come
in the evaluation.
"""

import importlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from expedition.runtime import saved_updates

Algorithm = Literal["impala", "seed_td"]

RUN = [
    *("--environment", "catch", "--hidden", "8", "--deterministic", "--checkpoint-updates", "10"),
    *("--log-seconds", "0.1", "--evaluation-episodes", "4"),
]
ROWS = {"impala": 640, "seed_td": 40}  # of an update
GRACE = 20.0  # s in which a process must end after SIGTERM
PATIENCE = 600.0  # s until a process that is to be killed in a save or in the evaluation is there


@dataclass(frozen=True)
class Settings:
    """Settings of the test."""

    algorithm: Algorithm = "impala"
    """Whose run it is."""
    kills: int = 30
    """How often the run is killed."""
    longest: float = 15.0
    """Seconds that a process lives at most before it is killed, but for those in a save."""
    updates: int = 1563
    """Updates of the run."""
    seed: int = 0
    """Names the moments."""


def main(settings: Settings) -> None:
    """Prints what it found; exits with 1 if anything was lost."""
    with tempfile.TemporaryDirectory() as folder:
        found = survive(settings, Path(folder))
    for line in found.lines:
        print(line)
    sys.exit(0 if found.is_equal else 1)


@dataclass(frozen=True)
class Found:
    """What came of it."""

    is_equal: bool  # to the unbroken run, bit for bit, and all ended in time
    updates: list[int]  # saved after each kill
    lines: list[str]


def survive(settings: Settings, out: Path) -> Found:
    """Kills a run and goes on with it until it has ended; compares it with an unbroken one."""
    rng = random.Random(settings.seed)
    folder, ends, lines = out / "broken", [], []
    updates: list[int] = []
    for kill in range(settings.kills + 2):
        number = (signal.SIGKILL, signal.SIGTERM)[kill % 2]
        process, begun = start(settings, out, folder.name), time.time()
        if kill >= settings.kills:
            is_there = partial(is_evaluating, folder, begun)
            when = wait(process, PATIENCE, "in the evaluation", is_there)
        elif kill % 4 < 2:
            when = wait(process, PATIENCE, "in a save", partial(is_saving, folder, begun))
        else:
            when = wait(process, rng.uniform(0, settings.longest))
        is_alive = process.poll() is None
        process.send_signal(number)  # does nothing if it has ended
        sent = time.monotonic()
        process.wait(timeout=60)
        if number is signal.SIGTERM:
            ends.append(time.monotonic() - sent)
            is_running = "actors on" in (out / f"{folder.name}.log").read_text()  # not importing
            if ends[-1] > GRACE or (is_running and process.returncode != 0):
                code, said = process.returncode, (out / f"{folder.name}.log").read_text()
                lines.append(f"SIGTERM ended it after {ends[-1]:.1f} s, exit code {code}: {said}")
                return Found(False, updates, lines)
        updates.append(saved_updates(folder / "checkpoints"))
        lines.append(
            f"kill {kill + 1}: {number.name} {when}{'' if is_alive else ', when it had ended'}, "
            f"exit code {process.returncode}, saved {updates[-1]} updates"
        )
        if updates[-1] < max(updates):
            lines.append("updates were lost")
            return Found(False, updates, lines)
    for name in (folder.name, "whole"):
        if start(settings, out, name).wait() != 0:
            said = (out / f"{name}.log").read_text()
            return Found(False, updates, [*lines, f"{name} did not end well: {said}"])
    is_equal = equal(settings.algorithm, folder, out / "whole")
    if ends:
        median, most = statistics.median(ends), max(ends)
        lines.append(f"processes end {median:.1f} s after SIGTERM (median), {most:.1f} s at most")
    lines.append(f"the end is {'bit for bit' if is_equal else 'NOT'} that of an unbroken run")
    return Found(is_equal, updates, lines)


def start(settings: Settings, out: Path, name: str) -> subprocess.Popen[bytes]:
    """The command of the run, or that to go on with it."""
    how = ["--resume", str(out / name)]
    if not (out / name).exists():
        steps = settings.updates * ROWS[settings.algorithm]
        how = [*RUN, "--total-steps", str(steps), "--out", str(out), "--name", name]
    command = [sys.executable, "-m", f"experiments.{settings.algorithm}", *how]
    with (out / f"{name}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def wait(
    process: subprocess.Popen[bytes],
    seconds: float,
    where: str = "",
    is_there: Callable[[], bool] = lambda: False,
) -> str:
    """Until the process is there, has ended, or the time is over; says which."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds and process.poll() is None:
        if is_there():
            return where
        time.sleep(0.001)
    return f"after {time.monotonic() - begun:.1f} s"


def is_saving(folder: Path, begun: float) -> bool:
    """Whether a checkpoint is being written; it has another name until it is whole."""
    return any(is_newer(path, begun) for path in (folder / "checkpoints").glob("*tmp*"))


def is_evaluating(folder: Path, begun: float) -> bool:
    """Whether the final parameters were written since a time."""
    return is_newer(folder / "params", begun)


def is_newer(path: Path, begun: float) -> bool:
    """Whether something is there that was written since a time."""
    try:
        return path.stat().st_mtime > begun
    except FileNotFoundError:
        return False


def equal(algorithm: Algorithm, one: Path, other: Path) -> bool:
    """Whether two runs' final parameters are equal."""
    import jax

    load = importlib.import_module(f"experiments.{algorithm}").load
    leaves = (jax.tree.leaves(load(folder).params) for folder in (one, other))
    return all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
