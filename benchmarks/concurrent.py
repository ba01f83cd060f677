"""Agent-steps a second of the concurrent simulator, beside numpy and beside its arithmetic."""

import statistics
import time
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks import numpy_chain
from expedition.environments import bipolar_chain
from expedition.runtime import simulate
from experiments.figure2 import ALGORITHMS, BIPOLAR, make_agent

AGENTS = 100
WORLDS = 128
WINDOWS = 5


def measure() -> list[dict[str, Any]]:
    """A row an algorithm: the bipolar chain with 100 agents."""
    return [_row(algorithm) for algorithm in ALGORITHMS]


def _row(algorithm: str) -> dict[str, Any]:
    problem = bipolar_chain()
    agent = make_agent(algorithm, problem, BIPOLAR, AGENTS)
    run = jax.pmap(
        lambda keys: (
            simulate(agent, problem, keys, num_agents=AGENTS, horizon=BIPOLAR.horizon).steps
        )
    )
    devices = jax.local_device_count()
    keys = jax.random.split(jax.random.key(0), WORLDS).reshape(devices, -1)
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


def limit() -> float:
    """The machine's own rate in Gflop/s: a product of matrices that fit the cache, all cores."""
    size, calls = 512, 50
    multiply = jax.jit(lambda x: x @ x)
    x = jax.numpy.ones((size, size))
    multiply(x).block_until_ready()
    rates = []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(calls):
            result = multiply(x)
        result.block_until_ready()
        rates.append(2 * size**3 * calls / (time.perf_counter() - start) / 1e9)
    return statistics.median(rates)
