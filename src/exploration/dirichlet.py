"""What K agents believe of an unknown dense MDP: Dirichlet transitions, Gaussian mean rewards.

The beliefs are exact and conjugate. With the prior α_0 and n(s, a, s') transitions seen

    p(· | s, a) ~ Dirichlet(α_t(s, a, ·)),    α_t(s, a, s') = α_0 + n(s, a, s'),
    r(s, a) ~ N(μ_t, σ_t²),    1 / σ_t² = 1 / λ + n / v,    μ_t = σ_t² (μ_0 / λ + sum_j r_j / v)

where n and r_j are the number and the rewards of the visits to (s, a). Agent k's seed turns this
belief into a sample from it:

- *Exponential-Dirichlet* transitions: p_k(s' | s, a) is proportional to the sum of the first
  α_t(s, a, s') of agent k's numbers for s, a and s', which are Exp(1).
- *standard-Gaussian* rewards: r_k(s, a) = μ_t + σ_t ζ_k(s, a) with ζ ~ N(0, 1).
- *martingalean-Gaussian* rewards: the mean of the prior sample r̂_k ~ N(μ_0, λ) and of the rewards
  that agent k sees with noise z_kj ~ N(0, v) of its own,
  r_k(s, a) = σ_t² (r̂_k(s, a) / λ + sum_j (r_j + z_kj) / v).

Source: Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent Reinforcement
Learning, https://arxiv.org/abs/1802.01282, section 3.
"""

from typing import Any, Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp

from expedition.exploration.beliefs import Beliefs
from expedition.exploration.planning import MDP
from expedition.exploration.seeds import (
    Seeds,
    exponential,
    exponential_of_all,
    gaussian,
    gaussian_of_all,
    make_seeds,
    uniform,
)
from expedition.exploration.transitions import Transitions

RewardSeed = Literal["standard", "martingalean"]

_CHUNK = 256  # gamma variables drawn together


class DirichletBelief(NamedTuple):
    """Sums over the data, for each state and action."""

    transition_seeds: Seeds
    reward_seeds: Seeds
    size: jax.Array  # [] int32, number of data
    alpha: jax.Array  # [S, A, S] α_t; float32 counts to 2^24
    reward: jax.Array  # [S, A] mean of r_j; their sum would lose a push's cost after 1e5 visits
    visits: jax.Array  # [S, A] n
    weight: jax.Array  # [K, S, A, S] sums of agent k's exponentials; what it reads is contiguous
    noise: jax.Array  # [K, S, A] sum of z_kj; with size 0 for standard-Gaussian rewards
    seen: jax.Array  # [S A S] int32, flat numbers of the (s, a, s') seen, by first sight
    num_seen: jax.Array  # [] int32, how many there are


def dirichlet_beliefs(
    num_states: int,
    num_actions: int,
    *,
    concentration: float = 1.0,
    reward_mean: float = 0.0,
    reward_variance: float = 1.0,
    noise_variance: float = 1.0,
    rewards: RewardSeed = "standard",
) -> Beliefs:
    """Any state may follow any other; see the module's docstring.

    The belief keeps K S² A numbers. An update costs O(K) a datum, a sampled model O(S² A). A
    transition that ends an episode has no special meaning.

    Args:
        num_states: S; an observation is a state's number.
        num_actions: A.
        concentration: α_0, an integer of at least 1: so many transitions to each state are as if
            seen.
        reward_mean: μ_0, of each mean reward's prior.
        reward_variance: λ, of each mean reward's prior.
        noise_variance: v, of a reward around its mean; what the belief assumes of it.
        rewards: how seeds turn the rewards' belief into a sample.

    Returns:
        The bundle. Its fresh samples (`resampled`) are exact, too.

    Raises:
        ValueError: there are no states or actions, α_0 is no such integer, a variance is not
            positive or there is no such seed.
    """
    if num_states < 1 or num_actions < 1:
        raise ValueError(
            f"{num_states} states and {num_actions} actions were given; expected at least 1 of each"
        )
    if concentration < 1 or concentration != int(concentration):
        raise ValueError(
            f"concentration is {concentration}; expected an integer, at least 1: a seed sums so "
            "many exponentials"
        )
    if reward_variance <= 0 or noise_variance <= 0:
        raise ValueError(
            f"reward_variance is {reward_variance} and noise_variance {noise_variance}; "
            "expected positive numbers"
        )
    if rewards not in get_args(RewardSeed):
        raise ValueError(f"rewards is {rewards!r}; expected one of {get_args(RewardSeed)}")
    alpha_0, mu_0, lambda_, v = int(concentration), reward_mean, reward_variance, noise_variance
    cells = (num_states, num_actions)
    shape = (*cells, num_states)
    size = num_states * num_actions * num_states

    def init(key: jax.Array, num_agents: int) -> DirichletBelief:
        seeds = [make_seeds(jax.random.fold_in(key, place)) for place in range(2)]
        agent = jnp.arange(num_agents)[:, None]
        weight = _exponentials(seeds[0].prior, agent, size, alpha_0)
        return DirichletBelief(
            transition_seeds=seeds[0],
            reward_seeds=seeds[1],
            size=jnp.int32(0),
            alpha=jnp.full(shape, float(alpha_0)),
            reward=jnp.zeros(cells),
            visits=jnp.zeros(cells),
            weight=weight.reshape(num_agents, *shape),
            noise=jnp.zeros((num_agents if rewards == "martingalean" else 0, *cells)),
            seen=jnp.zeros(size, jnp.int32),
            num_seen=jnp.int32(0),
        )

    def update(old: DirichletBelief, new: Transitions) -> DirichletBelief:
        number = jnp.maximum(old.size + jnp.cumsum(new.is_valid, dtype=jnp.int32) - 1, 0)
        is_datum = new.is_valid.astype(jnp.float32)
        cell = (new.observation, new.action)
        path = (*cell, new.next_observation)
        visits = old.visits.at[cell].add(is_datum)
        surprise = jnp.where(new.is_valid, new.reward - old.reward[cell], 0)
        steps = exponential_of_all(old.transition_seeds.noise, len(old.weight), number)  # [B, K]
        noise = v**0.5 * gaussian_of_all(old.reward_seeds.noise, len(old.noise), number)
        seen, num_seen = _first_sights(old, path, new.is_valid, alpha_0)
        return old._replace(
            size=old.size + jnp.sum(new.is_valid, dtype=jnp.int32),
            alpha=old.alpha.at[path].add(is_datum),
            reward=old.reward.at[cell].add(surprise / jnp.maximum(visits[cell], 1)),
            visits=visits,
            weight=old.weight.at[:, *path].add((is_datum[:, None] * steps).T),
            noise=old.noise.at[:, *cell].add((is_datum[:, None] * noise).T),
            seen=seen,
            num_seen=num_seen,
        )

    def moments(belief: DirichletBelief) -> tuple[jax.Array, jax.Array]:
        """μ_t and σ_t."""
        variance = 1 / (1 / lambda_ + belief.visits / v)
        return variance * (mu_0 / lambda_ + belief.visits * belief.reward / v), jnp.sqrt(variance)

    def model(reward: jax.Array, weight: jax.Array) -> MDP:
        # A product with ones: on CPU, XLA's sum over the last axis takes twice as long. Some
        # accelerators would round the factors to 10 bits by default.
        total = jnp.matmul(weight, jnp.ones(num_states), precision="highest")
        return MDP(reward, None, weight / total[..., None])

    def sampled(belief: DirichletBelief, agent: chex.Array) -> MDP:
        mu, sigma = moments(belief)
        number = jnp.arange(num_states * num_actions).reshape(cells)
        zeta = gaussian(belief.reward_seeds.prior, agent, number)
        if rewards == "standard":
            reward = mu + sigma * zeta
        else:
            # μ_t with r̂_k in place of μ_0 and with the noise of the data.
            reward = mu + sigma**2 * (zeta / lambda_**0.5 + belief.noise[agent] / v)
        return model(reward, belief.weight.at[agent].get(mode="promise_in_bounds"))

    def resampled(belief: DirichletBelief, key: jax.Array) -> MDP:
        mu, sigma = moments(belief)
        streams = iter(jax.random.split(key, 3))
        number = jnp.arange(num_states * num_actions).reshape(cells)
        reward = mu + sigma * gaussian(next(streams), 0, number)
        weight = _exponentials(next(streams), 0, size, alpha_0)
        weight = _redraw_seen(next(streams), belief, weight)
        return model(reward, weight.reshape(shape))

    def optimistic(belief: DirichletBelief, beta: float) -> MDP:
        mu, sigma = moments(belief)
        return model(mu + beta * sigma, belief.alpha)

    def mean(belief: DirichletBelief) -> MDP:
        return optimistic(belief, 0.0)

    return Beliefs(init, update, sampled, resampled, optimistic, mean)


def _exponentials(key: jax.Array, agent: Any, size: int, terms: int) -> jax.Array:
    """Sums of `terms` exponentials each, `[..., size]`; term i of place j has number i size + j."""
    number = jnp.arange(size)
    return sum(
        (exponential(key, agent, number + term * size) for term in range(1, terms)),
        start=exponential(key, agent, number),
    )


def _first_sights(
    belief: DirichletBelief, path: tuple[jax.Array, ...], is_valid: jax.Array, alpha_0: int
) -> tuple[jax.Array, jax.Array]:
    """Appends to the list of the (s, a, s') seen what B rows see for the first time."""
    _, num_actions, num_states = belief.alpha.shape
    flat = (path[0] * num_actions + path[1]) * num_states + path[2]
    is_repeated = jnp.tril((flat[:, None] == flat[None]) & is_valid[None], -1).any(axis=1)
    is_new = is_valid & ~is_repeated & (belief.alpha[path] == alpha_0)
    place = jnp.where(is_new, belief.num_seen + jnp.cumsum(is_new) - 1, belief.seen.size)
    seen = belief.seen.at[place].set(flat, mode="drop")
    return seen, belief.num_seen + jnp.sum(is_new, dtype=jnp.int32)


def _redraw_seen(key: jax.Array, belief: DirichletBelief, weight: jax.Array) -> jax.Array:
    """Replaces the weights `[S A S]` of the (s, a, s') seen by draws from Gamma(α_t).

    Only those: most are never seen, and an exponential costs a seventh of a gamma variable.
    """
    size = min(_CHUNK, weight.size)
    alpha = belief.alpha.ravel()
    # Room for the last chunk to be whole.
    seen = jnp.pad(belief.seen, (0, size))

    def chunk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        start, weight = state
        number = start + jnp.arange(size, dtype=jnp.int32)
        at = jax.lax.dynamic_slice_in_dim(seen, start, size)
        drawn = _gamma(key, alpha[at], number)
        at = jnp.where(number < belief.num_seen, at, weight.size)
        return start + size, weight.at[at].set(drawn, mode="drop")

    return jax.lax.while_loop(
        lambda state: state[0] < belief.num_seen, chunk, (jnp.int32(0), weight)
    )[1]


def _gamma(key: jax.Array, alpha: jax.Array, number: jax.Array) -> jax.Array:
    """Draws Gamma(α) for α ≥ 1, by rejection; each round accepts 95 % or more.

    Source: Marsaglia & Tsang (2000), A Simple Method for Generating Gamma Variables.
    """
    d = alpha - 1 / 3

    def propose(state: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
        stream, drawn, is_drawn = state
        x = gaussian(key, stream, number)
        root = jnp.maximum(1 + x / jnp.sqrt(9 * d), 0)
        cube = root**3  # 0 is rejected, its logarithm is -inf
        log_ratio = x**2 / 2 + d * (1 - cube + jnp.log(cube))
        accepts = jnp.log(uniform(key, stream + 1, number)) < log_ratio
        return stream + 2, jnp.where(is_drawn, drawn, d * cube), is_drawn | accepts

    start = (jnp.int32(0), jnp.zeros(alpha.shape), jnp.zeros(alpha.shape, bool))
    return jax.lax.while_loop(lambda state: ~state[2].all(), propose, start)[1]
