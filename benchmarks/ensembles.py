"""Member-updates a second of seed TD, beside bsuite's: `python -m benchmarks.ensembles`.

A member-update is one gradient step of one network of the ensemble on a minibatch of its own. Of
both it is timed with all that comes with it at one step of the environment, deep sea of size 10:
recording what was seen, drawing minibatches, targets with priors and noise, Adam. bsuite's
bootstrapped DQN, which loops over its members in Python, runs its own code in an environment of
its own (`benchmarks/peers.py`).

Beside the rates by the clock there is the time of all cores that a member-update takes, which
hardly depends on what else the machine does.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.concurrent import limit
from expedition.agents import SeedEnsembleConfig, seed_ensemble
from expedition.environments import DeepSea, EnvironmentSpec
from expedition.exploration import Minibatch
from expedition.networks import SkipMLP
from expedition.runtime import AXIS
from expedition.runtime.record import provenance, write_json
from expedition.runtime.unroll import abstract_trajectory
from experiments.sweep import use_all_cores

SPEC: EnvironmentSpec = DeepSea(10).spec
SIZES = (1, 10, 30, 100, 300)
BATCHES = (16, 128)
CAPACITY = 10_000  # transitions that both remember


class Ours:
    """An ensemble of E members.

    With many steps an update they are divided among the cores. With one they stay together, since
    what cores exchange at an update then takes longer than its products, which XLA divides.

    Args:
      members: E.
      batch: data of a gradient step.
      steps: gradient steps an update, each on a minibatch of its own.
    """

    def __init__(self, members: int, batch: int, steps: int = 1) -> None:
        config = SeedEnsembleConfig(
            num_models=members, minibatch=Minibatch(size=batch), steps=steps, capacity=CAPACITY
        )
        cores = jax.local_device_count()
        devices = jax.local_devices()[: cores if steps > 1 and members % cores == 0 else 1]
        agent = seed_ensemble(config, SPEC, SkipMLP(2, (50, 50)), axis_name=AXIS)
        settings: dict[str, Any] = {"axis_name": AXIS, "devices": devices}
        keys = jnp.broadcast_to(jax.random.key(0), len(devices))
        self._state = jax.pmap(agent.init, **settings)(keys)
        params = jax.tree.map(lambda x: x[0], self._state.params)
        like = abstract_trajectory(agent, params, SPEC, 1, 1)
        row = jax.tree.map(lambda x: jnp.ones((len(devices), *x.shape), x.dtype), like)
        program = jax.pmap(agent.update, donate_argnums=0, **settings)
        self._update = program.lower(self._state, row).compile()
        self._row = row
        self._each = members * steps
        # Of one device's program, in which the loop over the steps counts once.
        self.flops = self._update.cost_analysis()["flops"] * len(devices) / members

    def window(self, seconds: float) -> tuple[float, float]:
        """Member-updates a second, and a second of all cores."""
        start, cpu, updates = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            for _ in range(5):
                self._state, metrics = self._update(self._state, self._row)
            jax.block_until_ready(metrics)
            updates += 5 * self._each
        of_cores = time.process_time() - cpu
        return updates / (time.perf_counter() - start), updates / of_cores


def measure(
    windows: int, seconds: float, sizes: tuple[int, ...], batches: tuple[int, ...], steps: int
) -> Iterator[dict[str, Any]]:
    """A row for each size and batch; windows are taken in turn, so that drift hits all alike."""
    for batch in batches:
        for members in sizes:
            with peers.boot_dqn(members, batch) as theirs:
                one, many = Ours(members, batch), Ours(members, batch, steps)
                found = _in_turn((one.window, many.window, theirs), windows, seconds)
            yield {"batch": batch, "E": members} | _row(found, one.flops, f"{steps} steps")


def _in_turn(
    competitors: tuple[Callable[[float], tuple[float, float]], ...], windows: int, seconds: float
) -> np.ndarray:
    """`[windows, competitors, 2]`, by the clock and by the cores' time."""
    for competitor in competitors:
        competitor(seconds / 2)  # beyond what comes only once
    return np.array([[competitor(seconds) for competitor in competitors] for _ in range(windows)])


def _row(found: np.ndarray, flops: float, many: str) -> dict[str, float]:
    row: dict[str, float] = {}
    rates = found[..., 0].T
    for name, of_one in zip(("ours", many, "boot_dqn"), rates, strict=True):
        row |= {f"{name}/s": np.median(of_one), f"{name}, spread": np.ptp(of_one)}
    for name, place in (("ours", 0), (many, 1)):
        by_clock, by_cores = np.median(found[:, place] / found[:, 2], axis=0)
        row |= {f"{name} over boot_dqn": by_clock, f"{name} over boot_dqn, CPU": by_cores}
    of_cores = np.median(found[..., 1], axis=0)
    row |= {"CPU us, ours": 1e6 / of_cores[0], f"CPU us, {many}": 1e6 / of_cores[1]}
    row |= {"CPU us, boot_dqn": 1e6 / of_cores[2], "Mflop": flops / 1e6}
    row |= {"Gflop a CPU s, ours": of_cores[0] * flops / 1e9}
    return {name: float(value) for name, value in row.items()}


def main(
    windows: int = 5,
    seconds: float = 1.0,
    sizes: tuple[int, ...] = SIZES,
    batches: tuple[int, ...] = BATCHES,
    steps: int = 8,
    out: Path = Path("runs/benchmark_ensembles.json"),
) -> None:
    """Measures on all cores; figures are medians of the windows, spread is largest less smallest.

    "ours" makes one gradient step of every member at a step of the environment, as boot_dqn does;
    "8 steps" makes eight (`--steps`), on minibatches of their own.

    Args:
      windows: of which the median is shown.
      seconds: a window's, at least.
      sizes: members E of the ensembles.
      batches: data of a gradient step.
      steps: gradient steps an update of the second of ours; figure 3's agents make 50.
      out: the JSON file to write.
    """
    use_all_cores()
    out.parent.mkdir(parents=True, exist_ok=True)
    console, rows = Console(width=120), []
    for row in measure(windows, seconds, sizes, batches, steps):
        rows.append(row)  # written as they come: with peers and many sizes it takes minutes
        matrix = limit()
        row |= {"product of matrices, Gflop/s": matrix[0], "Gflop a CPU s": matrix[1]}
        write_json(out, {"figures": rows, "load": os.getloadavg(), **provenance()})
        table = Table(
            "what", "figure", title=f"member-updates, E = {row['E']}, {row['batch']} data"
        )
        for name, value in row.items():
            table.add_row(name, f"{value:,.4g}")
        console.print(table)
    console.print(f"written to {out}")


if __name__ == "__main__":
    tyro.cli(main)
