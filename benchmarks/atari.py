"""`python -m benchmarks.atari`: ALE's own vector environment beside EnvPool, on one game."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from expedition.environments import BatchedEnvironment, make
from expedition.runtime.record import provenance, write_json


def measure(
    names: tuple[str, ...], environments: int, windows: int, seconds: float
) -> list[dict[str, Any]]:
    """Steps each with random actions, in windows taken in turn, so that drift hits all of them."""
    batches = {name: make(name, environments, jax.random.key(0)) for name in names}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for batch in batches.values():
        batch.reset()
        _window(batch, seconds)  # beyond the first episodes' common start
    for _ in range(windows):
        for name, batch in batches.items():
            found[name].append(_window(batch, seconds))
    for batch in batches.values():
        batch.close()
    rows = []
    for name in names:
        rates, costs = zip(*found[name], strict=True)
        rows.append(
            {
                "environment": name,
                "steps_per_second": statistics.median(rates),
                "spread": max(rates) - min(rates),
                "cpu_microseconds": statistics.median(costs),
                "cpu_spread": max(costs) - min(costs),
            }
        )
    return rows


def _window(batch: BatchedEnvironment, seconds: float) -> tuple[float, float]:
    """Actions a second, of all environments together, and microseconds of all cores an action."""
    size = (16, batch.num_environments)
    actions = np.random.default_rng(0).integers(batch.spec.action.num_values, size=size)
    start, start_cpu, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        for action in actions:
            batch.step(action)
        steps += actions.size
    cpu = time.process_time() - start_cpu
    return steps / (time.perf_counter() - start), 1e6 * cpu / steps


def main(
    names: tuple[str, ...] = ("atari:pong", "envpool:Pong-v5"),
    environments: int = 32,
    windows: int = 7,
    seconds: float = 2.0,
    out: Path = Path("runs/atari_benchmark.json"),
) -> None:
    """Each library uses a thread a core; an action lasts 4 frames.

    Args:
      names: what is stepped.
      environments: copies in a batch.
      windows: of which the median is shown.
      seconds: a window's, at least.
      out: the JSON file to write.
    """
    rows = measure(names, environments, windows, seconds)
    for row in rows:
        print(
            f"{row['environment']:<20} {row['steps_per_second']:>8,.0f} actions/s "
            f"(spread {row['spread']:,.0f}), {row['cpu_microseconds']:.0f} us of CPU each "
            f"(spread {row['cpu_spread']:.0f})"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {"figures": rows, "cores": len(os.sched_getaffinity(0))}
    write_json(out, {**figures, **provenance()})


if __name__ == "__main__":
    tyro.cli(main)
