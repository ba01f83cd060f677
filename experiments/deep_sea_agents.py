"""The algorithms that dive: how each is made for a sea, K agents, and its constants."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from expedition.agents import (
    Agent,
    DqnConfig,
    ImpalaConfig,
    SeededImpalaConfig,
    SeedEnsembleConfig,
    dqn,
    impala,
    model_per_episode,
    seed_ensemble,
    seed_lsvi,
    seeded_impala,
    without_seeds,
)
from expedition.environments import DeepSea
from expedition.exploration import Minibatch, RegressionConfig, one_hot_regression
from expedition.networks import ActorCritic, CellMLP, MLPTorso, policy_head
from experiments.seeded_impala import DEEP_SEA


@dataclass(frozen=True)
class Constants:
    """What is open; docs/deep_sea.md says how it was chosen."""

    models: int = 20
    """Models E of one agent that draws one for each episode; else each agent has a model."""
    prior_scale: float = 1.0
    """Scale of the frozen prior networks."""
    noise_variance: float = 1e-4
    """Variance v of the seeds' noise."""
    discount: float = 0.99
    """Discount gamma of the networks, but of seeded IMPALA's; the regressions have 1."""
    batch_size: int = 128
    """Data of a gradient step."""
    learning_rate: float = 3e-3
    """Learning rate of Adam, for the networks that learn values."""
    updates: int = 5
    """How often the networks learn in an episode, before each of as many equal parts of it."""
    steps: int = 2
    """Gradient steps of each network when it learns."""
    turns: int = 10
    """Parts of a team of networks that act, and are learnt from, one after the other."""
    hidden: tuple[int, ...] = DEEP_SEA.hidden
    """Widths of the networks' layers."""
    epsilon: float = 0.05
    """Of epsilon-greedy DQN."""
    lsvi_prior_variance: float = 1.0
    """Variance lambda of the prior of each weight of LSVI."""
    lsvi_noise_variance: float = 0.01
    """Variance v that LSVI assumes."""
    impala_learning_rate: float = 3e-3
    """Learning rate of IMPALA's Adam."""
    entropy_cost: float = 0.01
    """Of IMPALA."""
    seeded: SeededImpalaConfig = DEEP_SEA.agent
    """Seeded IMPALA's own, those of its command; of its members at most one an agent acts. With
    replay, bootstrapped or not, it has only temperature, averaging and what `impala` says but the
    step size from here."""
    replay_passes: int = 20
    """Gradient steps of each member after an episode, of seeded IMPALA with replay: a member an
    agent, or bootstrapped as many as `models`; with prior, noise and step size as the networks that
    learn values have them."""
    replay_episodes: int = 16
    """Episodes in the minibatch of such a step."""

    def __post_init__(self) -> None:
        for name in ("models", "updates", "steps", "turns", "replay_passes", "replay_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")


class Team(NamedTuple):
    """An algorithm that is ready to dive."""

    agent: Agent
    sea: DeepSea
    unroll: int  # actions between two updates
    at_once: int  # agents that act in the same turn


def make_team(algorithm: str, size: int, agents: int, episodes: int, constants: Constants) -> Team:
    """An algorithm for K agents.

    Args:
        algorithm: a key of `ALGORITHMS`.
        size: N.
        agents: K.
        episodes: of each agent, at most; all data of them fit into the buffer.
        constants: the open ones.

    Raises:
        ValueError: no such algorithm, or parts of an episode or of a team that are not equal.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm {algorithm!r} was given; expected one of {[*ALGORITHMS]}")
    return ALGORITHMS[algorithm](size, agents, episodes, constants)


def _seed_lsvi(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    sea = DeepSea(size, observation="cell")
    return Team(_lsvi(sea, agents, constants), sea, unroll=1, at_once=agents)


def _bootstrapped_lsvi(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    sea = DeepSea(size, observation="cell")
    agent = model_per_episode(_lsvi(sea, constants.models, constants), constants.models)
    return Team(agent, sea, unroll=1, at_once=agents)


def _lsvi(sea: DeepSea, seeds: int, constants: Constants) -> Agent:
    model = RegressionConfig(
        noise_variance=constants.lsvi_noise_variance, prior_variance=constants.lsvi_prior_variance
    )
    return seed_lsvi(one_hot_regression(model, sea.num_cells, 2, seeds), horizon=sea.size)


def _seed_td(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    return _of_networks(size, agents, episodes, constants, models=agents)


def _bootstrapped_dqn(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    team = _of_networks(size, agents, episodes, constants, models=constants.models)
    return team._replace(agent=model_per_episode(team.agent, constants.models))


def _dqn(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    return _of_networks(size, agents, episodes, constants, models=1, is_dqn=True)


def _of_networks(
    size: int,
    agents: int,
    episodes: int,
    constants: Constants,
    *,
    models: int,
    is_dqn: bool = False,
) -> Team:
    sea = DeepSea(size, observation="cell")
    turns = min(agents, constants.turns)
    if size % constants.updates or agents % turns:
        raise ValueError(
            f"{constants.updates} updates in an episode of {size} steps and {turns} turns of "
            f"{agents} agents were given; expected divisors"
        )
    learner = SeedEnsembleConfig(
        num_models=models,
        prior_scale=constants.prior_scale,
        noise_variance=constants.noise_variance,
        discount=constants.discount,
        learning_rate=constants.learning_rate,
        minibatch=Minibatch(constants.batch_size),
        steps=constants.steps,
        capacity=agents * episodes * size,
    )
    network = CellMLP(sea.num_cells, 2, constants.hidden)
    agent = (
        dqn(DqnConfig(constants.epsilon, without_seeds(learner)), sea.spec, network)
        if is_dqn
        else seed_ensemble(learner, sea.spec, network)
    )
    return Team(agent, sea, unroll=size // constants.updates, at_once=agents // turns)


def _impala(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    sea = DeepSea(size)
    config = ImpalaConfig(
        discount=constants.discount,
        entropy_cost=constants.entropy_cost,
        reduction="mean",
        max_abs_reward=None,
        optimizer="adam",
        learning_rate=constants.impala_learning_rate,
    )
    network = ActorCritic(MLPTorso(constants.hidden), policy_head(sea.spec.action))
    agent = impala(config, sea.spec, network, num_updates=episodes)
    return Team(agent, sea, unroll=size, at_once=agents)


def _seeded_impala(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    sea = DeepSea(size, observation="cell")
    members = min(agents, constants.seeded.num_members)
    config = replace(constants.seeded, num_members=members)
    network = CellMLP(sea.num_cells, config.num_outputs(2), constants.hidden)
    agent = seeded_impala(config, sea.spec, network, num_updates=episodes, unroll_length=size)
    return Team(agent, sea, unroll=size, at_once=agents)


def _replayed_impala(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    return _of_members(size, agents, episodes, constants, members=agents)


def _bootstrapped_impala(size: int, agents: int, episodes: int, constants: Constants) -> Team:
    team = _of_members(size, agents, episodes, constants, members=constants.models)
    return team._replace(agent=model_per_episode(team.agent, constants.models))


def _of_members(
    size: int, agents: int, episodes: int, constants: Constants, *, members: int
) -> Team:
    sea = DeepSea(size, observation="cell")
    config = replace(
        constants.seeded,
        num_members=members,
        prior_scale=constants.prior_scale,
        noise_variance=constants.noise_variance,
        passes=constants.replay_passes,
        replay=agents * episodes,
        minibatch=Minibatch(constants.replay_episodes),
        impala=replace(constants.seeded.impala, learning_rate=constants.learning_rate),
    )
    network = CellMLP(sea.num_cells, config.num_outputs(2), constants.hidden)
    agent = seeded_impala(config, sea.spec, network, num_updates=None, unroll_length=size)
    return Team(agent, sea, unroll=size, at_once=agents)


Maker = Callable[[int, int, int, Constants], Team]
ALGORITHMS: dict[str, Maker] = {
    "seed_lsvi": _seed_lsvi,
    "bootstrapped_lsvi": _bootstrapped_lsvi,
    "seed_td": _seed_td,
    "bootstrapped_dqn": _bootstrapped_dqn,
    "dqn": _dqn,
    "impala": _impala,
    "seeded_impala": _seeded_impala,
    "replayed_impala": _replayed_impala,
    "bootstrapped_impala": _bootstrapped_impala,
}
"""An algorithm is known to the sweep by its line here."""
