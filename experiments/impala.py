"""Train IMPALA: `python -m experiments.impala --environment catch`.

Every run leaves `runs/<name>/`: config.json, metrics.csv, TensorBoard events, summary.json,
learning_curve.png and the final parameters.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import tyro

from experiments import plots
from expedition import environments
from expedition.agents import Agent, ImpalaConfig, impala
from expedition.environments import BatchedEnvironment, EnvironmentSpec
from expedition.networks import (
    ActorCritic,
    DeepTorso,
    LSTMCore,
    MLPTorso,
    ShallowTorso,
    policy_head,
)
from expedition.runtime import (
    AXIS,
    Evaluation,
    RuntimeConfig,
    evaluate,
    named_key,
    select_devices,
    train,
)
from expedition.runtime.metrics import CSVLogger, MetricsLogger, Row, TensorBoardLogger
from expedition.runtime.progress import ProgressLine
from expedition.runtime.record import create_run, load_params, provenance, save_params, write_json


@dataclass(frozen=True)
class Config:
    """Trains IMPALA; the defaults shown are those of the environment given."""

    environment: str = "dm_control:cartpole-swingup"
    """catch, probe:<name>, or dm_control:<domain>-<task>."""
    action_bins: int | None = None
    """dm_control: values per action dimension of a discretised action; none: real actions."""
    action_repeat: int = 1
    """dm_control: control steps that one action lasts."""
    torso: Literal["mlp", "shallow", "deep"] = "mlp"
    """Network: an MLP, or for images the paper's shallow or deep (residual) one."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the MLP's layers."""
    lstm: int | None = None
    """Features of an LSTM core behind the torso; none: no recurrence."""
    agent: ImpalaConfig = field(default_factory=ImpalaConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    seed: int = 0
    """Names every random choice of the run."""
    evaluation_episodes: int = 20
    """Fresh episodes that the greedy policy plays at the end."""
    name: str | None = None
    """The run's folder under `out`; none: environment, seed and time."""
    out: Path = Path("runs")
    """Where runs are kept."""

    def __post_init__(self) -> None:
        if self.evaluation_episodes < 1:
            raise ValueError(
                f"evaluation_episodes is {self.evaluation_episodes}; expected at least 1"
            )


Name = str | int  # of a source of randomness

CATCH = Config(
    environment="catch",
    hidden=(64, 64),
    agent=ImpalaConfig(optimizer="adam", learning_rate=2e-3, reduction="mean"),
    runtime=RuntimeConfig(total_steps=400_000),
)
SWINGUP = Config(
    action_bins=5,
    action_repeat=2,
    agent=ImpalaConfig(
        discount=0.98,
        entropy_cost=0.1,
        reduction="mean",
        max_abs_reward=None,
        optimizer="adam",
        learning_rate=2e-3,
        global_norm_clip=1.0,
    ),
    runtime=RuntimeConfig(
        total_steps=1_000_000, unroll_length=10, batch_size=16, environments_per_actor=16
    ),
)


def preset(environment: str) -> Config:
    """The settings to start from for an environment."""
    base = CATCH if environment.startswith(("catch", "probe:")) else SWINGUP
    return dataclasses.replace(base, environment=environment)


@dataclass(frozen=True)
class _EnvironmentFlag:
    environment: str = SWINGUP.environment


def parse(arguments: Sequence[str]) -> Config:
    """Reads the command line; what it does not set comes from the environment's preset."""
    chosen = [a for a in arguments if a not in ("-h", "--help")]
    flag, _ = tyro.cli(_EnvironmentFlag, args=chosen, return_unknown_args=True)
    return tyro.cli(
        Annotated[Config, tyro.conf.OmitArgPrefixes],
        args=arguments,
        default=preset(flag.environment),
        description=__doc__,
    )


def make_agent(config: Config, spec: EnvironmentSpec) -> Agent:
    """The agent and its network for an environment."""
    torso = {
        "mlp": MLPTorso(config.hidden),
        "shallow": ShallowTorso(),
        "deep": DeepTorso(),
    }[config.torso]
    core = None if config.lstm is None else LSTMCore(config.lstm)
    network = ActorCritic(torso, policy_head(spec.action), core)
    updates = config.runtime.num_updates
    return impala(config.agent, spec, network, num_updates=updates, axis_name=AXIS)


def make_environment(config: Config, num_environments: int, *names: Name) -> BatchedEnvironment:
    """A batch of the config's environment, named so that no two batches share randomness."""
    return environments.make(
        config.environment,
        num_environments,
        named_key(jax.random.key(config.seed), "environment", *names),
        action_bins=config.action_bins,
        action_repeat=config.action_repeat,
    )


class Loaded(NamedTuple):
    """A finished run."""

    config: Config
    agent: Agent
    params: Any

    def evaluate(self, episodes: int = 20, name: str | int = "evaluation") -> Evaluation:
        """Plays fresh episodes greedily; another name gives other episodes."""
        return evaluate(self.agent, self.params, make_environment(self.config, episodes, name))


def load(folder: str | Path) -> Loaded:
    """Reads a run's config and final parameters."""
    fields = json.loads((Path(folder) / "config.json").read_text())
    runtime = fields.pop("runtime")
    runtime["learner_devices"] = tuple(runtime["learner_devices"])
    fields |= {
        "agent": ImpalaConfig(**fields["agent"]),
        "runtime": RuntimeConfig(**runtime),
        "hidden": tuple(fields["hidden"]),
        "out": Path(fields["out"]),
    }
    config = Config(**fields)
    agent = make_agent(config, make_environment(config, 1, "spec").spec)
    like = jax.eval_shape(agent.init, jax.random.key(0)).params
    return Loaded(config, agent, load_params(Path(folder), like))


def run(config: Config) -> Path:
    """Trains, evaluates and records; returns the run's folder."""
    plots.require()
    actors = [
        make_environment(config, config.runtime.environments_per_actor, "actor", i)
        for i in range(config.runtime.actors)
    ]
    agent = make_agent(config, actors[0].spec)
    devices = select_devices(config.runtime)
    folder = create_run(config.out / (config.name or _default_name(config)))
    write_json(folder / "config.json", config)
    print(f"actors on {devices.actor}, learner on {', '.join(map(str, devices.learners))}")
    start = time.perf_counter()
    summary: dict[str, Any] = {"exit_state": "failed"} | provenance()
    try:
        with ExitStack() as stack:
            progress = stack.enter_context(ProgressLine(config.runtime.num_updates))
            loggers: list[MetricsLogger] = [
                CSVLogger(folder / "metrics.csv"),
                TensorBoardLogger(folder),
            ]
            for logger in loggers:
                stack.callback(logger.close)

            def log(row: Row) -> None:
                for logger in loggers:
                    logger.write(row)
                progress.write(row)

            result = train(
                agent,
                actors,
                config.runtime,
                key=named_key(jax.random.key(config.seed), "train"),
                log=log,
            )
        summary |= {
            "exit_state": result.exit_state,
            **result.counters,
            "steps_per_second": result.steps_per_second,
        }
        save_params(folder, result.params)
        if result.exit_state == "finished":
            fresh = make_environment(config, config.evaluation_episodes, "evaluation")
            summary["evaluation"] = evaluate(agent, result.params, fresh).summary()
    except BaseException as error:
        summary["exit_state"] = f"failed: {type(error).__name__}: {error}"
        raise
    finally:
        summary["wall_seconds"] = time.perf_counter() - start
        write_json(folder / "summary.json", summary)
    plots.learning_curve(folder)
    return folder


def _default_name(config: Config) -> str:
    environment = config.environment.replace(":", "-")
    return f"impala-{environment}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    config = parse(sys.argv[1:] if arguments is None else arguments)
    folder = run(config)
    plots.print_curve(folder)
    summary = json.loads((folder / "summary.json").read_text())
    if "evaluation" in summary:
        result = summary["evaluation"]
        print(
            f"greedy policy: {result['mean']:.2f} +- {result['standard_deviation']:.2f} "
            f"over {result['episodes']} fresh episodes"
        )
    print(
        f"{summary['exit_state']} after {summary['wall_seconds']:.0f} s, "
        f"{summary['env_steps']:,} steps, {summary['steps_per_second']:,.0f} steps/s"
    )
    print(f"results: {folder}")


if __name__ == "__main__":
    main()
