"""IMPALA: importance-weighted actor-learner architecture, the algorithm's pure half.

Source: Espeholt et al. (2018), IMPALA: Scalable Distributed Deep-RL with Importance Weighted
Actor-Learner Architectures, https://arxiv.org/abs/1802.01561
"""

from expedition.agents.actor_critic import (
    ActorCriticAgent,
    ImpalaConfig,
    ImpalaState,
    make_optimizer,
)
from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.environments.interface import EnvironmentSpec
from expedition.networks.actor_critic import PolicyAndValue


def impala(
    config: ImpalaConfig,
    spec: EnvironmentSpec,
    network: PolicyAndValue,
    *,
    num_updates: int | None,
    axis_name: str | None = None,
) -> Agent:
    """Builds the agent.

    Args:
      config: the algorithm's settings.
      spec: shapes of one observation and one action.
      network: the actor-critic, an `ActorCritic`; its head must fit the action.
      num_updates: updates after which the learning rate has fallen to 0; None: it stays.
      axis_name: the `pmap` axis over which the gradients of the batch's parts are combined.
        The combined gradient is that of the whole batch, whatever the number of devices.

    Returns:
      The agent; its learner state is an `ImpalaState`.
    """
    optimizer = make_optimizer(config, num_updates)
    parts = ActorCriticAgent(config, spec, network, optimizer, axis_name)

    def update(state: ImpalaState, batch: Trajectory) -> tuple[ImpalaState, Metrics]:
        return parts.descend(state, parts.gradient(state.params, batch))

    return parts.bundle(update)
