"""K agents' randomised regressions of linear action values on the data that they share.

For the data (s_j, a_j, r_j, γ_j, s'_j) and an agent with the seed (θ̂, z_1, z_2, ...) the operator

    Tθ = argmin_ϑ (1/v) sum_j (r_j + γ_j max_a Q_θ(s'_j, a) + z_j - Q_ϑ(s_j, a_j))²
                + (1/λ) |ϑ - θ̂|²

is a ridge regression on the values that θ bootstraps, with z_j ~ N(0, v) and θ̂ ~ N(0, λ I). Its
Gram matrix is the same for all agents and all θ. For a given θ, Tθ is a sample from the posterior
of the weights, given the prior N(0, λ I) and observation noise of variance v. Seed LSVI iterates T
from zero, seed TD makes small steps towards it from its last estimate.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, sections 3.1 and 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.exploration.planning import MDP, value_iteration
from expedition.exploration.seeds import Seeds, gaussian, gaussian_of_all, make_seeds
from expedition.exploration.transitions import Transitions


@dataclass(frozen=True)
class RegressionConfig:
    """The model that the regressions assume; all open in the paper."""

    noise_variance: float = 0.01
    """Variance v of a target around its mean."""
    prior_variance: float = 1.0
    """Variance λ of each weight."""
    discount: float = 1.0
    """Discount gamma per action, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("noise_variance", "prior_variance"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount is {self.discount}; expected a number in [0, 1]")


class Regression(NamedTuple):
    """A family of linear action values and the statistics that it keeps of the data."""

    init: Callable[[jax.Array], Any]
    """`init(key) -> statistics` of no data; all seeds are functions of the key."""
    update: Callable[[Any, Transitions], Any]
    """`update(statistics, transitions) -> statistics`; numbers the data as they come."""
    prior: Callable[[Any, chex.Array], jax.Array]
    """`prior(statistics, agent) -> θ̂`."""
    iterate: Callable[..., jax.Array]
    """`iterate(statistics, agent, θ, steps=N, learning_rate=α)`: `θ ← θ + α (Tθ - θ)`, N times;
    with the agent None: without noise and with θ̂ = 0."""
    values: Callable[[jax.Array, Any], jax.Array]
    """`values(θ, observation) -> Q(observation, ·)`, `[A]`."""
    num_agents: int | None
    """K, how many agents have seeds; None: as many as there are."""

    def team(self, size: int) -> jax.Array:
        """The numbers of agents 0 to size - 1.

        Raises:
            ValueError: so many have no seeds.
        """
        if self.num_agents is not None and size > self.num_agents:
            raise ValueError(
                f"{size} agents were asked for, of a regression made for {self.num_agents}; "
                "make it with as many"
            )
        return jnp.arange(size)


class CellStatistics(NamedTuple):
    """Sums over the data of each cell (s, a)."""

    seeds: Seeds
    prior: jax.Array  # [K, S, A] θ̂, drawn once: to draw it at each use took most of the time
    size: jax.Array  # [] int32, number of data
    visits: jax.Array  # [S, A]
    reward: jax.Array  # [S, A] sum of r_j
    noise: jax.Array  # [S, A, K] sum of z_kj
    successor: jax.Array  # [S, A, B] int32, those seen; -1: free
    continued: jax.Array  # [S, A, B] sum of γ_j that led there


def one_hot_regression(
    config: RegressionConfig,
    num_states: int,
    num_actions: int,
    num_agents: int,
    *,
    max_successors: int = 1,
) -> Regression:
    """One weight per state and action: the regression needs sums per cell only, not the data.

    It keeps 2 K + 2 B + 2 numbers a cell, whatever the number of data.

    Args:
        config: the model.
        num_states: S; an observation is a state's number.
        num_actions: A.
        num_agents: K.
        max_successors: B, the greatest number of different successors of a state and action. One
            more turns the cell's value into NaN.
    """
    shape = (num_states, num_actions)
    v, lambda_ = config.noise_variance, config.prior_variance

    def init(key: jax.Array) -> CellStatistics:
        seeds, agents = make_seeds(key), jnp.arange(num_agents)[:, None]
        prior = gaussian(seeds.prior, agents, jnp.arange(num_states * num_actions))
        return CellStatistics(
            seeds=seeds,
            prior=lambda_**0.5 * prior.reshape(num_agents, *shape),
            size=jnp.int32(0),
            visits=jnp.zeros(shape),
            reward=jnp.zeros(shape),
            noise=jnp.zeros((*shape, num_agents)),
            successor=jnp.full((*shape, max_successors), -1, jnp.int32),
            continued=jnp.zeros((*shape, max_successors)),
        )

    def update(old: CellStatistics, seen: Transitions) -> CellStatistics:
        number = old.size + jnp.cumsum(seen.is_valid, dtype=jnp.int32) - 1
        noise = v**0.5 * gaussian_of_all(old.seeds.noise, num_agents, jnp.maximum(number, 0))
        weight = seen.is_valid.astype(jnp.float32)
        cell = (seen.observation, seen.action)

        def settle(
            places: tuple[jax.Array, jax.Array], row: Transitions
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            successor, continued = places
            at = (row.observation, row.action)
            fits = (successor[at] == row.next_observation) | (successor[at] < 0)
            place = jnp.where(row.is_valid, jnp.argmax(fits), max_successors)
            successor = successor.at[(*at, place)].set(row.next_observation, mode="drop")
            flow = jnp.where(fits.any(), row.discount, jnp.nan)
            return (successor, continued.at[(*at, place)].add(flow, mode="drop")), None

        # One by one: two rows may need the same free place.
        places = old.successor, old.continued
        (successor, continued), _ = jax.lax.scan(settle, places, seen)
        return old._replace(
            size=number[-1] + 1,
            visits=old.visits.at[cell].add(weight),
            reward=old.reward.at[cell].add(jnp.where(seen.is_valid, seen.reward, 0)),
            noise=old.noise.at[cell].add(weight[:, None] * noise),
            successor=successor,
            continued=continued,
        )

    def prior(statistics: CellStatistics, agent: chex.Array) -> jax.Array:
        # An agent beyond K gets NaN, not what is another's.
        return statistics.prior.at[agent].get(mode="fill", fill_value=jnp.nan)

    def iterate(
        statistics: CellStatistics,
        agent: chex.Array | None,
        theta: jax.Array,
        *,
        steps: int,
        learning_rate: float = 1.0,
    ) -> jax.Array:
        # The Gram matrix is diagonal: T is a Bellman backup in an MDP that leaks towards θ̂.
        precision = statistics.visits / v + 1 / lambda_
        reward = statistics.reward / v
        if agent is not None:
            noise = statistics.noise.at[..., agent].get(mode="fill", fill_value=jnp.nan)
            reward += noise / v + prior(statistics, agent) / lambda_
        leaking = statistics.continued / v / precision[..., None]
        mdp = MDP(reward / precision, jnp.maximum(statistics.successor, 0), leaking)
        return value_iteration(
            mdp, sweeps=steps, discount=config.discount, step_size=learning_rate, initial=theta
        )

    return Regression(init, update, prior, iterate, lambda theta, state: theta[state], num_agents)


class LinearStatistics(NamedTuple):
    """The newest C data, in a ring."""

    seeds: Seeds
    size: jax.Array  # [] int32, number of data ever
    features: jax.Array  # [C, d] of (s_j, a_j)
    reward: jax.Array  # [C]
    discount: jax.Array  # [C]
    next_features: jax.Array  # [C, A, d] of (s'_j, ·)


def linear_regression(
    config: RegressionConfig,
    features: Callable[[Any], jax.Array],
    num_features: int,
    num_actions: int,
    capacity: int,
) -> Regression:
    """Any features: ridge regression, one Cholesky factor for all agents and all θ.

    Keeps the newest `capacity` data, the same for all agents, so that one Gram matrix serves all
    who act at an instant.

    Args:
        config: the model.
        features: observation -> φ(observation, ·), `[A, d]`; `Q_θ(s, a) = θᵀ φ(s, a)`.
        num_features: d.
        num_actions: A.
        capacity: C, the number of data that are kept, at least as many as an update brings.
    """
    v, lambda_ = config.noise_variance, config.prior_variance

    def init(key: jax.Array) -> LinearStatistics:
        return LinearStatistics(
            seeds=make_seeds(key),
            size=jnp.int32(0),
            features=jnp.zeros((capacity, num_features)),
            reward=jnp.zeros(capacity),
            discount=jnp.zeros(capacity),
            next_features=jnp.zeros((capacity, num_actions, num_features)),
        )

    def update(old: LinearStatistics, seen: Transitions) -> LinearStatistics:
        if len(seen.action) > capacity:
            raise ValueError(
                f"{len(seen.action)} transitions were given; expected at most the capacity, "
                f"{capacity}: keep more data, or give them in several calls"
            )
        size = old.size + jnp.cumsum(seen.is_valid, dtype=jnp.int32)
        row = jnp.where(seen.is_valid, (size - 1) % capacity, capacity)
        phi = jax.vmap(features)(seen.observation)[jnp.arange(len(row)), seen.action]
        return old._replace(
            size=size[-1],
            features=old.features.at[row].set(phi, mode="drop"),
            reward=old.reward.at[row].set(seen.reward, mode="drop"),
            discount=old.discount.at[row].set(seen.discount, mode="drop"),
            next_features=old.next_features.at[row].set(
                jax.vmap(features)(seen.next_observation), mode="drop"
            ),
        )

    def prior(statistics: LinearStatistics, agent: chex.Array) -> jax.Array:
        weights = jnp.arange(num_features)
        return lambda_**0.5 * gaussian(statistics.seeds.prior, agent, weights)

    def iterate(
        statistics: LinearStatistics,
        agent: chex.Array | None,
        theta: jax.Array,
        *,
        steps: int,
        learning_rate: float = 1.0,
    ) -> jax.Array:
        # From the rows each time: a running sum would keep the rounding of all rows ever lost.
        gram = _product(statistics.features.T, statistics.features)
        precision = gram / v + jnp.eye(num_features) / lambda_
        factor = jax.scipy.linalg.cho_factor(precision)
        pull, noise = jnp.zeros(num_features), jnp.zeros(capacity)
        if agent is not None:
            age = (statistics.size - 1 - jnp.arange(capacity)) % capacity  # of a row's datum
            number = jnp.maximum(statistics.size - 1 - age, 0)
            noise = v**0.5 * gaussian(statistics.seeds.noise, agent, number)
            pull = prior(statistics, agent) / lambda_

        def step(theta: jax.Array, _: None) -> tuple[jax.Array, None]:
            bootstrap = jnp.max(_product(statistics.next_features, theta), axis=-1)
            target = statistics.reward + config.discount * statistics.discount * bootstrap + noise
            # A row without datum has no features, so its target counts for nothing.
            solution = jax.scipy.linalg.cho_solve(
                factor, _product(statistics.features.T, target) / v + pull
            )
            return theta + learning_rate * (solution - theta), None

        return jax.lax.scan(step, theta, length=steps)[0]

    def values(theta: jax.Array, observation: Any) -> jax.Array:
        return _product(features(observation), theta)

    return Regression(init, update, prior, iterate, values, None)


# Some accelerators would round the factors to 10 bits by default.
_product = partial(jnp.matmul, precision="highest")
