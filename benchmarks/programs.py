"""What the compiler makes of the main programs: `python -m benchmarks.programs`.

Counts, not times: they are the same on an idle and on a busy machine, so the tests compare them
with what was recorded. After a change that is meant, or with another JAX: `--record`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.vtrace import inputs, our_loss, with_gradient
from expedition.agents import (
    Agent,
    ImpalaConfig,
    SeedEnsembleConfig,
    impala,
    seed_ensemble,
    seed_lsvi,
)
from expedition.environments import Catch, EnvironmentSpec, Swingup, bipolar_chain
from expedition.exploration import RegressionConfig, one_hot_regression
from expedition.networks import ActorCritic, MLPTorso, SkipMLP, policy_head
from expedition.runtime import simulation
from expedition.runtime.unroll import abstract_trajectory

RECORD = Path(__file__).parents[1] / "tests" / "programs.json"
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = .*?\b([a-z][a-z-]*)\(", re.M)

# Which instructions there are is settled before code is made of them, which takes most of the time.
NO_CODE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

Counts = dict[str, float]


def instructions(program: jax.stages.Compiled) -> list[str]:
    """The operation of each instruction of the optimised program, fused ones included."""
    return INSTRUCTION.findall(program.as_text())


def counts(program: jax.stages.Compiled) -> Counts:
    """Instructions, loops, floating-point operations, and bytes read and written.

    A loop's body counts once in all of them, however often it runs.
    """
    cost = program.cost_analysis()
    names = instructions(program)
    return {
        "instructions": len(names),
        "loops": names.count("while"),
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"],
    }


def vtrace_gradient(length: int = 20, batch: int = 32) -> jax.stages.Compiled:
    """IMPALA's loss and its gradient in logits and values."""
    return jax.jit(with_gradient(our_loss)).lower(inputs(length, batch)).compile(NO_CODE)


def _update(agent: Agent, spec: EnvironmentSpec, length: int, batch: int) -> jax.stages.Compiled:
    state = jax.eval_shape(agent.init, jax.random.key(0))
    like = abstract_trajectory(agent, state.params, spec, batch, length)
    return jax.jit(agent.update, donate_argnums=0).lower(state, like).compile(NO_CODE)


def impala_update() -> jax.stages.Compiled:
    """One update on catch, T = 20, B = 32."""
    spec = Catch().spec
    network = ActorCritic(MLPTorso((64, 64)), policy_head(spec.action))
    return _update(impala(ImpalaConfig(), spec, network, num_updates=100), spec, 20, 32)


def seed_td_update(models: int = 30) -> jax.stages.Compiled:
    """One update of an ensemble by one step of ten agents."""
    spec = Swingup().spec
    config = SeedEnsembleConfig(num_models=models, capacity=1000)
    return _update(seed_ensemble(config, spec, SkipMLP(3, (50, 50))), spec, 1, 10)


def simulator_instant() -> jax.stages.Compiled:
    """Ten agents of seed LSVI on the bipolar chain, in 8 worlds, until the clocks end."""
    problem, agents = bipolar_chain(vertices=20), 10
    regression = one_hot_regression(RegressionConfig(), 20, 2, agents)
    agent = seed_lsvi(regression, horizon=18)
    parts = simulation(agent, problem, num_agents=agents, horizon=40)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 8))
    return jax.jit(parts.advance).lower(jax.eval_shape(parts.start, keys), 1).compile(NO_CODE)


PROGRAMS: dict[str, Callable[[], jax.stages.Compiled]] = {
    "V-trace loss and gradient": vtrace_gradient,
    "IMPALA update": impala_update,
    "seed TD update": seed_td_update,
    "simulator instant": simulator_instant,
}


def version() -> str:
    """JAX's, as the record has it."""
    return ".".join(jax.__version__.split(".")[:2])


def main(record: bool = False) -> None:
    """Prints the counts.

    Args:
      record: keep them, for this version of JAX, as what the tests expect.
    """
    found = {name: counts(compile_it()) for name, compile_it in PROGRAMS.items()}
    table = Table("program", *found["IMPALA update"], title=f"JAX {version()}, CPU")
    for name, row in found.items():
        table.add_row(name, *(f"{number:,.0f}" for number in row.values()))
    Console(width=100).print(table)
    if record:
        known: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        RECORD.write_text(json.dumps(known | {version(): found}, indent=2, sort_keys=True) + "\n")
        print(f"written to {RECORD}")


if __name__ == "__main__":
    tyro.cli(main)
