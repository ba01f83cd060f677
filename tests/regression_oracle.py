"""An agent's randomised regression from its definition: float64, from the raw data."""

import jax
import numpy as np

from expedition.exploration.seeds import gaussian, make_seeds
from expedition.exploration.transitions import Transitions

STATES, ACTIONS = 4, 2


def random_table(num_features, seed=0):
    """φ(s, a) of general features, `[S, A, d]`."""
    return np.random.default_rng(seed).normal(size=(STATES, ACTIONS, num_features))


def one_hot_table():
    """φ(s, a) of one weight per state and action, `[S, A, S A]`."""
    return np.eye(STATES * ACTIONS).reshape(STATES, ACTIONS, -1)


def random_transitions(count, seed=0):
    """Stochastic successors, two an action at most; ends; rows of which about a fifth are none.

    What a row says that is none must not matter, so its reward and discount are NaN.
    """
    rng = np.random.default_rng(seed)
    successors = rng.integers(STATES, size=(STATES, ACTIONS, 2), dtype=np.int32)
    state = rng.integers(STATES, size=count, dtype=np.int32)
    action = rng.integers(ACTIONS, size=count, dtype=np.int32)
    is_valid = rng.random(count) < 0.8
    reward = rng.normal(size=count) + 1
    discount = rng.random(count) < 0.75
    return Transitions(
        observation=state,
        action=action,
        reward=np.where(is_valid, reward, np.nan).astype(np.float32),
        discount=np.where(is_valid, discount, np.nan).astype(np.float32),
        next_observation=successors[state, action, rng.integers(2, size=count)],
        is_valid=is_valid,
    )


def rows(transitions, which):
    """Some of the rows, in order."""
    return Transitions(*(x[which] for x in transitions))


def numbered(transitions):
    """The rows that are data; a datum's number is its place."""
    return rows(transitions, transitions.is_valid)


def prior(key, agent, num_features, config):
    """An agent's own sample of the prior, `[d]`."""
    draw = gaussian(make_seeds(key).prior, agent, np.arange(num_features))
    return config.prior_variance**0.5 * np.asarray(draw, np.float64)


def noise(key, agent, numbers, config):
    """What an agent adds to the targets of the data with these numbers."""
    draw = gaussian(make_seeds(key).noise, agent, np.asarray(numbers))
    return config.noise_variance**0.5 * np.asarray(draw, np.float64)


def targets(transitions, table, theta, config):
    """What θ says that the data are worth, without noise."""
    bootstrap = (table[transitions.next_observation] @ theta).max(axis=1)
    discount = np.asarray(transitions.discount, np.float64)
    return transitions.reward + config.discount * discount * bootstrap


def posterior(transitions, table, theta, config):
    """Mean and covariance of the weights, given the targets that θ makes."""
    phi = table[transitions.observation, transitions.action]
    precision = phi.T @ phi / config.noise_variance + np.eye(phi.shape[1]) / config.prior_variance
    covariance = np.linalg.inv(precision)
    y = targets(transitions, table, theta, config)
    return covariance @ phi.T @ y / config.noise_variance, covariance


def operator(transitions, table, config, key, agent, first_number=0):
    """T of an agent for data that are all valid, or of none for the agent None: θ -> Tθ."""
    phi = table[transitions.observation, transitions.action]
    num_data, num_features = phi.shape
    z, pull = np.zeros(num_data), np.zeros(num_features)
    if agent is not None:
        z = noise(key, agent, first_number + np.arange(num_data), config)
        pull = prior(key, agent, num_features, config)
    # Least squares whose first rows are the data and whose last are the pull towards the prior.
    weight = np.repeat(
        [config.noise_variance**-0.5, config.prior_variance**-0.5], [num_data, num_features]
    )
    design = weight[:, None] * np.concatenate([phi, np.eye(num_features)])

    def apply(theta):
        y = np.concatenate([targets(transitions, table, theta, config) + z, pull])
        return np.linalg.lstsq(design, weight * y, rcond=None)[0]

    return apply


def iterate(operator, horizon, theta):
    """θ_0 of `horizon` regressions that start from θ."""
    for _ in range(horizon):
        theta = operator(theta)
    return theta


def assert_gaps(values, least=1e-3):
    """The best action is better than the second by so much that rounding does not choose."""
    ordered = np.sort(values, axis=-1)
    assert np.min(ordered[..., -1] - ordered[..., -2]) > least


def jitted(regression):
    """The regression with its init and update compiled."""
    return regression._replace(init=jax.jit(regression.init), update=jax.jit(regression.update))
