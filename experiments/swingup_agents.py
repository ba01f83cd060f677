"""The algorithms of figure 3 and their constants: the default, what is printed, the baseline."""

from dataclasses import dataclass, replace
from typing import Literal

from expedition.agents import (
    Agent,
    DqnConfig,
    SeedEnsembleConfig,
    dqn,
    seed_ensemble,
    without_seeds,
)
from expedition.environments import Swingup
from expedition.environments.swingup import TIME_STEP, Goal
from expedition.exploration import Minibatch
from expedition.networks import SkipMLP
from experiments import swingup_runs

Algorithm = Literal["seed_td", "seed_td_printed", "dqn"]


@dataclass(frozen=True)
class Constants:
    """What the paper gives, and what it leaves open; docs/figures.md says how that was chosen."""

    models: int = 20
    """Models E of the ensemble: one an agent if there are fewer agents, and as many as there are
    agents in a turn if those are more."""
    networks: int = 2
    """Networks of each model; from two on, each learns from the next one's values."""
    prior_scale: float = 6.0
    """Scale of the frozen prior networks."""
    noise_variance: float = 0.01
    """Variance v of the seeds' noise."""
    batch_size: int = 32
    """Data of a gradient step."""
    learning_rate: float = 2e-3
    """Learning rate of Adam."""
    mask_probability: float = 1.0
    """Probability that a model uses a datum at all: below 1, the Bernoulli bootstrap."""
    hidden: tuple[int, ...] = (50, 50)
    """Widths of the networks' layers."""
    push_cost: float = 0.1
    """What an action that pushes costs."""
    start_deviation: float = 0.01
    """Standard deviation of the start's four numbers, which the team shares."""
    position_scale: float = 10.0
    """m; what a position is divided by in the features."""
    speed_scale: float = 4.0
    """What the trained networks multiply the two speeds by; the priors see them as they are."""
    discount: float = 0.99
    """Discount gamma. Open."""
    steps: int = 50
    """Gradient steps of each network in a period, in which each agent acts once. Open."""
    turns: int = 10
    """Parts of the team that act one after the other in a period, models updated between; as many
    as there are agents if they are fewer. Open."""
    target_rate: float = 0.1
    """How far, after each turn, the parameters that targets bootstrap from, and that agents act by,
    are moved towards the newest. Open."""
    double: bool = True
    """Whether the newest parameters choose the action whose value is bootstrapped. Open."""
    bounded: bool = True
    """Whether targets bootstrap from no value that rewards of -0.1 to 1 do not allow. Open."""
    recent_part: float = 0.375
    """Part of a minibatch that is drawn from the newest data. Open."""
    recent_seconds: float = 4.0
    """How old the newest data are at most. Open."""
    rewarded_part: float = 0.25
    """Part of a minibatch that is drawn from data with a positive reward. Open."""
    rewarded_data: int = 20_000
    """How many of these, the newest, are kept. Open."""
    epsilon: float = 0.05
    """Of epsilon-greedy DQN. Open."""

    def __post_init__(self) -> None:
        if self.bounded and not self.discount < 1:
            raise ValueError(f"discount is {self.discount}; expected below 1, or not bounded")
        if min(self.turns, self.models) < 1 or not self.recent_seconds > 0:
            raise ValueError(
                f"turns is {self.turns}, models {self.models} and recent_seconds "
                f"{self.recent_seconds}; expected at least 1 of the first two, and a positive time"
            )
        if self.steps < self.turns or self.steps % self.turns:
            raise ValueError(
                f"{self.steps} steps in {self.turns} turns were given; expected a multiple of them"
            )


def constants_of(algorithm: Algorithm, num_agents: int, constants: Constants) -> Constants:
    """The constants for K agents: no more turns than agents, and as many steps in each turn.

    `seed_td_printed` has its own, all but turns, widths and the task's: what the paper gives, and
    what it leaves open as simple as it can be. A minibatch an agent for every model, targets from
    the newest parameters and without bounds, all data alike.
    """
    turns = min(num_agents, constants.turns)
    if algorithm != "seed_td_printed":
        return replace(constants, turns=turns, steps=turns * max(1, round(constants.steps / turns)))
    return replace(
        constants,
        models=30,
        networks=1,
        prior_scale=3.0,
        noise_variance=0.01,
        mask_probability=1.0,
        batch_size=16,
        learning_rate=1e-3,
        discount=0.99,
        speed_scale=1.0,
        steps=num_agents,
        turns=turns,
        target_rate=1.0,
        double=False,
        bounded=False,
        recent_part=0.0,
        rewarded_part=0.0,
    )


def make_task(goal: Goal, seconds: float, constants: Constants) -> Swingup:
    """The environment."""
    return Swingup(
        goal=goal,
        position_scale=constants.position_scale,
        push_cost=constants.push_cost,
        start_deviation=constants.start_deviation,
        max_steps=swingup_runs.periods(seconds),
    )


def make_agent(
    algorithm: Algorithm,
    num_agents: int,
    constants: Constants,
    seconds: float,
    axis_name: str | None = None,
) -> Agent:
    """An algorithm for K agents that interact for a time; every network has as many gradient steps.

    DQN is one network, so that in all it has 1 / (E H) of the gradient steps of E models of H.

    Args:
      algorithm: its name.
      num_agents: K.
      constants: as `constants_of` gives them.
      seconds: how long they interact; all data fit into the buffer.
      axis_name: the axis of devices that share the models; DQN has one model.
    """
    spec = Swingup().spec
    prior = SkipMLP(spec.action.num_values, constants.hidden)
    network = prior.clone(input_scale=(1, 1, constants.speed_scale, 1, constants.speed_scale, 1))
    learner = SeedEnsembleConfig(
        num_models=num_models(algorithm, num_agents, constants),
        networks=constants.networks,
        prior_scale=constants.prior_scale,
        noise_variance=constants.noise_variance,
        mask_probability=constants.mask_probability,
        discount=constants.discount,
        learning_rate=constants.learning_rate,
        minibatch=Minibatch(
            constants.batch_size,
            constants.recent_part,
            round(num_agents * constants.recent_seconds / TIME_STEP),
            constants.rewarded_part,
            constants.rewarded_data,
        ),
        steps=constants.steps // constants.turns,
        target_rate=constants.target_rate,
        act_by_target=True,
        double=constants.double,
        value_range=_value_range(constants),
        capacity=num_agents * swingup_runs.periods(seconds),
    )
    if algorithm == "dqn":
        return dqn(DqnConfig(constants.epsilon, without_seeds(learner)), spec, network)
    return seed_ensemble(learner, spec, network, prior_network=prior, axis_name=axis_name)


def _value_range(constants: Constants) -> tuple[float, float] | None:
    """The values of pushing for ever and of resting in the goal for ever."""
    if not constants.bounded:
        return None
    return -constants.push_cost / (1 - constants.discount), 1 / (1 - constants.discount)


def num_models(algorithm: Algorithm, num_agents: int, constants: Constants) -> int:
    """E, so that no two agents of a turn do the same for ever; DQN has one."""
    if algorithm == "dqn":
        return 1
    return min(num_agents, max(constants.models, num_agents // constants.turns))
