"""What more actors, and more agents, bring on this machine: `python -m benchmarks.throughput`.

Writes `actors.csv` (steps a second of the whole system against its actor threads) and `agents.csv`
(agent-steps a second of the concurrent simulator against the size of the team), with their
pictures. The windows of all sizes are taken in turn, so that the machine's drift hits all of them.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.actor_learner import system_rows
from benchmarks.concurrent import bipolar_run
from expedition.runtime.record import provenance, write_json
from experiments import scaling_plots
from experiments.impala import preset
from experiments.sweep import use_all_cores

ACTORS = (1, 2, 3, 4, 6, 8)
AGENTS = (1, 3, 10, 30, 100, 300, 1000, 3000)
ALGORITHMS = ("seed_sampling", "seed_lsvi", "seed_td")
TOGETHER = 1024  # agents of all worlds of a call, at least one world a core
Rates = tuple[float, float]  # steps a second, and a second of one core


def in_turn(measures: dict[Any, Callable[[], Rates]], windows: int) -> dict[Any, np.ndarray]:
    """The windows of each, `[windows, 2]`; one before the first, that compiles, does not count."""
    for measure in measures.values():
        measure()
    found: dict[Any, list[Rates]] = {name: [] for name in measures}
    for _ in range(windows):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: np.array(rates) for name, rates in found.items()}


def _row(names: dict[str, Any], rates: np.ndarray) -> dict[str, Any]:
    row = {**names, "cores": len(os.sched_getaffinity(0))}
    for kind, values in zip(("second", "core_second"), rates.T, strict=True):
        row |= {f"per_{kind}": round(np.median(values))}
        row |= {f"per_{kind}_least": round(values.min())}
        row |= {f"per_{kind}_largest": round(values.max())}
    return row


def actors(counts: tuple[int, ...], windows: int) -> list[dict[str, Any]]:
    """The catch preset of IMPALA with A actor threads of 32 environments each, and its learner."""

    def measure(count: int) -> Callable[[], Rates]:
        config = preset("catch")
        runtime = dataclasses.replace(config.runtime, total_steps=10**9, actors=count)
        config = dataclasses.replace(config, runtime=runtime)

        def window() -> Rates:
            first, last = system_rows(config, windows=1)
            steps = last["env_steps"] - first["env_steps"]
            of_cores = last["cpu_seconds"] - first["cpu_seconds"]
            return last["env_steps_per_second"], steps / of_cores

        return window

    found = in_turn({count: measure(count) for count in counts}, windows)
    return [_row({"environment": "catch", "actors": k}, rates) for k, rates in found.items()]


def agents(sizes: tuple[int, ...], windows: int) -> list[dict[str, Any]]:
    """The bipolar chain with K agents a world, in as many worlds as make 1024 agents."""

    def measure(algorithm: str, size: int) -> Callable[[], Rates]:
        run, keys = bipolar_run(algorithm, size, TOGETHER // size)

        def window() -> Rates:
            start, cpu = time.perf_counter(), time.process_time()
            steps = int(np.asarray(run(keys)).sum())
            of_cores = time.process_time() - cpu
            return steps / (time.perf_counter() - start), steps / of_cores

        return window

    cells = [(algorithm, size) for algorithm in ALGORITHMS for size in sizes]
    found = in_turn({cell: measure(*cell) for cell in cells}, windows)
    return [_row({"algorithm": a, "agents": k}, rates) for (a, k), rates in found.items()]


def main(
    windows: int = 5,
    actor_counts: tuple[int, ...] = ACTORS,
    agent_counts: tuple[int, ...] = AGENTS,
    out: Path = Path("runs/scaling"),
) -> None:
    """Measures, and writes both tables and pictures.

    Args:
      windows: of which the median is shown, with the least and the largest.
      actor_counts: actor threads; none: that part is left out.
      agent_counts: agents of a world; none: that part is left out.
      out: the folder to write to.
    """
    use_all_cores()
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)  # each window is a run of its own
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        for name, part, counts in (
            (scaling_plots.ACTORS, actors, actor_counts),
            (scaling_plots.AGENTS, agents, agent_counts),
        ):
            if counts:
                scaling_plots.write(out / name, part(counts, windows))
                where = (out / name).with_suffix(".json")
                write_json(where, {"load": os.getloadavg(), **provenance()})
    print("\n".join(map(str, scaling_plots.draw(out))))


if __name__ == "__main__":
    tyro.cli(main)
