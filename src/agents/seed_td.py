"""Linear seed TD: each agent follows its own randomised temporal differences on shared data.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, section 3.2.
"""

from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.exploration.regression import Regression


class SeedTdState(NamedTuple):
    """What the team knows."""

    params: Any  # the regression's statistics


class SeedTdActor(NamedTuple):
    """Who an agent is and what it has learnt."""

    agent: jax.Array  # [B] int32
    learnt: jax.Array  # [B, ...] θ_k - θ̂_k


def linear_seed_td(
    regression: Regression, *, steps: int, learning_rate: float, evaluation_steps: int = 1000
) -> Agent:
    """K agents; before each action an agent makes N gradient steps from its last estimate.

    With the loss `L(θ) = (1/v) sum_j (r_j + γ_j max_a Q_{θ⁻}(s'_j, a) + z_kj - Q_θ(s_j, a_j))² +
    (1/λ) |θ - θ̂_k|²` of all data and θ⁻ the last iterate, a step is `θ ← θ - α A⁻¹ ∇L(θ) / 2`,
    where A, half the Hessian, is the Gram matrix over v plus I / λ. That is `θ ← θ + α (T_k θ - θ)`
    with the operator of `exploration.regression`. A plain gradient of an often visited cell is
    larger by its number of visits, so that no α would be both stable there and fast elsewhere.

    Args:
        regression: the values' features, and the model that the losses assume.
        steps: N, gradient steps before each action.
        learning_rate: α, in (0, 1].
        evaluation_steps: steps from zero, with α = 1, without noise and prior, after which an
            evaluation is greedy; at least as many as rewards are far away.

    Raises:
        ValueError: an argument is out of its range.
    """
    if min(steps, evaluation_steps) < 1 or not 0 < learning_rate <= 1:
        raise ValueError(
            f"steps is {steps}, evaluation_steps {evaluation_steps} and learning_rate "
            f"{learning_rate}; expected at least 1 of each, and a number in (0, 1]"
        )

    def init(key: jax.Array) -> SeedTdState:
        return SeedTdState(regression.init(key))

    def initial_actor_state(batch_size: int) -> SeedTdActor:
        like = jax.eval_shape(lambda: regression.prior(regression.init(jax.random.key(0)), 0))
        return SeedTdActor(regression.team(batch_size), jnp.zeros((batch_size, *like.shape)))

    def act(
        params: Any, actor_state: SeedTdActor, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, SeedTdActor]:
        del key  # all randomness is the seed's

        def one(actor: SeedTdActor, observation: Any) -> tuple[jax.Array, jax.Array]:
            prior = regression.prior(params, actor.agent)
            theta = regression.iterate(
                params,
                actor.agent,
                prior + actor.learnt,
                steps=steps,
                learning_rate=learning_rate,
            )
            return jnp.argmax(regression.values(theta, observation)), theta - prior

        action, learnt = jax.vmap(one)(actor_state, timestep.observation)
        return action, (), actor_state._replace(learnt=learnt)

    def act_greedily(
        params: Any, actor_state: SeedTdActor, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, SeedTdActor]:
        zero = jnp.zeros(actor_state.learnt.shape[1:])
        theta = regression.iterate(params, None, zero, steps=evaluation_steps)
        values = jax.vmap(lambda observation: regression.values(theta, observation))
        return jnp.argmax(values(timestep.observation), axis=-1), actor_state

    def update(state: SeedTdState, batch: Trajectory) -> tuple[SeedTdState, Metrics]:
        return SeedTdState(regression.update(state.params, batch.transitions)), {}

    return Agent(init, initial_actor_state, act, act_greedily, update)
