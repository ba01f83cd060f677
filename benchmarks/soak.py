"""Long runs whose memory, threads and queue must not grow: `python -m benchmarks.soak`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import tyro

from expedition.environments import Swingup, SwingupBatch
from expedition.runtime import (
    AXIS,
    CheckpointConfig,
    Checkpoints,
    RuntimeConfig,
    give_large_arrays_back,
    train,
)
from experiments.impala import make_agent, preset
from experiments.job import make_environment
from experiments.swingup_agents import Constants, constants_of
from experiments.swingup_agents import make_agent as make_seed_td

Algorithm = Literal["impala", "seed_td"]
WARM_UP = 0.25  # part of the time that is not looked at
AGENTS, TURNS = 100, 2


@dataclass(frozen=True)
class Settings:
    """Settings of the soak."""

    minutes: float = 30.0
    """Length of each run."""
    algorithms: tuple[Algorithm, ...] = get_args(Algorithm)
    """Which to run, one after the other."""
    checkpoint_updates: int = 500
    """Updates between two checkpoints: with few, what each leaves behind shows soon."""
    folder: Path = Path("build/soak")
    """Where checkpoints are written."""


class Gauge:
    """Notes memory, threads and queue with each row of metrics; ends the run in time.

    Args:
      seconds: from the first row, which comes when all is compiled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.notes: list[tuple[float, float, int, float, int]] = []

    def __call__(self, row: Any) -> None:
        """Takes a note."""
        now = time.monotonic()
        threads = len(list(Path("/proc/self/task").iterdir()))  # native ones too
        self.notes.append((now, resident(), threads, row["queue_depth"], row["updates"]))
        if now > self.notes[0][0] + self._seconds:
            raise _EnoughError

    def report(self, name: str, bound: int, checkpoint_updates: int) -> str:
        """What was found after the warm-up."""
        notes = np.array(self.notes)
        is_warm = notes[:, 0] > notes[0, 0] + WARM_UP * self._seconds
        time_, memory, threads, waited, updates = notes[is_warm].T
        hours = (time_ - time_[0]) / 3600
        slope, _ = np.polyfit(hours, memory, 1)
        return (
            f"{name}: {hours[-1] * 60:.0f} minutes after the warm-up, "
            f"{updates[-1] - updates[0]:.0f} updates, "
            f"{(updates[-1] - updates[0]) / checkpoint_updates:.0f} checkpoints, "
            f"{memory.mean():.1f} MB (from {memory[0]:.1f} to {memory[-1]:.1f}), "
            f"slope {slope:+.1f} MB an hour; {threads.min():.0f} to {threads.max():.0f} "
            f"threads; at most {waited.max():.0f} unrolls of {bound} waited"
        )


class _EnoughError(Exception):
    """The time is over."""


def resident() -> float:
    """Megabytes of the process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def run_impala(gauge: Gauge, checkpoints: Checkpoints) -> None:
    """IMPALA on catch."""
    config = preset("catch")
    runtime = RuntimeConfig(total_steps=10**9, log_seconds=1.0)
    actors = [make_environment(config, 32, "actor", i) for i in range(runtime.actors)]
    agent = make_agent(config, actors[0].spec)
    train(agent, actors, runtime, key=jax.random.key(0), log=gauge, checkpoints=checkpoints)


def run_seed_td(gauge: Gauge, checkpoints: Checkpoints) -> None:
    """A team on MuJoCo's cart-pole, whose buffer is full before the warm-up is over."""
    each = AGENTS // TURNS
    constants = constants_of("seed_td", AGENTS, Constants(turns=TURNS, steps=2))
    agent = make_seed_td("seed_td", AGENTS, constants, 5.0, AXIS)
    actors = [SwingupBatch(Swingup(), each, jax.random.key(0)) for _ in range(TURNS)]
    runtime = RuntimeConfig(
        total_steps=10**9,
        unroll_length=1,
        batch_size=each,
        actors=TURNS,
        environments_per_actor=each,
    )
    train(agent, actors, runtime, key=jax.random.key(0), log=gauge, checkpoints=checkpoints)


def main(settings: Settings) -> None:
    """Runs, and prints a line for each algorithm."""
    give_large_arrays_back()  # as the commands do
    runs = {"impala": run_impala, "seed_td": run_seed_td}
    for name in settings.algorithms:
        gauge = Gauge(60 * settings.minutes)
        config = CheckpointConfig(settings.checkpoint_updates)
        checkpoints = Checkpoints(settings.folder / f"{name}-{time.time():.0f}", config)
        try:
            runs[name](gauge, checkpoints)
        except _EnoughError:
            bound = RuntimeConfig().queue_capacity
            print(gauge.report(name, bound, settings.checkpoint_updates), flush=True)
        checkpoints.close()


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
