"""Train IMPALA, or A3C: `python -m experiments.impala --environment catch --algorithm a3c`.

Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, checkpoints,
summary.json, learning_curve.png and the final parameters. `--resume runs/<name>` goes on with it.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes

from expedition.agents import Agent, ImpalaConfig, a3c, impala, normalize_observations
from expedition.environments import EnvironmentSpec
from expedition.networks import (
    ActorCritic,
    DeepTorso,
    LSTMCore,
    MLPTorso,
    ShallowTorso,
    policy_head,
)
from expedition.runtime import AXIS, RuntimeConfig

if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.config import JobConfig, chosen
from experiments.experiment import Experiment

ALGORITHMS = {"impala": impala, "a3c": a3c}


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """Trains IMPALA or A3C; the defaults shown are those of the environment given."""

    algorithm: Literal["impala", "a3c"] = "impala"
    """Who computes gradients: the learner, or each actor by the parameters that it acted by. A2C:
    impala with --correction none --deterministic --policy-lag 0."""
    torso: Literal["mlp", "shallow", "deep"] = "mlp"
    """Network: an MLP, or for images the paper's shallow or deep (residual) one."""
    lstm: int | None = None
    """Features of an LSTM core behind the torso; None: no recurrence."""
    normalize_observations: bool = False
    """Whether the network sees features in standard deviations from their means so far, clipped at
    10; of an image all pixels have one deviation. Not for A3C."""
    agent: OmitArgPrefixes[ImpalaConfig] = field(default_factory=ImpalaConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm not in ALGORITHMS:
            known = " or ".join(ALGORITHMS)
            raise ValueError(f"algorithm is {self.algorithm!r}; expected {known}")
        if self.algorithm == "a3c" and self.normalize_observations:
            raise ValueError(
                "normalize_observations is True; expected False of a3c, whose actors send no "
                "observations: give --no-normalize-observations"
            )
        if self.lstm is not None and self.lstm < 1:
            raise ValueError(f"lstm is {self.lstm}; expected at least 1")


CATCH = Config(
    environment="catch",
    hidden=(64, 64),
    agent=ImpalaConfig(optimizer="adam", learning_rate=5e-3, reduction="mean"),
    runtime=RuntimeConfig(total_steps=150_000, log_seconds=0.1),  # it is done in a second
    evaluation_episodes=32,  # the actors' batch: no environment step is compiled anew
)
SWINGUP = Config(
    action_bins=5,
    action_repeat=2,
    agent=ImpalaConfig(
        discount=0.98,
        # Three times as much, and one greedy policy in four falls: docs/environments.md.
        entropy_cost=3e-3,
        reduction="mean",
        max_abs_reward=None,
        reward_scale=0.1,
        optimizer="adam",
        learning_rate=2e-3,
        global_norm_clip=1.0,
    ),
    runtime=RuntimeConfig(
        total_steps=2_500_000,
        batch_size=16,
        environments_per_actor=16,
        actors=1,  # it and the learner fill two cores; a second one would add lag, not speed
        queue_capacity=1,
    ),
)
ATARI = Config(  # small updates, for a few cores; docs/environments.md has a GPU's, and the paper's
    torso="shallow",
    normalize_observations=True,  # as they are, Pong was not learnt
    agent=ImpalaConfig(
        lambda_=0.95,
        entropy_cost=5e-3,
        reduction="mean",
        optimizer="adam",
        learning_rate=5e-4,
        global_norm_clip=0.5,
    ),
    runtime=RuntimeConfig(
        total_steps=1_500_000,
        batch_size=8,
        environments_per_actor=8,
        actors=1,
        queue_capacity=1,
    ),
)
MEMORY = Config(  # with --lstm None the same network without memory
    hidden=(32,),
    lstm=32,
    agent=ImpalaConfig(optimizer="adam", learning_rate=3e-3, reduction="mean"),
    runtime=RuntimeConfig(total_steps=200_000, actors=1),
    evaluation_episodes=32,
)
GYM = dataclasses.replace(
    SWINGUP,
    action_bins=None,
    action_repeat=1,
    agent=dataclasses.replace(SWINGUP.agent, entropy_cost=0.1, reward_scale=1.0),
)
CONTROL = dataclasses.replace(  # of real actions, whose log-probabilities change faster
    GYM,
    agent=dataclasses.replace(SWINGUP.agent, lambda_=0.9, learning_rate=5e-4, entropy_cost=1e-3),
    # Many small updates: 3,000 of twice the size did not learn to swing up.
    runtime=dataclasses.replace(SWINGUP.runtime, total_steps=6_000_000),
)
DEEP_SEA = dataclasses.replace(  # where it finds nothing, as seeded IMPALA's command does
    CATCH,
    runtime=RuntimeConfig(total_steps=250_000, batch_size=16, environments_per_actor=16),
    evaluation_episodes=16,
)
TEAM = dataclasses.replace(  # the sparse swing-up, as seeded IMPALA's command has it
    SWINGUP,
    action_bins=None,
    action_repeat=1,
    agent=dataclasses.replace(
        GYM.agent, discount=0.99, entropy_cost=0.01, learning_rate=3e-3, global_norm_clip=1e3
    ),
    runtime=RuntimeConfig(total_steps=900_000, environments_per_actor=16),
    evaluation_episodes=16,
)
PRESETS = {
    "catch": CATCH,
    "deep_sea": DEEP_SEA,
    "swingup": TEAM,
    "probe:": CATCH,
    "memory_chain:": MEMORY,
    "atari:": ATARI,
    "gym:": GYM,
    "envpool:": CONTROL,
}


def preset(environment: str) -> Config:
    """The settings to start from for an environment."""
    return chosen(PRESETS, environment, otherwise=SWINGUP)


def make_agent(config: Config, spec: EnvironmentSpec) -> Agent:
    """The agent and its network for an environment.

    Raises:
      ValueError: a convolutional torso was asked for observations that are no images, or
        normalized ones of A3C.
    """
    if config.torso != "mlp" and len(spec.observation.shape) != 3:
        raise ValueError(
            f"the {config.torso} torso was given for observations of shape "
            f"{spec.observation.shape}; expected images, or --torso mlp"
        )
    torso = {
        "mlp": MLPTorso(config.hidden),
        "shallow": ShallowTorso(),
        "deep": DeepTorso(),
    }[config.torso]
    core = None if config.lstm is None else LSTMCore(config.lstm)
    network = ActorCritic(torso, policy_head(spec.action), core)
    updates, algorithm = config.runtime.num_updates, ALGORITHMS[config.algorithm]
    agent = algorithm(config.agent, spec, network, num_updates=updates, axis_name=AXIS)
    if config.normalize_observations:
        agent = normalize_observations(agent, spec, axis_name=AXIS)
    return agent


EXPERIMENT = Experiment(
    "impala", __doc__, preset, make_agent, title=lambda config: config.algorithm
)
load, main = EXPERIMENT.load, EXPERIMENT.main

if __name__ == "__main__":
    main()
