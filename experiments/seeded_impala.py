"""Train seeded IMPALA: `python -m experiments.seeded_impala --environment deep_sea:20`.

Every environment of every actor is acted in by one member of an ensemble for ever, and all members
learn from all trajectories, each under its own seed (docs/seeded_impala.md). The evaluation takes
what is most probable in the mixture of their policies.
Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, checkpoints,
summary.json, learning_curve.png and the final parameters. `--resume runs/<name>` goes on with it.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

import flax.linen as nn

from expedition.agents import Agent, ImpalaConfig, SeededImpalaConfig, seeded_impala
from expedition.environments import EnvironmentSpec
from expedition.exploration import Minibatch
from expedition.networks import MLPTorso
from expedition.runtime import AXIS, RuntimeConfig

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.config import JobConfig, chosen, require_discrete
from experiments.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """Trains seeded IMPALA; the defaults shown are those of the environment given."""

    agent: SeededImpalaConfig = field(default_factory=SeededImpalaConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        environments = self.runtime.actors * self.runtime.environments_per_actor
        if self.distributed.processes == 1 and self.agent.num_members > environments:
            raise ValueError(
                f"num_members is {self.agent.num_members}; expected at most one for each of the "
                f"{environments} environments of all actors: the others would never act"
            )


ADAM = ImpalaConfig(
    optimizer="adam",
    learning_rate=1e-2,
    reduction="mean",
    max_abs_reward=None,
    global_norm_clip=1e3,  # no member's gradient is clipped, unless something is wrong
)
DEEP_SEA = Config(
    environment="deep_sea:20",
    hidden=(50, 50),
    agent=SeededImpalaConfig(prior_scale=1.0, impala=ADAM),
    runtime=RuntimeConfig(total_steps=250_000, batch_size=16, environments_per_actor=16),
    evaluation_episodes=16,
)
CATCH = dataclasses.replace(
    DEEP_SEA,
    environment="catch",
    hidden=(32, 32),
    agent=SeededImpalaConfig(num_members=8, temperature=0.1, impala=ADAM),
    runtime=RuntimeConfig(total_steps=150_000),
)
SWINGUP = Config(
    action_bins=5,
    action_repeat=2,
    agent=SeededImpalaConfig(
        num_members=4, temperature=0.1, impala=dataclasses.replace(ADAM, discount=0.98)
    ),
    runtime=RuntimeConfig(
        total_steps=1_000_000, batch_size=16, environments_per_actor=16, actors=1
    ),
)
TEAM = dataclasses.replace(  # a rare reward: learnt from more than once
    DEEP_SEA,
    environment="swingup",
    agent=SeededImpalaConfig(
        num_members=15,
        prior_scale=6.0,
        passes=200,
        replay=100_000,
        minibatch=Minibatch(
            4, recent_part=0.5, recent_data=1200, rewarded_part=0.25, rewarded_data=2000
        ),
        target_rate=0.25,
        impala=dataclasses.replace(ADAM, learning_rate=2e-3),
    ),
    runtime=RuntimeConfig(
        total_steps=900_000,
        unroll_length=10,
        batch_size=30,
        environments_per_actor=30,
        actors=1,
        queue_capacity=1,
    ),
    evaluation_episodes=30,
)
PRESETS = {
    "deep_sea": DEEP_SEA,
    "catch": CATCH,
    "probe:": CATCH,
    "swingup": TEAM,
    "dm_control:": SWINGUP,
}


def preset(environment: str) -> Config:
    """The settings to start from for an environment."""
    return chosen(PRESETS, environment, otherwise=CATCH)


def make_agent(config: Config, spec: EnvironmentSpec) -> Agent:
    """The agent and its networks for an environment.

    Raises:
      ValueError: actions are real numbers.
    """
    actions = require_discrete(config.environment, spec.action, "seeded IMPALA")
    outputs = config.agent.num_outputs(actions)
    network = nn.Sequential([MLPTorso(config.hidden), nn.Dense(outputs)])
    updates = config.runtime.num_updates
    return seeded_impala(
        config.agent,
        spec,
        network,
        num_updates=updates,
        unroll_length=config.runtime.unroll_length,
        axis_name=AXIS,
    )


EXPERIMENT = Experiment("seeded_impala", __doc__, preset, make_agent)
load, main = EXPERIMENT.load, EXPERIMENT.main

if __name__ == "__main__":
    main()
