"""Run an agent on bsuite: `python -m experiments.bsuite --agent impala --id catch/0 deep_sea/3`.

One agent, one environment, as bsuite has it (Osband et al., 2020, Behaviour Suite for Reinforcement
Learning, https://arxiv.org/abs/1908.03568). Writes bsuite's own CSVs, one an id, into
`runs/bsuite/<agent>`; `--score` prints what bsuite's own analysis makes of those in the folder.
Needs the extra `[bsuite]`.
"""

import difflib
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from expedition.agents import (
    Agent,
    ImpalaConfig,
    SeededImpalaConfig,
    SeedEnsembleConfig,
    impala,
    model_per_episode,
    seed_ensemble,
    seeded_impala,
)
from expedition.environments import DmEnvBatch, EnvironmentSpec
from expedition.exploration import Minibatch
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, SkipMLP, policy_head
from expedition.runtime import named_key
from expedition.runtime.actor import Actor, actor_functions
from expedition.runtime.parameters import Versioned
from expedition.runtime.unroll import abstract_trajectory
from experiments.sweep import SettingsError, command

HIDDEN = (64, 64)  # widths of IMPALA's networks, seeded or not, but with replay
ADAM = ImpalaConfig(reduction="mean", max_abs_reward=None, optimizer="adam", learning_rate=3e-3)


class Player(NamedTuple):
    """An agent, and the number of actions between two updates."""

    agent: Agent
    unroll: int


def _impala(spec: EnvironmentSpec, lstm: bool) -> Player:
    core = LSTMCore(32) if lstm else None
    network = ActorCritic(MLPTorso(HIDDEN), policy_head(spec.action), core)
    return Player(impala(ADAM, spec, network, num_updates=None), unroll=32)


def _seeded_impala(spec: EnvironmentSpec, lstm: bool) -> Player:
    """One agent that acts by another of its 8 members in each episode; V-trace knows by which."""
    _refuse_memory("seeded_impala", lstm)
    config = SeededImpalaConfig(
        num_members=8,
        prior_scale=1.0,
        temperature=0.05,
        impala=replace(ADAM, global_norm_clip=1e3),  # no gradient is clipped
    )
    network = nn.Sequential(
        [MLPTorso(HIDDEN), nn.Dense(config.num_outputs(spec.action.num_values))]
    )
    agent = seeded_impala(config, spec, network, num_updates=None)
    return Player(model_per_episode(agent, config.num_members), unroll=32)


def _replayed_impala(spec: EnvironmentSpec, lstm: bool) -> Player:
    """Seeded IMPALA with replay: its members fit action values to targets of what was seen."""
    _refuse_memory("replayed_impala", lstm)
    unroll = 10
    config = SeededImpalaConfig(
        num_members=8,
        prior_scale=1.0,
        noise_variance=1e-4,
        temperature=0.01,
        passes=4,
        replay=1_000,
        minibatch=Minibatch(16),
        # With λ = 1 targets hold the noise of all later rewards of an unroll (results/bsuite).
        impala=replace(ADAM, lambda_=0.0),
    )
    network = SkipMLP(spec.action.num_values)
    agent = seeded_impala(config, spec, network, num_updates=None, unroll_length=unroll)
    return Player(model_per_episode(agent, config.num_members), unroll)


def _seed_td(spec: EnvironmentSpec, lstm: bool) -> Player:
    """One agent that acts by another of its 20 seeds in each episode: bootstrapped DQN."""
    _refuse_memory("seed_td", lstm)
    config = SeedEnsembleConfig(
        num_models=20, minibatch=Minibatch(128), steps=2, target_period=4, capacity=10_000
    )
    agent = seed_ensemble(config, spec, SkipMLP(spec.action.num_values))
    return Player(model_per_episode(agent, config.num_models), unroll=4)


def _refuse_memory(agent: str, lstm: bool) -> None:
    if lstm:
        raise SettingsError(f"--lstm was given for {agent}; only impala has a memory")


AGENTS: dict[str, Callable[[EnvironmentSpec, bool], Player]] = {
    "impala": _impala,
    "replayed_impala": _replayed_impala,
    "seed_td": _seed_td,
    "seeded_impala": _seeded_impala,
}
"""An agent is known to the command by its line here."""


@dataclass(frozen=True)
class Config:
    """What to run, or to score."""

    id: tuple[str, ...] = ("catch/0",)
    """bsuite's names of settings of environments."""
    agent: str = "impala"
    """impala, replayed_impala, seed_td or seeded_impala."""
    lstm: bool = False
    """Whether IMPALA has a memory."""
    episodes: int | None = None
    """At most; None: as many as bsuite asks for, without which its scores are others."""
    seed: int = 0
    """Names every random choice of the agent; the environments have bsuite's seeds, and where it
    gives none (catch, deep_sea_stochastic, cartpole_swingup), chance."""
    out: Path = Path("runs/bsuite")
    """Where the agents' folders of CSVs are."""
    score: bool = False
    """Prints the scores of what is in the agent's folder; nothing is run."""

    def __post_init__(self) -> None:
        if self.agent not in AGENTS:
            raise ValueError(f"agent is {self.agent!r}; expected one of {[*AGENTS]}")
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"episodes is {self.episodes}; expected at least 1")

    @property
    def folder(self) -> Path:
        """The agent's."""
        return self.out / (f"{self.agent}_lstm" if self.lstm else self.agent)


def require() -> Any:
    """bsuite, or an error of one line."""
    try:
        return importlib.import_module("bsuite")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; bsuite needs it: pip install '.[bsuite]'"
        ) from error


def play(config: Config, bsuite_id: str) -> int:
    """Runs the agent on one id; returns the number of actions that it took.

    Raises:
        SettingsError: bsuite has no such id, or its CSV is there.
    """
    bsuite = require()
    if bsuite_id not in bsuite.sweep.SWEEP:
        near = difflib.get_close_matches(bsuite_id, bsuite.sweep.SWEEP, cutoff=0)
        raise SettingsError(
            f"id {bsuite_id!r} was given, which bsuite does not have; try {', '.join(near)}"
        )
    try:
        environment = bsuite.load_and_record_to_csv(bsuite_id, str(config.folder))
    except ValueError as error:  # it overwrites none
        raise SettingsError(
            f"{config.folder} has a CSV of {bsuite_id}; expected none: move it, or give another "
            "--out"
        ) from error
    batch = DmEnvBatch([environment])
    asked = bsuite.sweep.EPISODES[bsuite_id]
    episodes = min(config.episodes or asked, asked)
    player = AGENTS[config.agent](batch.spec, config.lstm)
    key = named_key(jax.random.key(config.seed), "bsuite", bsuite_id)
    return _train(player, batch, episodes, key)


def _train(player: Player, batch: DmEnvBatch, episodes: int, key: jax.Array) -> int:
    """Acts and learns in turns: no thread, no lag."""
    agent = player.agent
    state = jax.jit(agent.init)(named_key(key, "init"))
    update = jax.jit(agent.update, donate_argnums=0)
    actor = Actor(
        actor_functions(agent),
        abstract_trajectory(agent, state.params, batch.spec, 1, player.unroll),
        agent.initial_actor_state(1),
        batch,
        lambda unroll: Versioned(unroll or 0, state.params),
        named_key(key, "act"),
    )
    finished = 0
    while finished < episodes:
        unroll = actor.unroll()
        finished += len(unroll.episodes)
        state, _ = update(state, unroll.content)
    return actor.env_steps


def scores(folder: Path) -> dict[str, tuple[float, bool]]:
    """bsuite's score of each experiment in a folder, and whether all its episodes were played.

    Raises:
      SettingsError: there is nothing in the folder.
    """
    require()
    if not any(folder.glob("*.csv")):
        raise SettingsError(f"{folder} has no CSVs to score; expected some: run the agent first")
    load = importlib.import_module("bsuite.logging.csv_load")
    analysis = importlib.import_module("bsuite.experiments.summary_analysis")
    with _old_pandas():
        table = analysis.bsuite_score(load.load_bsuite(str(folder))[0])
    rows = zip(table["bsuite_env"], table["score"], table["finished"], strict=True)
    return {name: (float(score), bool(finished)) for name, score, finished in rows}


@contextmanager
def _old_pandas() -> Iterator[None]:
    """bsuite 0.3.6 appends one series to another, which pandas 2 has forgotten how to."""
    pandas = importlib.import_module("pandas")
    if hasattr(pandas.Series, "append"):
        yield
        return
    pandas.Series.append = lambda self, other: pandas.concat([self, other])
    try:
        yield
    finally:
        del pandas.Series.append


def run(config: Config) -> None:
    """Runs each id, or scores."""
    if config.score:
        for name, (score, finished) in scores(config.folder).items():
            print(f"{name:24} {score:6.3f}{'' if finished else '  (not all episodes)'}")
        return
    for bsuite_id in config.id:
        began = time.perf_counter()
        steps = play(config, bsuite_id)
        print(f"{bsuite_id}: {steps} actions in {time.perf_counter() - began:.0f} s", flush=True)
        jax.clear_caches()
    print(f"results: {config.folder}")


def main() -> None:
    """Parses the flags, runs."""
    command(Config, run, __doc__)


if __name__ == "__main__":
    main()
