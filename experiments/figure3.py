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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import jax
import numpy as np

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from expedition.environments.swingup import Goal
from expedition.runtime import AXIS, named_key
from experiments import plots, swingup_plots, swingup_runs
from experiments.curves import Curve, Curves
from experiments.report import Reporter
from experiments.snapshots import Snapshots
from experiments.sweep import command, open_folder
from experiments.swingup_agents import (
    Algorithm,
    Constants,
    constants_of,
    make_agent,
    make_task,
    num_models,
)

Environment = Literal["jax", "dm_control"]

QUICK_AGENTS = (30, 100)


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
    """Numbers of agents K of seed TD; DQN has the largest. Only without --quick."""
    algorithms: tuple[Algorithm, ...] = get_args(Algorithm)
    """Which to run; `seed_td_printed` takes only turns, widths and the task from those below."""
    goals: tuple[Goal, ...] = get_args(Goal)
    """In what units the goal's thresholds are."""
    instances: int = 10
    """Random instances of each curve."""
    seconds: float = 30.0
    """Length of the interaction; an action lasts .01 s."""
    environment: Environment = "jax"
    """The port, all compiled into one program, or MuJoCo with actor threads and a learner."""
    constants: Constants = field(default_factory=Constants)
    """The algorithms'."""

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
            if k < 1 or k % min(k, self.constants.turns):
                raise ValueError(
                    f"{k} agents take {self.constants.turns} turns; expected a multiple of them"
                )

    @property
    def team_sizes(self) -> tuple[int, ...]:
        """Numbers of agents K."""
        return QUICK_AGENTS if self.quick else self.agents


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
        text = f"{self._title}: at {look.second:.1f} s reward {look.mean_reward.mean():.3f}, "
        text += f"upright {look.upright:.0%}"
        if len(self._looks) > 1:
            per_look = (time.perf_counter() - self._began) / (len(self._looks) - 1)
            left = per_look * (self._seconds - look.second) / swingup_runs.LOOK
            text += f", {left:.0f} s of real time left"
        self._report.show(text)

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
        for k in ((max(agents),) if algorithm == "dqn" else agents)
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
    constants = constants_of(algorithm, k, config.constants)
    task = make_task(goal, config.seconds, constants)
    # DQN's one model cannot be shared.
    axis_name = AXIS if config.environment == "dm_control" and algorithm != "dqn" else None
    agent = make_agent(algorithm, k, constants, config.seconds, axis_name)
    key = jax.random.key(config.seed)
    # The actor-learner needs all devices for one instance.
    at_once = instances_at_once() if config.environment == "jax" else 1
    for batch in (curves[i : i + at_once] for i in range(0, len(curves), at_once)):
        title = f"{algorithm} K {k} {goal}, instances {', '.join(str(c.instance) for c in batch)}"
        report.show(f"{title}: compiling")
        began, watch = time.perf_counter(), Watcher(title, config.seconds, report)
        keys = [named_key(key, "instance", curve.instance) for curve in batch]
        snapshots = None
        if config.environment == "jax":
            numbers = "-".join(str(curve.instance) for curve in batch)
            snapshots = Snapshots(folder / "unfinished" / f"{algorithm}_{k}_{goal}_{numbers}")
            swingup_runs.simulate(agent, task, keys, k, constants.turns, watch, snapshots)
        else:
            models = num_models(algorithm, k, constants)
            shared = math.gcd(k // constants.turns, models, jax.local_device_count())
            swingup_runs.train(agent, task, keys[0], k, constants.turns, shared, watch)
        if batch[0].instance == 0:
            watch.save_team(folder / f"team_{algorithm}_{k}_{goal}.npz")
        for i, curve in enumerate(batch):
            table.add(curve, watch.points(i))
        if snapshots is not None:
            snapshots.remove()
        for i, curve in enumerate(batch):
            report.note(
                f"{algorithm:8} K {k:<4} {goal:7} instance {curve.instance:<3} reward at the end "
                f"{watch.points(i)[-1][1]:6.3f}  {time.perf_counter() - began:6.1f} s"
            )


def instances_at_once() -> int:
    """One a device, or ten where a device has room for more than one's small matrices."""
    each = 1 if jax.default_backend() == "cpu" else 10
    return each * jax.local_device_count()


def main() -> None:
    """Parses the flags, uses all cores, runs."""
    # Differences between actions are a thousandth of the values: no accelerator may round these.
    jax.config.update("jax_default_matmul_precision", "highest")
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
