"""What devices send each other in an update: `python -m benchmarks.scaling`.

Read from the compiled program, for 1, 2, 4 and 8 CPU devices, so no accelerator is needed and
nothing is timed: the bytes that each sends, if it passes its part around a ring as collectives do.
"""

import math
import re
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.programs import NO_CODE
from expedition.agents import Agent, ImpalaConfig, SeedEnsembleConfig, impala, seed_ensemble
from expedition.environments import Catch, EnvironmentSpec
from expedition.exploration import Minibatch
from expedition.networks import ActorCritic, MLPTorso, SkipMLP, policy_head
from expedition.runtime import AXIS
from expedition.runtime.unroll import abstract_trajectory
from experiments import scaling_plots

DEVICES = (1, 2, 4, 8)
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather)(?:-start)?\(")
SPEC = Catch().spec


def sent(program: str, devices: int) -> dict[str, int]:
    """Bytes that a device sends, for each kind of collective of a program's text.

    Of an array of N bytes that all are to have, (D - 1) / D N when it is gathered from its parts,
    and twice that when a sum must be made first.
    """
    share = (devices - 1) / devices
    found = {"all-reduce": 0.0, "all-gather": 0.0}
    for shapes, kind in COLLECTIVE.findall(program):
        size = sum(
            SIZES[kind] * math.prod(map(int, filter(None, dimensions.split(","))))
            for kind, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        )
        found[kind] += share * size * (2 if kind == "all-reduce" else 1)
    return {kind: round(size) for kind, size in found.items()}


def update(agent: Agent, spec: EnvironmentSpec, devices: int, batch: int, length: int) -> str:
    """The text of the update of a batch that D devices share."""
    settings: dict[str, Any] = {"axis_name": AXIS, "devices": jax.devices()[:devices]}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), devices))
    state = jax.eval_shape(jax.pmap(agent.init, **settings), keys)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state.params)
    one = abstract_trajectory(agent, params, spec, batch // devices, length)
    shards = jax.tree.map(lambda x: jax.ShapeDtypeStruct((devices, *x.shape), x.dtype), one)
    text: str = jax.pmap(agent.update, **settings).lower(state, shards).compile(NO_CODE).as_text()
    return text


def agents() -> dict[str, tuple[Agent, int]]:
    """Those that are compared, and the steps of their unrolls."""
    network = ActorCritic(MLPTorso((64, 64)), policy_head(SPEC.action))
    found = {"IMPALA": (impala(ImpalaConfig(), SPEC, network, num_updates=9, axis_name=AXIS), 20)}
    for steps in (1, 8):
        config = SeedEnsembleConfig(
            num_models=32, steps=steps, capacity=1000, minibatch=Minibatch(size=16)
        )
        agent = seed_ensemble(config, SPEC, SkipMLP(3, (50, 50)), axis_name=AXIS)
        found[f"seed TD, 32 models, {steps} gradient steps"] = agent, 5
    return found


def measure() -> list[dict[str, Any]]:
    """A row for each agent and number of devices."""
    return [
        {"agent": name, "devices": devices} | sent(update(agent, SPEC, devices, 32, steps), devices)
        for name, (agent, steps) in agents().items()
        for devices in DEVICES
    ]


def main(out: Path = Path("runs/scaling")) -> None:
    """Compiles, prints, and writes a table and its picture.

    Args:
      out: the folder for `scaling.csv` and `scaling.png`.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    rows = measure()
    table = Table(*rows[0], title="bytes that each device sends in an update")
    for row in rows:
        table.add_row(*(x if isinstance(x, str) else f"{x:,}" for x in row.values()))
    Console(width=100).print(table)
    scaling_plots.write(out / scaling_plots.DEVICES, rows)
    print("\n".join(map(str, scaling_plots.draw(out))))


if __name__ == "__main__":
    tyro.cli(main)
