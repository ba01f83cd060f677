"""Train a team by seed TD on actor threads: `python -m experiments.seed_td --environment catch`.

Every environment of every actor is an agent, which acts by its own model of the ensemble; all
models learn from all data. The evaluation is greedy for their mean.
Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, checkpoints,
summary.json, learning_curve.png and the final parameters. `--resume runs/<name>` goes on with it.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

from expedition.agents import Agent, SeedEnsembleConfig, seed_ensemble
from expedition.environments import EnvironmentSpec
from expedition.exploration import Minibatch
from expedition.networks import SkipMLP
from expedition.runtime import AXIS, RuntimeConfig

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.config import JobConfig, require_discrete
from experiments.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """Trains a team by seed TD; the defaults shown are those of the environment given."""

    agent: SeedEnsembleConfig = field(default_factory=SeedEnsembleConfig)


CATCH = Config(
    environment="catch",
    hidden=(50,),
    agent=SeedEnsembleConfig(
        num_models=8, minibatch=Minibatch(size=32), steps=8, target_rate=0.2, capacity=50_000
    ),
    runtime=RuntimeConfig(
        total_steps=40_000, unroll_length=5, environments_per_actor=8, batch_size=8
    ),
    evaluation_episodes=32,
)
SWINGUP = Config(
    action_bins=5,
    action_repeat=2,
    agent=SeedEnsembleConfig(
        num_models=8,
        networks=2,
        minibatch=Minibatch(size=64),
        steps=8,
        target_rate=0.05,
        capacity=500_000,
    ),
    runtime=RuntimeConfig(
        total_steps=500_000, unroll_length=5, batch_size=16, environments_per_actor=16, actors=1
    ),
)


def preset(environment: str) -> Config:
    """The settings to start from for an environment."""
    is_catch = environment.startswith(("catch", "probe:"))
    base = CATCH if is_catch else SWINGUP
    if not environment.startswith("dm_control:"):
        base = dataclasses.replace(base, action_bins=None, action_repeat=1)
    return dataclasses.replace(base, environment=environment)


def make_agent(config: Config, spec: EnvironmentSpec) -> Agent:
    """The agent and its networks for an environment.

    Raises:
      ValueError: actions are real numbers.
    """
    actions = require_discrete(config.environment, spec.action, "seed TD")
    network = SkipMLP(actions, config.hidden)
    return seed_ensemble(config.agent, spec, network, axis_name=AXIS)


EXPERIMENT = Experiment("seed_td", __doc__, preset, make_agent)
load, main = EXPERIMENT.load, EXPERIMENT.main

if __name__ == "__main__":
    main()
