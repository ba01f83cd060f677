"""What K agents believe together of one unknown MDP, as bundles of pure functions.

A belief is updated in real time from everybody's transitions. An agent acts on a hypothesis made
from it: the sample that its seed names, a fresh sample, the optimistic model or the mean.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from expedition.exploration.planning import MDP
from expedition.exploration.transitions import Transitions


class Beliefs(NamedTuple):
    """A family of beliefs: the prior, its update and the hypotheses to plan in."""

    init: Callable[[jax.Array, int], Any]
    """`init(key, num_agents) -> belief`: the prior; all seeds are functions of the key."""
    update: Callable[[Any, Transitions], Any]
    """`update(belief, transitions) -> belief`."""
    sampled: Callable[[Any, chex.Array], MDP]
    """`sampled(belief, agent) -> MDP`: a posterior sample, a function of belief and seed."""
    resampled: Callable[[Any, jax.Array], MDP]
    """`resampled(belief, key) -> MDP`: a posterior sample that no seed ties to any other."""
    optimistic: Callable[[Any, float], MDP]
    """`optimistic(belief, beta) -> MDP`: mean rewards plus beta standard deviations."""
    mean: Callable[[Any], MDP]
    """`mean(belief) -> MDP`: the posterior mean."""


class KnownGraph(NamedTuple):
    """A deterministic graph, U unknown numbers θ in its rewards.

    The reward of action a in vertex s is `known[s, a] + sum_u θ_u loading[u, s, a]`.
    """

    successor: chex.Array  # [S, A] int
    known: chex.Array  # [S, A]
    loading: chex.Array  # [U, S, A]
    mean: chex.Array  # [U] of θ's prior
    deviation: chex.Array  # [U] of θ's prior
    draw: Callable[[jax.Array], jax.Array]  # key -> θ [U], from the prior

    def rewards(self, theta: chex.Array) -> jax.Array:
        """The rewards `[S, A]` for θ `[U]`."""
        return self.known + jnp.tensordot(theta, self.loading, axes=1)

    def mdp(self, theta: chex.Array) -> MDP:
        """The model for θ `[U]`."""
        return self.with_rewards(self.rewards(theta))

    def with_rewards(self, rewards: chex.Array) -> MDP:
        """The graph with other rewards `[S, A]`."""
        successor = jnp.asarray(self.successor)[..., None]
        return MDP(rewards, successor, jnp.ones(successor.shape, jnp.float32))


class GraphBelief(NamedTuple):
    """What is known of θ."""

    seed_key: jax.Array
    is_known: jax.Array  # [U] bool
    theta: jax.Array  # [U] the true value where it is known


def graph_beliefs(graph: KnownGraph) -> Beliefs:
    """The graph is known but for θ; one traversal of an edge that θ_u pays reveals θ_u to all.

    Source: Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent Reinforcement
    Learning, https://arxiv.org/abs/1802.01282, section 4.

    Raises:
        ValueError: an edge pays several unknown numbers, of which it would reveal the sum only.
    """
    if np.count_nonzero(graph.loading, axis=0).max() > 1:
        raise ValueError("an edge pays several unknown numbers; expected one at most")
    loading = jnp.asarray(graph.loading)
    known = jnp.asarray(graph.known)

    def init(key: jax.Array, num_agents: int) -> GraphBelief:
        del num_agents
        return GraphBelief(key, jnp.zeros(len(loading), bool), jnp.zeros(len(loading)))

    def update(belief: GraphBelief, seen: Transitions) -> GraphBelief:
        load = loading[:, seen.observation, seen.action]  # [U, B]
        shows = (load != 0) & seen.is_valid[None]
        paid = seen.reward - known[seen.observation, seen.action]
        values = paid[None] / jnp.where(shows, load, 1)
        shown = jnp.take_along_axis(values, jnp.argmax(shows, axis=1)[:, None], axis=1)[:, 0]
        is_shown = shows.any(axis=1)
        return belief._replace(
            is_known=belief.is_known | is_shown, theta=jnp.where(is_shown, shown, belief.theta)
        )

    def posterior(belief: GraphBelief, theta: jax.Array) -> MDP:
        return graph.mdp(jnp.where(belief.is_known, belief.theta, theta))

    def sampled(belief: GraphBelief, agent: chex.Array) -> MDP:
        return posterior(belief, graph.draw(jax.random.fold_in(belief.seed_key, agent)))

    def resampled(belief: GraphBelief, key: jax.Array) -> MDP:
        return posterior(belief, graph.draw(key))

    def mean(belief: GraphBelief) -> MDP:
        return posterior(belief, jnp.asarray(graph.mean))

    def optimistic(belief: GraphBelief, beta: float) -> MDP:
        deviation = jnp.where(belief.is_known, 0, jnp.asarray(graph.deviation))
        bonus = beta * jnp.tensordot(deviation, jnp.abs(loading), axes=1)
        return graph.with_rewards(mean(belief).reward + bonus)

    return Beliefs(init, update, sampled, resampled, optimistic, mean)
