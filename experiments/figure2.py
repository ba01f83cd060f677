"""Figure 2: regret per agent on the two chains, five algorithms: `python -m experiments.figure2`.

Reproduces figures 2c and 2d of Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated
Exploration in Concurrent Reinforcement Learning, https://arxiv.org/abs/1805.08948. Writes
`bipolar_chain.csv` and `parallel_chains.csv` with a picture of each, and of their slopes.
"""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from expedition.agents import Agent, TabularConfig, linear_seed_td, seed_lsvi, tabular
from expedition.environments import GraphProblem, bipolar_chain, parallel_chains
from expedition.exploration import (
    RegressionConfig,
    graph_beliefs,
    one_hot_regression,
    value_iteration,
)
from expedition.runtime import named_key, simulate

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import plots, regret_plots
from experiments.report import Reporter
from experiments.sweep import Measure, Precision, Table, command, fill, open_folder

Algorithm = Literal[
    "concurrent_ucrl", "seed_sampling", "seed_lsvi", "seed_td", "thompson_resampling"
]
ALGORITHMS = get_args(Algorithm)


@dataclass(frozen=True)
class Constants:
    """What the paper leaves open; docs/figures.md says how each was chosen."""

    horizon: float
    """Time after which nobody acts; clocks tick once a unit of time on average."""
    sweeps: int
    """Sweeps of value iteration in a tabular agent's hypothesis: the graph's longest way."""
    lsvi_horizon: int
    """Planning horizon H of seed LSVI."""
    td_steps: int
    """Gradient steps N of seed TD before each action."""
    td_learning_rate: float
    """Step size alpha of seed TD."""
    prior_variance: float
    """Variance lambda of the prior of seed LSVI's and seed TD's weights."""
    noise_variance: float
    """Variance v of the seeds' noise z."""
    discount: float = 1.0
    """Discount gamma."""
    beta: float = 2.0
    """Optimism of concurrent UCRL in standard deviations."""

    def __post_init__(self) -> None:
        if self.horizon <= 0 or self.beta < 0:
            raise ValueError(
                f"horizon is {self.horizon} and beta {self.beta}; expected a positive number, and "
                "one that is not negative"
            )
        _ = self.model  # checks the rest

    @property
    def model(self) -> RegressionConfig:
        """What seed LSVI's and seed TD's regressions assume."""
        return RegressionConfig(
            noise_variance=self.noise_variance,
            prior_variance=self.prior_variance,
            discount=self.discount,
        )


BIPOLAR = Constants(
    horizon=90,
    sweeps=50,
    lsvi_horizon=44,
    td_steps=12,
    td_learning_rate=0.5,
    prior_variance=0.1,
    noise_variance=0.001,
)
PARALLEL = Constants(
    horizon=100,
    sweeps=4,
    lsvi_horizon=4,
    td_steps=12,
    td_learning_rate=0.5,
    prior_variance=0.1,
    noise_variance=0.001,
)


@dataclass(frozen=True)
class Config:
    """Settings of figure 2."""

    out: Path | None = None
    """Folder for tables and pictures; a sweep that was stopped there goes on.
    Default: runs/figure2, or runs/figure2-quick."""
    seed: int = 0
    """Fixes every random draw."""
    quick: bool = False
    """Three numbers of agents and 64 worlds each: a minute, and rough."""
    algorithms: tuple[Algorithm, ...] = ALGORITHMS
    """Which algorithms to measure."""
    precision: Precision = field(default_factory=Precision)
    """How well each mean must be known."""
    bipolar: Constants = BIPOLAR
    """Open constants on the bipolar chain."""
    parallel: Constants = PARALLEL
    """Open constants on the parallel chains."""

    def __post_init__(self) -> None:
        if not self.algorithms:
            raise ValueError("algorithms is empty; expected at least one")


AGENTS = {
    "bipolar_chain": (1, 2, 5, 7, 10, 25, 50, 75, 100),
    "parallel_chains": (10, 25, 50, 75, 100, 250, 500, 750, 1000, 1500, 2000),
}
QUICK_AGENTS = {"bipolar_chain": (1, 10, 100), "parallel_chains": (10, 100, 500)}
QUICK_PRECISION = Precision(at_least=64, at_most=64)


LEGEND = (
    "±: one standard error of ours. Not met: off by more than 10 % and two of these. σ: standard\n"
    "deviations of ours, of 100 worlds, and of the digitisation together (docs/figures.md)"
)


def make_agent(
    algorithm: str, problem: GraphProblem, constants: Constants, num_agents: int
) -> Agent:
    """One of the five algorithms for K agents."""
    if algorithm in ("seed_lsvi", "seed_td"):
        states, actions = problem.graph.successor.shape
        regression = one_hot_regression(constants.model, states, actions, num_agents)
        if algorithm == "seed_lsvi":
            return seed_lsvi(regression, horizon=constants.lsvi_horizon)
        return linear_seed_td(
            regression, steps=constants.td_steps, learning_rate=constants.td_learning_rate
        )
    config = TabularConfig(strategy=algorithm, sweeps=constants.sweeps, beta=constants.beta)
    return tabular(config, graph_beliefs(problem.graph), num_agents)


def mean_regret(
    agent: Agent, problem: GraphProblem, num_agents: int, horizon: float, keys: jax.Array
) -> jax.Array:
    """`[W]`: what the best policy earns in a world, less what its agents earned on average."""
    outcome = simulate(agent, problem, keys, num_agents=num_agents, horizon=horizon)
    longest = problem.graph.successor.shape[0]

    def optimum(world: jax.Array) -> jax.Array:
        q = value_iteration(problem.graph.mdp(world), sweeps=longest)
        return q[problem.start].max()

    return jax.vmap(optimum)(outcome.world) - jnp.mean(outcome.returns, axis=1)


def _cells(name: str, agents: tuple[int, ...], config: Config) -> list[tuple[str, int, Measure]]:
    problem, constants = {
        "bipolar_chain": (bipolar_chain(), config.bipolar),
        "parallel_chains": (parallel_chains(), config.parallel),
    }[name]

    def measure(algorithm: str, k: int) -> Measure:
        agent = make_agent(algorithm, problem, constants, k)
        return partial(mean_regret, agent, problem, k, constants.horizon)

    return [
        (algorithm, k, measure(algorithm, k)) for k in agents for algorithm in config.algorithms
    ]


def run(config: Config) -> None:
    """Measures what is missing, then draws."""
    plots.require()
    agents = QUICK_AGENTS if config.quick else AGENTS
    sweeps = {name: _cells(name, agents[name], config) for name in agents}
    folder = config.out or Path("runs/figure2-quick" if config.quick else "runs/figure2")
    open_folder(folder, config, free=("algorithms",))
    with Reporter(cells=sum(map(len, sweeps.values()))) as report:
        for name, cells in sweeps.items():
            fill(
                Table(folder / f"{name}.csv", "mean_regret"),
                cells,
                title=name,
                key=named_key(jax.random.key(config.seed), name),
                precision=QUICK_PRECISION if config.quick else config.precision,
                worlds_per_batch=lambda k: 64 if config.quick else max(128, min(1024, 4096 // k)),
                report=report,
            )
    regret_plots.draw(folder)
    print(regret_plots.comparison(folder))
    print(LEGEND)
    print(f"results: {folder}")


def main() -> None:
    """Parses the flags, uses all cores, runs."""
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
