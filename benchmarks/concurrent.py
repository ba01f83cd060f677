"""Agent-steps a second of the concurrent simulator, beside numpy and beside its arithmetic."""

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import numpy_chain
from expedition.environments import bipolar_chain
from expedition.runtime import simulate
from expedition.runtime.record import provenance, write_json
from experiments.figure2 import ALGORITHMS, BIPOLAR, make_agent
from experiments.sweep import use_all_cores

AGENTS = 100
WORLDS = 128
WINDOWS = 5


def measure() -> list[dict[str, Any]]:
    """A row an algorithm: the bipolar chain with 100 agents."""
    return [_row(algorithm) for algorithm in ALGORITHMS]


def bipolar_run(algorithm: str, agents: int, worlds: int) -> tuple[Any, jax.Array]:
    """`run(keys)`, the steps of the bipolar chain's agents in worlds shared among the cores, and
    its keys: a whole number of worlds a core, at least one."""
    problem = bipolar_chain()
    agent = make_agent(algorithm, problem, BIPOLAR, agents)
    run = jax.pmap(
        lambda keys: (
            simulate(agent, problem, keys, num_agents=agents, horizon=BIPOLAR.horizon).steps
        )
    )
    cores = jax.local_device_count()
    shape = cores, max(1, worlds // cores)
    return run, jax.random.split(jax.random.key(0), shape)


def _row(algorithm: str) -> dict[str, Any]:
    run, keys = bipolar_run(algorithm, AGENTS, WORLDS)
    jax.block_until_ready(run(keys))
    ours, theirs = [], []
    for window in range(WINDOWS):  # in turn, so that the machine's drift hits both
        ours.append(_rate(lambda: int(np.asarray(run(keys)).sum())))
        theirs.append(_rate(partial(_numpy_steps, algorithm, window)))
    sweeps = {"seed_lsvi": BIPOLAR.lsvi_horizon, "seed_td": BIPOLAR.td_steps}
    rate = statistics.median(ours)
    # A sweep makes a maximum, a look-up, two products and a sum for each of the 100 cells.
    operations = rate * sweeps.get(algorithm, BIPOLAR.sweeps) * 100 * 5
    return {
        "algorithm": algorithm,
        "agent-steps/s": rate,
        "spread": max(ours) - min(ours),
        "numpy": statistics.median(theirs),
        "times numpy": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "Gflop/s in sweeps": operations / 1e9,
    }


def _numpy_steps(algorithm: str, window: int) -> int:
    rng = np.random.default_rng(window)
    return numpy_chain.simulate(algorithm, AGENTS, BIPOLAR, rng)[1]


def _rate(steps: Any) -> float:
    start = time.perf_counter()
    count = steps()
    return count / (time.perf_counter() - start)


def limit() -> tuple[float, float]:
    """The machine's own rate in Gflop/s, by the clock and by the cores' time: a product of matrices
    that fit the cache, all cores."""
    size, calls = 512, 50
    multiply = jax.jit(lambda x: x @ x)
    x = jax.numpy.ones((size, size))
    multiply(x).block_until_ready()
    rates = []
    for _ in range(WINDOWS):
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            result = multiply(x)
        result.block_until_ready()
        operations = 2 * size**3 * calls / 1e9
        by_clock = operations / (time.perf_counter() - start)
        rates.append((by_clock, operations / (time.process_time() - cpu)))
    by_clock, by_cores = np.median(rates, axis=0).tolist()
    return by_clock, by_cores


def main(out: Path = Path("runs/benchmark_concurrent.json")) -> None:
    """Measures on all cores; figures are medians of 5 windows, spread is largest less smallest.

    Args:
      out: the JSON file to write.
    """
    use_all_cores()
    rows = measure()
    table = Table(*rows[0], title="concurrent simulator, bipolar chain, K = 100")
    for row in rows:
        table.add_row(*(x if isinstance(x, str) else f"{x:,.3g}" for x in row.values()))
    console = Console(width=120)
    console.print(table)
    matrix, _ = limit()
    console.print(f"the machine multiplies matrices at {matrix:.0f} Gflop/s")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"figures": rows, "matrix_gflops": matrix, **provenance()})
    console.print(f"written to {out}")


if __name__ == "__main__":
    tyro.cli(main)
