"""A model anew for each episode: makes seed TD bootstrapped DQN, for one agent or many.

Source: Osband, Aslanides & Cassirer (2018), Randomized Prior Functions for Deep Reinforcement
Learning, https://arxiv.org/abs/1806.03335, section 3.
"""

from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent
from expedition.environments.interface import FIRST


class EpisodeActor(NamedTuple):
    """Who an agent is, and by which model it acts in the episode."""

    agent: jax.Array  # [B] int32
    model: jax.Array  # [B] int32


def model_per_episode(agent: Agent, num_models: int) -> Agent:
    """The same learner, but agents draw a model at random at the start of each episode.

    Args:
        agent: whose actor state is the number of the model that an agent acts by: of
            `seed_ensemble`, `seed_lsvi` or `seeded_impala`.
        num_models: E, how many there are to draw from.

    Raises:
        ValueError: there is no model.
    """
    if num_models < 1:
        raise ValueError(f"num_models is {num_models}; expected at least 1")

    def initial_actor_state(batch_size: int) -> EpisodeActor:
        return EpisodeActor(jnp.arange(batch_size), jnp.zeros(batch_size, jnp.int32))

    def act(
        params: Any, actor_state: EpisodeActor, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, EpisodeActor]:
        draw_key, act_key = jax.random.split(key)
        keys = jax.vmap(lambda k: jax.random.fold_in(draw_key, k))(actor_state.agent)
        drawn = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_models))(keys)
        model = jnp.where(timestep.step_type == FIRST, drawn, actor_state.model)
        action, extras, _ = agent.act(params, model, timestep, act_key)
        return action, extras, actor_state._replace(model=model)

    def act_greedily(
        params: Any, actor_state: EpisodeActor, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, EpisodeActor]:
        action, _ = agent.act_greedily(params, actor_state.model, timestep)
        return action, actor_state

    return agent._replace(
        initial_actor_state=initial_actor_state, act=act, act_greedily=act_greedily
    )
