"""Figure 1: what K agents learn together of a tabular cart-pole: `python -m experiments.figure1`.

Reproduces figure 1 of Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1802.01282: K agents act for 30 seconds each and share
what they see; then one more agent is greedy in the posterior-mean MDP. Writes `cartpole.csv` and
`cartpole.png`: that agent's reward against K.
"""

import dataclasses
import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax

from expedition.agents import TabularConfig, tabular
from expedition.environments import TabularCartpole
from expedition.exploration import dirichlet_beliefs, value_iteration
from expedition.runtime import named_key, simulate

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import plots
from experiments.report import Reporter
from experiments.sweep import Measure, Precision, Table, command, fill, open_folder, read

STRATEGIES = ("seed_sampling", "concurrent_ucrl", "psrl", "thompson_resampling")
TABLE = "cartpole.csv"


@dataclass(frozen=True)
class Config:
    """Settings of figure 1; docs/figures.md says how the open constants were chosen."""

    out: Path | None = None
    """Folder for table and picture; a sweep that was stopped there goes on.
    Default: runs/figure1, or runs/figure1-quick."""
    seed: int = 0
    """Fixes every random draw."""
    quick: bool = False
    """Two numbers of agents, two worlds each: two minutes, and rough."""
    agents: tuple[int, ...] = (1, 3, 10, 30, 100)
    """Numbers of agents K."""
    worlds: int = 24
    """Random instances of each point."""
    thompson_worlds: int = 4
    """The same of Thompson resampling, which plans ten times as long as the others."""
    steps: int = 3000
    """Actions of each agent, of 0.01 s."""
    angle_cells: int = 10
    """Cells of the angle around the circle."""
    velocity_cells: int = 7
    """Cells of the angular velocity between -2 pi and 2 pi."""
    discount: float = 0.97
    """Discount gamma per action, of the agents, of the evaluation and of the true MDP's policy."""
    beta: float = 2.0
    """Optimism of concurrent UCRL in standard deviations."""
    thompson_sweeps: int = 100
    """Sweeps of value iteration in each fresh sample; the others sweep once, from their last."""
    starts: int = 20
    """Episodes of the evaluation agent in each world."""

    def __post_init__(self) -> None:
        counts = (*self.agents, self.worlds, self.thompson_worlds, self.steps, self.starts)
        if min(counts) < 1 or not 0 <= self.discount < 1:
            raise ValueError(
                f"agents {self.agents}, worlds {self.worlds} and {self.thompson_worlds}, steps "
                f"{self.steps}, starts {self.starts} and discount {self.discount} were given; "
                "expected at least 1 of each, and a discount in [0, 1)"
            )


def final_reward(
    config: Config, problem: TabularCartpole, strategy: str, num_agents: int, keys: jax.Array
) -> jax.Array:
    """`[W]`: the mean return of an agent that is greedy for what K agents have learnt."""
    cold = strategy == "thompson_resampling"  # another sample each time: no last plan to go on from
    settings = TabularConfig(
        strategy=strategy,
        sweeps=config.thompson_sweeps if cold else 1,
        discount=config.discount,
        beta=config.beta,
        warm_start=not cold,
    )
    beliefs = dirichlet_beliefs(problem.num_states, 3)
    agent = tabular(settings, beliefs, num_agents)
    # An agent whose clock is eight standard deviations late would miss its last actions.
    horizon = problem.max_steps + 8 * math.sqrt(problem.max_steps)
    outcome = simulate(agent, problem, keys, num_agents=num_agents, horizon=horizon)

    def evaluate(belief: object, key: jax.Array) -> jax.Array:
        q = value_iteration(beliefs.mean(belief), sweeps=500, discount=config.discount)
        starts = jax.random.split(named_key(key, "evaluation"), config.starts)
        return problem.greedy_returns(q, starts).mean()

    return jax.vmap(evaluate)(outcome.state.params.belief, keys)


def optimal_reward(config: Config) -> float:
    """The mean return of a policy that is optimal in the true discretised MDP."""
    problem = make_problem(config)
    q = value_iteration(problem.true_mdp(), sweeps=2000, discount=config.discount)
    starts = jax.random.split(jax.random.key(config.seed), 10 * config.starts)
    return float(problem.greedy_returns(q, starts).mean())


def make_problem(config: Config) -> TabularCartpole:
    """The cart-pole on the config's grid."""
    return TabularCartpole(
        max_steps=config.steps,
        angle_cells=config.angle_cells,
        velocity_cells=config.velocity_cells,
    )


def run(config: Config) -> None:
    """Measures what is missing, then draws."""
    plots.require()
    if config.quick:
        config = dataclasses.replace(config, agents=(3, 30), worlds=2, thompson_worlds=2)
    folder = config.out or Path("runs/figure1-quick" if config.quick else "runs/figure1")
    open_folder(folder, config, free=("agents",))
    problem = make_problem(config)
    table = Table(folder / TABLE, "mean_reward")
    with Reporter(cells=len(config.agents) * len(STRATEGIES)) as report:
        for strategy in STRATEGIES:
            slow = strategy == "thompson_resampling"
            worlds = config.thompson_worlds if slow else config.worlds
            cells: list[tuple[str, int, Measure]] = [
                (strategy, k, partial(final_reward, config, problem, strategy, k))
                for k in config.agents
            ]
            fill(
                table,
                cells,
                title="cartpole",
                key=named_key(jax.random.key(config.seed), "cartpole"),
                precision=Precision(at_least=worlds, at_most=worlds),
                worlds_per_batch=lambda k, worlds=worlds: min(8, worlds),
                report=report,
            )
    best = optimal_reward(config)
    (folder / "optimum.txt").write_text(f"{best:.1f}\n")
    print(f"return of {config.steps} actions; planned in the true discretised MDP: {best:.0f}")
    print("\n".join(map(str, draw(folder))))


def draw(folder: Path) -> list[Path]:
    """Draws the table's curves, and the best that the discretised MDP's policies can do."""
    if not (folder / TABLE).exists() or not read(folder / TABLE):
        return []
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for shift, strategy in enumerate(STRATEGIES):
        rows = sorted(
            (r for r in read(folder / TABLE) if r.algorithm == strategy), key=lambda r: r[1]
        )
        axes.errorbar(
            [row.agents * 1.03**shift for row in rows],  # beside each other
            [row.mean for row in rows],
            [2 * row.standard_error for row in rows],
            marker=".",
            capsize=2,
            label=plots.LABELS[strategy],
        )
    if (folder / "optimum.txt").exists():
        best = float((folder / "optimum.txt").read_text())
        axes.axhline(
            best, color="black", linestyle="--", label="planned in the true discretised MDP"
        )
    axes.set_xscale("log")
    plots.plain(axes.xaxis)
    axes.margins(y=0.25)  # room for the legend
    plots.finish(axes, "agents K", "reward of a greedy agent (±2 s.e.)", "tabular cart-pole")
    return [plots.save(figure, folder / "cartpole.png")]


def main() -> None:
    """Parses the flags, uses all cores, runs."""
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
