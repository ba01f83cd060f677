"""A3C: actors compute gradients, by the parameters that they acted by, and a learner applies them.

Source: Mnih et al. (2016), Asynchronous Methods for Deep Reinforcement Learning,
https://arxiv.org/abs/1602.01783, algorithm S3, with the batch of environments of each actor in
place of one.
"""

import jax
import jax.numpy as jnp

from expedition.agents.actor_critic import (
    ActorCriticAgent,
    Gradient,
    ImpalaConfig,
    ImpalaState,
    make_optimizer,
)
from expedition.agents.agent import Agent, Metrics
from expedition.environments.interface import EnvironmentSpec
from expedition.networks.actor_critic import ActorCritic


def a3c(
    config: ImpalaConfig,
    spec: EnvironmentSpec,
    network: ActorCritic,
    *,
    num_updates: int | None,
    axis_name: str | None = None,
) -> Agent:
    """Builds the agent.

    What it learns from is its own policy's, so `config.correction` changes nothing; stale is the
    gradient, by as many updates as the learner has made since the actor took its parameters.

    Args:
      config: the algorithm's settings, those of IMPALA.
      spec: shapes of one observation and one action.
      network: the actor-critic; its head must fit the action.
      num_updates: updates after which the learning rate has fallen to 0; None: it stays.
      axis_name: the `pmap` axis over which gradients of several actors are combined.
    """
    optimizer = make_optimizer(config, num_updates)
    parts = ActorCriticAgent(config, spec, network, optimizer, axis_name)

    def update(state: ImpalaState, gradients: Gradient) -> tuple[ImpalaState, Metrics]:
        combine = jnp.sum if config.reduction == "sum" else jnp.mean
        gradient, losses = jax.tree.map(
            lambda x: combine(x, axis=0), (gradients.gradient, gradients.losses)
        )
        found = Gradient(gradient, losses, jnp.mean(gradients.behaviour_kl))
        return parts.descend(state, found)

    return parts.bundle(update, digest=parts.gradient)
