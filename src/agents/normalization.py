"""Observations brought to mean 0 and variance 1, by what the actors have seen until now.

Features of a hundredth and of ten on one network are learnt from at very different speeds. Source:
Andrychowicz et al. (2021), What Matters for On-Policy Deep Actor-Critic Methods?,
https://arxiv.org/abs/2006.05990.

Images of a game differ little from each other: as they are, a third to a half of a new network's
features are the same for all of them (docs/environments.md).
"""

from typing import Any, NamedTuple

import chex
import dm_env
import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.environments.interface import EnvironmentSpec

BOUND = 10.0  # standard deviations that an observation is clipped at


class Statistics(NamedTuple):
    """Number, mean and deviation of all observations, and of one of mean 0, deviation 1 before."""

    number: jax.Array  # []
    mean: jax.Array  # [...]
    deviation: jax.Array  # [...]


class NormalizedParams(NamedTuple):
    """The agent's parameters, and by what actors normalize what they see."""

    agent: Any
    mean: jax.Array  # [...]
    deviation: jax.Array  # [...]

    def normalized(self, observation: chex.Array) -> jax.Array:
        """`[..., *observation]`, of a mean around 0 and a variance around 1."""
        deviation = self.deviation
        if deviation.ndim == 3:  # pixels have one unit, and some of them hardly ever change
            deviation = jnp.sqrt(jnp.mean(jnp.square(deviation), keepdims=True))
        leading = tuple(range(observation.ndim - self.mean.ndim))
        mean, deviation = (jnp.expand_dims(x, leading) for x in (self.mean, deviation))
        return jnp.clip((observation - mean) / (deviation + 1e-6), -BOUND, BOUND)


class NormalizedState(NamedTuple):
    """The agent's own state, and what was seen."""

    agent: Any
    statistics: Statistics

    @property
    def params(self) -> NormalizedParams:
        """What actors need: the agent's parameters, and how observations are normalized."""
        _, mean, deviation = self.statistics
        return NormalizedParams(self.agent.params, mean, deviation)


def normalize_observations(
    agent: Agent, spec: EnvironmentSpec, *, axis_name: str | None = None
) -> Agent:
    """The agent, which sees each feature in standard deviations from its mean.

    All entries of an image `[height, width, channels]` have one deviation, the root of their mean
    variance. Both are of all observations that the learner has had, each as often as it came, this
    batch's included; actors use those that came with their parameters. So the policy that acted and
    the one that learns see alike but for a lag, as they do by parameters.

    Args:
        agent: whose `update` takes trajectories.
        spec: shape of one observation.
        axis_name: the `pmap` axis over whose devices the batch is divided.

    Raises:
        ValueError: the agent's actors send something else than trajectories, as A3C's do.
    """
    if agent.digest is not None:
        raise ValueError(
            "an agent whose actors send no trajectories, such as A3C's, was given; expected one "
            "that learns from trajectories, or observations as they are"
        )
    shape = spec.observation.shape

    def init(key: jax.Array) -> NormalizedState:
        nothing = Statistics(jnp.float32(1), jnp.zeros(shape), jnp.ones(shape))
        return NormalizedState(agent.init(key), nothing)

    def seen(params: NormalizedParams, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
        return timestep._replace(observation=params.normalized(timestep.observation))

    def act(
        params: NormalizedParams, actor_state: Any, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, Any]:
        return agent.act(params.agent, actor_state, seen(params, timestep), key)

    def act_greedily(
        params: NormalizedParams, actor_state: Any, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, Any]:
        return agent.act_greedily(params.agent, actor_state, seen(params, timestep))

    def update(state: NormalizedState, batch: Trajectory) -> tuple[NormalizedState, Metrics]:
        observation = batch.observation.reshape(-1, *shape)
        state = state._replace(statistics=_extended(state.statistics, observation, axis_name))
        batch = batch._replace(observation=state.params.normalized(batch.observation))
        inner, metrics = agent.update(state.agent, batch)
        return state._replace(agent=inner), metrics

    return agent._replace(init=init, act=act, act_greedily=act_greedily, update=update)


def _extended(old: Statistics, x: chex.Array, axis_name: str | None) -> Statistics:
    """Adds N more observations `[N, ...]` on each device.

    Source: Chan, Golub & LeVeque (1983), Algorithms for Computing the Sample Variance,
    https://doi.org/10.1080/00031305.1983.10483115.
    """

    def mean_of(x: chex.Array) -> jax.Array:
        mean = jnp.mean(x, axis=0)
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name)

    x = x.astype(jnp.float32)
    more = jnp.float32(len(x) if axis_name is None else len(x) * jax.lax.axis_size(axis_name))
    mean = mean_of(x)
    number, difference = old.number + more, mean - old.mean
    within = old.number * old.deviation**2 + more * mean_of(jnp.square(x - mean[None]))
    between = difference**2 * old.number * more / number
    deviation = jnp.sqrt((within + between) / number)
    return Statistics(number, old.mean + difference * more / number, deviation)
