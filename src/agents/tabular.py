"""Agents that plan in a hypothesis about a tabular MDP, made from beliefs that all share.

Source: Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent Reinforcement
Learning, https://arxiv.org/abs/1802.01282, sections 3 and 4.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.exploration.beliefs import Beliefs
from expedition.exploration.planning import MDP, value_iteration

Strategy = Literal["seed_sampling", "thompson_resampling", "psrl", "concurrent_ucrl"]


@dataclass(frozen=True)
class TabularConfig:
    """How hypotheses are made, and planned in."""

    strategy: Strategy = "seed_sampling"
    """Which hypothesis an agent plans in; see `tabular`."""
    sweeps: int = 50
    """Sweeps of value iteration before each action."""
    discount: float = 1.0
    """Discount gamma per action, in [0, 1]."""
    beta: float = 2.0
    """Optimism of concurrent UCRL, in standard deviations."""
    warm_start: bool = False
    """Whether an agent's sweeps start from its last values rather than from zero."""

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy is {self.strategy!r}; expected one of {get_args(Strategy)}")
        if self.sweeps < 1 or not 0 <= self.discount <= 1 or self.beta < 0:
            raise ValueError(
                f"sweeps is {self.sweeps}, discount {self.discount} and beta {self.beta}; "
                "expected at least 1, a number in [0, 1] and a number that is not negative"
            )


class TabularParams(NamedTuple):
    """The team's beliefs."""

    belief: Any  # what everybody's data say
    prior: Any  # what PSRL's agents act on; None: agents act on the belief


class TabularState(NamedTuple):
    """What the team knows."""

    params: TabularParams


class TabularActor(NamedTuple):
    """Who an agent is, and what it last planned."""

    agent: jax.Array  # [B] int32
    q: jax.Array  # [B, S, A]; with size 0 where plans start anew


def tabular(config: TabularConfig, beliefs: Beliefs, num_agents: int) -> Agent:
    """K agents with shared beliefs; the strategy says which hypothesis each plans in.

    - `seed_sampling`: the sample that the agent's seed names, from the newest belief.
    - `thompson_resampling`: a fresh sample from the newest belief at each action.
    - `psrl`: the sample that the agent's seed names from the prior, for ever.
    - `concurrent_ucrl`: the optimistic model, the same for all.

    Evaluation is greedy in the posterior-mean MDP of all data, after `sweeps` sweeps from zero.
    """

    def hypothesis(belief: Any, agent: jax.Array, key: jax.Array) -> MDP:
        match config.strategy:
            case "seed_sampling" | "psrl":
                return beliefs.sampled(belief, agent)
            case "thompson_resampling":
                return beliefs.resampled(belief, jax.random.fold_in(key, agent))
            case "concurrent_ucrl":
                return beliefs.optimistic(belief, config.beta)

    def init(key: jax.Array) -> TabularState:
        belief = beliefs.init(key, num_agents)
        return TabularState(TabularParams(belief, belief if config.strategy == "psrl" else None))

    def initial_actor_state(batch_size: int) -> TabularActor:
        if batch_size > num_agents:
            raise ValueError(
                f"{batch_size} agents were asked for, of a team made for {num_agents}; "
                "make it with as many"
            )
        like = jax.eval_shape(lambda: beliefs.mean(beliefs.init(jax.random.key(0), num_agents)))
        shape = like.reward.shape if config.warm_start else (0, 0)
        return TabularActor(jnp.arange(batch_size), jnp.zeros((batch_size, *shape)))

    def plan(mdp: MDP, q: jax.Array | None) -> jax.Array:
        return value_iteration(mdp, sweeps=config.sweeps, discount=config.discount, initial=q)

    def act(
        params: TabularParams, actor_state: TabularActor, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, TabularActor]:
        belief = params.belief if params.prior is None else params.prior

        def one(actor: TabularActor, observation: jax.Array) -> tuple[jax.Array, TabularActor]:
            mdp = hypothesis(belief, actor.agent, key)
            if not config.warm_start:
                return jnp.argmax(plan(mdp, None)[observation]), actor
            q = plan(mdp, actor.q)
            return jnp.argmax(q[observation]), actor._replace(q=q)

        action, actor_state = jax.vmap(one)(actor_state, timestep.observation)
        return action, (), actor_state

    def act_greedily(
        params: TabularParams, actor_state: TabularActor, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, TabularActor]:
        q = plan(beliefs.mean(params.belief), None)
        return jnp.argmax(q[timestep.observation], axis=-1), actor_state

    def update(state: TabularState, batch: Trajectory) -> tuple[TabularState, Metrics]:
        belief = beliefs.update(state.params.belief, batch.transitions)
        return TabularState(state.params._replace(belief=belief)), {}

    return Agent(init, initial_actor_state, act, act_greedily, update)
