"""Diagonal Gaussian policies: independent normal distributions over A action dimensions.

The functions are those of `categorical`, with the same arguments: an agent takes the module. The
environment may clip an action to its bounds; what is stored, and what `log_prob` takes, is the
action as it was sampled.

Example:
    >>> import jax, jax.numpy as jnp
    >>> parameters = GaussianParameters(mean=jnp.zeros((5, 2)), log_std=jnp.zeros((5, 2)))
    >>> action = sample(parameters, jax.random.key(0))
    >>> action.shape, log_prob(parameters, action).shape, entropy(parameters).shape
    ((5, 2), (5,), (5,))
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.losses.rows import at_least_float32

_LOG_2_PI = math.log(2 * math.pi)


class GaussianParameters(NamedTuple):
    """Parameters of a diagonal Gaussian policy."""

    mean: chex.Array  # [..., A]
    log_std: chex.Array  # [..., A] natural logarithm of the standard deviation


def sample(parameters: GaussianParameters, key: chex.PRNGKey) -> chex.Array:
    """Draws an action a = mean + exp(log_std) · z with z ~ N(0, 1).

    Args:
        parameters: mean and log_std, [..., A] each.
        key: a JAX random key.

    Returns:
        [..., A] actions, not clipped.

    Raises:
        AssertionError: if mean and log_std differ in shape or have no action axis.
    """
    mean, log_std = _checked(parameters)
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def log_prob(parameters: GaussianParameters, action: chex.Array) -> chex.Array:
    """Computes log π(a) = -Σ_i ½ ((a_i - mean_i) / std_i)² + log std_i + ½ log 2π.

    Args:
        parameters: mean and log_std, [..., A] each.
        action: [..., A] as it was sampled, before any clipping.

    Returns:
        [...] log-densities, summed over the action dimensions.

    Raises:
        AssertionError: if mean, log_std and action differ in shape or have no action axis.
    """
    mean, log_std = _checked(parameters)
    message = f"action has shape {jnp.shape(action)}, expected {mean.shape}, the shape of mean."
    chex.assert_shape(action, mean.shape, custom_message=message)
    z = (action - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * z**2 + log_std + 0.5 * _LOG_2_PI, axis=-1)


def entropy(parameters: GaussianParameters) -> chex.Array:
    """Computes the differential entropy H(π) = Σ_i log std_i + ½ log 2πe, in nats.

    Args:
        parameters: mean and log_std, [..., A] each.

    Returns:
        [...] entropies, summed over the action dimensions.

    Raises:
        AssertionError: if mean and log_std differ in shape or have no action axis.
    """
    _, log_std = _checked(parameters)
    return jnp.sum(log_std + 0.5 * (_LOG_2_PI + 1), axis=-1)


def mode(parameters: GaussianParameters) -> chex.Array:
    """Returns the most probable action, the mean.

    Args:
        parameters: mean and log_std, [..., A] each.

    Returns:
        [..., A] actions.

    Raises:
        AssertionError: if mean and log_std differ in shape or have no action axis.
    """
    return _checked(parameters)[0]


def _checked(parameters: GaussianParameters) -> GaussianParameters:
    shape = jnp.shape(parameters.mean)
    if not shape:
        raise AssertionError("mean has shape (), expected [..., A].")
    message = (
        f"log_std has shape {jnp.shape(parameters.log_std)}, expected {shape}, the shape of mean: "
        "broadcast a log_std that is shared by all observations."
    )
    chex.assert_shape(parameters.log_std, shape, custom_message=message)
    return GaussianParameters(*at_least_float32(*parameters))
