"""Our own run in a contest, under the same watch as its peers'.

Argument: the name of one of `CONFIGS`. Prints lines of JSON: actions so far, and the mean return
and number of the episodes that ended since the last.
"""

import dataclasses
import json
import sys
from typing import Any

import jax

from expedition.agents import ImpalaConfig
from expedition.runtime import RuntimeConfig, named_key, train
from experiments.impala import CATCH, Config, make_agent
from experiments.job import make_environment

PERIOD_S = 0.25
CONFIGS = {
    # The preset of `python -m experiments.impala --environment catch`.
    "catch": CATCH,
    "cartpole": Config(
        environment="envpool:CartPole-v1",
        hidden=(64, 64),
        agent=ImpalaConfig(
            optimizer="adam", learning_rate=2e-3, reduction="mean", max_abs_reward=None
        ),
        runtime=RuntimeConfig(
            total_steps=1_000_000, actors=1, environments_per_actor=32, batch_size=32
        ),
    ),
}


def report(row: Any) -> None:
    """Prints a line."""
    line = {"steps": row["env_steps"], "return": row["return_mean"], "episodes": row["episodes"]}
    if line["return"] != line["return"]:  # none ended
        line |= {"return": 0.0, "episodes": 0}
    print(json.dumps(line), flush=True)


def main(name: str) -> None:
    """Trains."""
    config = CONFIGS[name]
    runtime = dataclasses.replace(config.runtime, log_seconds=PERIOD_S)
    actors = [
        make_environment(config, runtime.environments_per_actor, "actor", i)
        for i in range(runtime.actors)
    ]
    agent = make_agent(config, actors[0].spec)
    key = named_key(jax.random.key(config.seed), "contest")
    train(agent, actors, runtime, key=key, log=report)


if __name__ == "__main__":
    main(sys.argv[1])
