"""Figure 3: a team learns to swing up a cart-pole: `python -m experiments.figure3`.

Reproduces figure 3 of Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in
Concurrent Reinforcement Learning, https://arxiv.org/abs/1805.08948: the average instantaneous
reward of K agents over 30 seconds of interaction, by seed TD with an ensemble and, as the baseline,
by epsilon-greedy DQN. Writes `swingup.csv`, pictures of it and of where the team has been.
"""

import itertools
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import jax
import numpy as np

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from expedition.agents import Agent, DqnConfig, SeedEnsembleConfig, dqn, seed_ensemble
from expedition.environments import Swingup
from expedition.environments.swingup import TIME_STEP, Goal
from expedition.networks import SkipMLP
from expedition.runtime import AXIS, named_key
from experiments import plots, swingup_plots, swingup_runs
from experiments.curves import Curve, Curves
from experiments.sweep import Reporter, command, open_folder

Algorithm = Literal["seed_td", "dqn"]
Environment = Literal["jax", "dm_control"]

QUICK_AGENTS = (30, 100)


@dataclass(frozen=True)
class Constants:
    """What the paper gives, and what it leaves open; docs/figures.md says how that was chosen."""

    max_models: int = 30
    """Models E of the ensemble: this many, or one an agent if there are fewer."""
    prior_scale: float = 3.0
    """Scale of the frozen prior networks."""
    noise_variance: float = 0.01
    """Variance v of the seeds' noise."""
    batch_size: int = 16
    """Data of a gradient step."""
    learning_rate: float = 1e-3
    """Of Adam."""
    hidden: tuple[int, ...] = (50, 50)
    """Widths of the networks' layers."""
    discount: float = 0.99
    """Discount gamma. Open."""
    steps_per_action: float = 1.0
    """Gradient steps of each model for each action of an agent. Open."""
    turns: int = 10
    """Parts of the team that act one after the other in a period, models updated between; as many
    as there are agents if they are fewer. Open."""
    target_rate: float = 0.3
    """How far, after each turn, the parameters that targets bootstrap from, and that agents act by,
    are moved towards the newest. Open."""
    double: bool = True
    """Double Q-learning. Open."""
    bounded: bool = True
    """Whether targets bootstrap from no value that rewards of -0.1 to 1 do not allow. Open."""
    recent_part: float = 0.5
    """Part of a minibatch that is drawn from the newest data. Open."""
    recent_seconds: float = 4.0
    """How old the newest data are at most. Open."""
    epsilon: float = 0.05
    """Of epsilon-greedy DQN. Open."""

    def __post_init__(self) -> None:
        if self.bounded and not self.discount < 1:
            raise ValueError(f"discount is {self.discount}; expected below 1, or not bounded")
        if (
            min(self.turns, self.max_models) < 1
            or min(self.steps_per_action, self.recent_seconds) <= 0
        ):
            raise ValueError(
                f"turns is {self.turns}, max_models {self.max_models}, steps_per_action "
                f"{self.steps_per_action} and recent_seconds {self.recent_seconds}; expected at "
                "least 1 of each of the first two, and positive numbers"
            )


@dataclass(frozen=True)
class Config:
    """Settings of figure 3."""

    out: Path | None = None
    """Folder for tables and pictures; a sweep that was stopped there goes on.
    Default: runs/figure3, or runs/figure3-quick."""
    seed: int = 0
    """Fixes every random draw."""
    quick: bool = False
    """30 and 100 agents, 2 instances, the scaled goal."""
    agents: tuple[int, ...] = (10, 30, 100, 300)
    """Numbers of agents K of seed TD; DQN gets the largest."""
    algorithms: tuple[Algorithm, ...] = get_args(Algorithm)
    """Which to run."""
    goals: tuple[Goal, ...] = get_args(Goal)
    """In what units the goal's thresholds are."""
    instances: int = 10
    """Random instances of each curve."""
    seconds: float = 30.0
    """Length of the interaction; an action lasts .01 s."""
    environment: Environment = "jax"
    """The port, all compiled into one program, or MuJoCo with actor threads and a learner."""
    constants: Constants = Constants()
    """The algorithm's."""

    def __post_init__(self) -> None:
        if not (self.agents and self.algorithms and self.goals and self.instances > 0):
            raise ValueError(
                "agents, algorithms, goals or instances is empty; expected some of each"
            )
        if self.seconds < swingup_runs.WINDOW:
            raise ValueError(
                f"seconds is {self.seconds}; expected at least {swingup_runs.WINDOW}, one point"
            )
        for k in self.team_sizes:
            if k < 1 or k % turns(k, self.constants):
                raise ValueError(
                    f"{k} agents take {self.constants.turns} turns; expected a multiple of them"
                )
            if k // turns(k, self.constants) > self.constants.max_models:
                raise ValueError(
                    f"{k} agents in {self.constants.turns} turns share {self.constants.max_models} "
                    "models; expected no more agents in a turn than models, or some would do all "
                    "the same"
                )

    @property
    def team_sizes(self) -> tuple[int, ...]:
        """Numbers of agents K."""
        return QUICK_AGENTS if self.quick else self.agents


def make_agent(algorithm: Algorithm, num_agents: int, config: Config) -> Agent:
    """Either algorithm for K agents, with as many gradient steps for each model."""
    constants, spec = config.constants, Swingup().spec
    network = SkipMLP(spec.action.num_values, constants.hidden)
    parts = turns(num_agents, constants)
    is_dqn = algorithm == "dqn"
    learner = SeedEnsembleConfig(
        num_models=num_models(algorithm, num_agents, constants),
        prior_scale=0.0 if is_dqn else constants.prior_scale,
        noise_variance=0.0 if is_dqn else constants.noise_variance,
        discount=constants.discount,
        learning_rate=constants.learning_rate,
        batch_size=constants.batch_size,
        steps=max(1, round(constants.steps_per_action * num_agents / parts)),
        target_rate=constants.target_rate,
        act_by_target=True,
        double=constants.double,
        value_range=_value_range(constants),
        recent_part=constants.recent_part,
        recent_data=round(num_agents * constants.recent_seconds / TIME_STEP),
        capacity=num_agents * swingup_runs.periods(config.seconds),
    )
    if is_dqn:
        return dqn(DqnConfig(constants.epsilon, learner), spec, network)
    axis_name = AXIS if config.environment == "dm_control" else None
    return seed_ensemble(learner, spec, network, axis_name=axis_name)


def _value_range(constants: Constants) -> tuple[float, float] | None:
    """What pushing, or resting in the goal, for ever is worth."""
    if not constants.bounded:
        return None
    return -Swingup().push_cost / (1 - constants.discount), 1 / (1 - constants.discount)


def num_models(algorithm: Algorithm, num_agents: int, constants: Constants) -> int:
    """E; DQN has one."""
    return 1 if algorithm == "dqn" else min(num_agents, constants.max_models)


def turns(num_agents: int, constants: Constants) -> int:
    """In how many parts the team acts."""
    return min(num_agents, constants.turns)


class Watcher:
    """Keeps what is seen of some instances, and says how it goes."""

    def __init__(self, title: str, seconds: float, report: Reporter) -> None:
        self._title, self._seconds, self._report = title, seconds, report
        self._looks: list[swingup_runs.Look] = []
        self._began = time.perf_counter()

    def __call__(self, look: swingup_runs.Look) -> None:
        """Takes a look."""
        self._looks.append(look)
        if len(self._looks) == 1:
            self._began = time.perf_counter()  # what was compiled before says nothing of the rest
        per_look = (time.perf_counter() - self._began) / max(1, len(self._looks) - 1)
        left = per_look * (self._seconds - look.second) / swingup_runs.LOOK
        self._report.show(
            f"{self._title}: {look.second:.1f} s, reward {look.mean_reward.mean():.3f}, "
            f"upright {look.upright:.0%}, {left:.0f} s left"
        )

    def points(self, instance: int) -> list[tuple[float, float]]:
        """The rewards of each window, with the second of its end."""
        each = round(swingup_runs.WINDOW / swingup_runs.LOOK)
        rewards = [look.mean_reward[instance] for look in self._looks]
        windows = [rewards[i : i + each] for i in range(0, len(rewards) - each + 1, each)]
        return [
            (swingup_runs.WINDOW * (i + 1), float(np.mean(window)))
            for i, window in enumerate(windows)
        ]

    def save_team(self, path: Path) -> None:
        """Where the first instance's first agents have been."""
        few = slice(swingup_plots.TEAM)
        np.savez_compressed(
            path,
            second=np.array([look.second for look in self._looks], np.float32),
            **{
                name: np.array([getattr(look, name)[0, few] for look in self._looks], np.float16)
                for name in ("position", "spin")
            },
            # Half precision is for small numbers, and a pole may have turned often.
            angle=np.array(
                [
                    np.remainder(look.angle[0, few] + np.pi, 2 * np.pi) - np.pi
                    for look in self._looks
                ],
                np.float16,
            ),
        )


def run(config: Config) -> None:
    """Runs what is missing, then draws."""
    plots.require()
    agents = config.team_sizes
    instances = min(2, config.instances) if config.quick else config.instances
    folder = config.out or Path("runs/figure3-quick" if config.quick else "runs/figure3")
    open_folder(folder, config, free=("agents", "algorithms", "goals", "instances"))
    periods = swingup_runs.periods
    points = periods(config.seconds) // periods(swingup_runs.WINDOW)
    table = Curves(folder / "swingup.csv", points)
    cells = [
        Curve(k, algorithm, goal, i)
        for goal in (config.goals[:1] if config.quick else config.goals)
        for algorithm in config.algorithms
        for k in (agents if algorithm == "seed_td" else (max(agents),))
        for i in range(instances)
    ]
    with Reporter(cells=len(cells)) as report:
        for _ in table.done & set(cells):
            report.skip()
        pending = [curve for curve in cells if curve not in table.done]
        for _, group in itertools.groupby(pending, key=lambda curve: curve[:3]):
            _fill(table, list(group), config, folder, report)
    swingup_plots.draw(folder)
    print(swingup_plots.comparison(folder))
    print(f"results: {folder}")


def _fill(
    table: Curves, curves: list[Curve], config: Config, folder: Path, report: Reporter
) -> None:
    """Runs the instances of one kind, as many at a time as there are devices."""
    k, algorithm, goal, _ = curves[0]
    task = Swingup(goal=goal, max_steps=swingup_runs.periods(config.seconds))
    agent = make_agent(algorithm, k, config)
    key = jax.random.key(config.seed)
    # The actor-learner needs all devices for one instance.
    devices = jax.local_device_count() if config.environment == "jax" else 1
    for batch in (curves[i : i + devices] for i in range(0, len(curves), devices)):
        title = f"{algorithm} K {k} {goal}, instances {', '.join(str(c.instance) for c in batch)}"
        report.show(f"{title}: compiling")
        began, watch = time.perf_counter(), Watcher(title, config.seconds, report)
        # A program is for all devices: those that have no instance repeat one.
        keys = [named_key(key, "instance", curve.instance) for curve in batch]
        keys += keys[:1] * (devices - len(keys))
        if config.environment == "jax":
            swingup_runs.simulate(agent, task, keys, k, turns(k, config.constants), watch)
        else:
            parts, models = turns(k, config.constants), num_models(algorithm, k, config.constants)
            shared = math.gcd(k // parts, models, jax.local_device_count())
            swingup_runs.train(agent, task, keys[0], k, parts, shared, watch)
        if batch[0].instance == 0:
            watch.save_team(folder / f"team_{algorithm}_{k}_{goal}.npz")
        for i, curve in enumerate(batch):
            points = watch.points(i)
            table.add(curve, points)
            report.note(
                f"{algorithm:8} K {k:<4} {goal:7} instance {curve.instance:<3} reward at the end "
                f"{points[-1][1]:6.3f}  {time.perf_counter() - began:6.1f} s"
            )


def main() -> None:
    """Parses the flags, uses all cores, runs."""
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
