"""Deep sea: episodes until solved, against its size: `python -m experiments.deep_sea`.

K agents dive in one deep sea of N x N cells and share what they see. The sea is *solved* with the
first episode after which less than 90 % of the episodes so far, of all agents, were bad: bsuite's
criterion (Osband et al., 2020, Behaviour Suite, https://arxiv.org/abs/1908.03568), where a random
policy needs some 2^N episodes. Writes `deep_sea.csv` and its pictures, and `regret.csv`: the bad
episodes per agent of a small sea against K.
"""

import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from expedition.environments import OneWorld
from expedition.runtime import Running, named_key, simulation
from experiments import deep_sea_plots, plots
from experiments.deep_sea_agents import ALGORITHMS, Constants, Team, make_team
from experiments.deep_sea_plots import Row, Rows
from experiments.report import Reporter
from experiments.sweep import Precision, SettingsError, Table, command, fill, open_folder

BAD = 0.9  # the part of bad episodes below which a sea is solved
CHUNK = 5  # episodes between two looks
SHORTEST = 200  # episodes of each agent that a team has at least
REGRET_WORLDS = 64


@dataclass(frozen=True)
class Config:
    """Settings of the sweep."""

    out: Path | None = None
    """Folder for tables and pictures; a sweep that was stopped there goes on.
    Default: runs/deep_sea, or runs/deep_sea-quick."""
    seed: int = 0
    """Fixes every random draw; the sea itself is bsuite's, mapping seed 42."""
    quick: bool = False
    """Sizes 5 and 10, one instance, at most 300 episodes."""
    sizes: tuple[int, ...] = (10, 20, 30, 40, 50)
    """Sizes N."""
    agents: tuple[int, ...] = (1, 10, 100)
    """Numbers of agents K; what is called bootstrapped is one agent."""
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    """Which algorithms to run."""
    instances: int = 3
    """Random instances of each."""
    episodes: int = 10_000
    """At most, of all agents together, but at least 200 of each."""
    regret_agents: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    """Numbers of agents whose regret is measured; empty: not at all."""
    regret_algorithms: tuple[str, ...] = ("seed_lsvi",)
    """Which of them have their regret measured, in 64 worlds each; slow for networks."""
    regret_size: int = 10
    """Size of the sea for that."""
    regret_episodes: int = 100
    """Episodes of each agent that regret is summed over."""
    constants: Constants = field(default_factory=Constants)
    """The algorithms'."""

    def __post_init__(self) -> None:
        if not (self.sizes and self.agents and self.algorithms and self.instances > 0):
            raise ValueError("sizes, agents, algorithms or instances is empty; expected some")
        teams = [name for name in ALGORITHMS if not name.startswith("bootstrapped")]
        for names, known in ((self.algorithms, [*ALGORITHMS]), (self.regret_algorithms, teams)):
            for name in set(names) - set(known):
                raise ValueError(f"algorithm {name!r} was given; expected some of {known}")

    @property
    def regret_cells(self) -> list[tuple[str, int]]:
        """The (algorithm, K) whose regret is to be measured."""
        names = [name for name in self.regret_algorithms if name in self.algorithms]
        return [] if self.quick else [(name, k) for k in self.regret_agents for name in names]

    def limit(self, agents: int) -> int:
        """Episodes of each of K agents, at most."""
        return 300 if self.quick else max(SHORTEST, self.episodes // agents)


def dives(team: Team, agents: int, episodes: int) -> tuple[Any, Any]:
    """The sweep's two functions, to be compiled.

    Args:
        team: the algorithm.
        agents: K.
        episodes: of each agent, at most.

    Returns:
        `start(keys [W]) -> running`, and `dive(running, numbers [E]) -> running, bad`: the next E
        episodes, which have these numbers from 0, and how many agents' were bad, `[E, W]`.

    Raises:
        ValueError: an episode is no whole number of the team's unrolls.
    """
    if team.sea.size % team.unroll:
        raise ValueError(
            f"unrolls of {team.unroll} in a sea of {team.sea.size} rows were given; expected a "
            "divisor: episodes are counted at the end of a turn"
        )
    parts = simulation(
        team.agent,
        OneWorld(team.sea),
        num_agents=agents,
        horizon=team.sea.size * episodes,
        clock="synchronous",
        at_once=team.at_once,
        unroll=team.unroll,
        restart=True,
    )
    ticks = parts.num_ticks // episodes

    def episode(running: Running, number: jax.Array) -> tuple[Running, jax.Array]:
        running = parts.advance(running, (number + 1) * ticks)
        return running, jnp.sum(running.progress.agents.environment.is_bad, axis=1)

    def dive(running: Running, numbers: jax.Array) -> tuple[Running, jax.Array]:
        return jax.lax.scan(episode, running, numbers)

    return parts.start, dive


def solved_after(bad: np.ndarray, agents: int) -> int | None:
    """Episodes of each agent until the sea is solved, or None.

    Args:
        bad: `[E]`, how many of K agents had a bad one in each episode.
        agents: K.
    """
    part = np.cumsum(bad) / (agents * np.arange(1, len(bad) + 1))
    return int(np.argmax(part < BAD)) + 1 if (part < BAD).any() else None


def mean_regret(team: Team, agents: int, episodes: int, keys: jax.Array) -> jax.Array:
    """`[W]`, bad episodes of each of K agents, on average over them."""
    start, dive = dives(team, agents, episodes)
    _, bad = dive(start(keys), jnp.arange(episodes))
    return jnp.sum(bad, axis=0) / agents


def cells_of(config: Config) -> list[tuple[str, int, int]]:
    """The (algorithm, N, K) to run.

    Raises:
      SettingsError: an algorithm does not fit a size or a team.
    """
    cells = [
        (algorithm, size, k)
        for algorithm in config.algorithms
        for k in (config.agents if not algorithm.startswith("bootstrapped") else (1,))
        for size in ((5, 10) if config.quick else config.sizes)
    ]
    regret = [(algorithm, config.regret_size, k) for algorithm, k in config.regret_cells]
    for algorithm, size, k in [*cells, *regret]:
        try:
            make_team(algorithm, size, k, CHUNK, config.constants)
        except ValueError as error:
            raise SettingsError(f"{algorithm}, N = {size}, K = {k}: {error}") from error
    return cells


def run(config: Config) -> None:
    """Runs what is missing, then draws.

    Raises:
      SettingsError: an algorithm does not fit, or the folder holds another sweep.
    """
    plots.require()
    cells = cells_of(config)
    folder = config.out or Path("runs/deep_sea-quick" if config.quick else "runs/deep_sea")
    free = ("sizes", "agents", "algorithms", "instances", "regret_agents", "regret_algorithms")
    open_folder(folder, config, free=free)
    table = Rows(folder / "deep_sea.csv")
    instances = range(1 if config.quick else config.instances)
    with Reporter(cells=len(cells) * len(instances)) as report:
        for cell in cells:
            _fill(table, cell, instances, config, report)
    if config.regret_cells:
        _measure_regret(folder, config)
    deep_sea_plots.draw(folder)
    print(deep_sea_plots.summary(folder))
    print(f"results: {folder}")


def _fill(
    table: Rows, cell: tuple[str, int, int], instances: range, config: Config, report: Reporter
) -> None:
    algorithm, size, k = cell
    episodes = -(-config.limit(k) // CHUNK) * CHUNK
    functions = None
    for instance in instances:
        if table.has(*cell, instance):
            report.skip()
            continue
        title = f"{algorithm} N {size} K {k}, instance {instance}"
        began = time.perf_counter()
        if functions is None:
            report.show(f"{title}: compiling")
            team = make_team(algorithm, size, k, episodes, config.constants)
            functions = _compiled(*dives(team, k, episodes))
        start, dive = functions
        running = start(named_key(jax.random.key(config.seed), "instance", instance)[None])
        bad = np.zeros(0)
        for first in range(0, episodes, CHUNK):
            running, more = dive(running, first + np.arange(CHUNK))
            bad = np.append(bad, np.asarray(more)[:, 0])
            report.show(f"{title}: {len(bad)} episodes, {bad[-CHUNK:].mean() / k:.0%} bad")
            if solved_after(bad, k) is not None:
                break
        found = solved_after(bad, k)
        seconds = time.perf_counter() - began
        table.add(Row(*cell, instance, found or len(bad), found is not None, seconds))
        what = f"solved after {found}" if found else f"not solved in {len(bad)}"
        report.note(f"{algorithm:19} N {size:<3} K {k:<4} {what} episodes each, {seconds:.0f} s")
    if functions is not None:
        jax.clear_caches()


def _compiled(start: Any, dive: Any) -> tuple[Any, Any]:
    once = {"xla_backend_optimization_level": 0}  # it runs once: compiled in a tenth of the time
    return jax.jit(start, compiler_options=once), jax.jit(dive, donate_argnums=0)


def _measure_regret(folder: Path, config: Config) -> None:
    episodes = config.regret_episodes
    cells = []
    for name, k in config.regret_cells:
        team = make_team(name, config.regret_size, k, episodes, config.constants)
        cells.append((name, k, partial(mean_regret, team, k, episodes)))
    with Reporter(cells=len(cells)) as report:
        fill(
            Table(folder / "regret.csv", "mean_regret"),
            cells,
            title=f"regret, N {config.regret_size}",
            key=named_key(jax.random.key(config.seed), "regret"),
            # A number fixed before: stopping at a small error stops where no slow world came yet.
            precision=Precision(at_least=REGRET_WORLDS, at_most=REGRET_WORLDS),
            worlds_per_batch=lambda k: 16,
            report=report,
        )


def main() -> None:
    """Parses the flags, uses all cores, runs."""
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
