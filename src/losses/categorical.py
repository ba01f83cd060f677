"""Categorical policies: a distribution over A actions, given by its logits.

The functions are those of `diagonal_gaussian`, with the same arguments: an agent takes the module.
An action of logit -∞ is forbidden: it has probability 0 and adds nothing to the entropy.

Derivatives are given, not derived: that of log π(a) is 1{a = b} - π(b), that of the entropy
-π(b) (log π(b) + H). Loss and gradient are 1.2 to 3 times as fast with them (docs/benchmarks.md).

Example:
    >>> import jax, jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    >>> action = sample(logits, jax.random.key(0))
    >>> action.shape, log_prob(logits, action).shape, entropy(logits).shape
    ((2,), (2,), (2,))
    >>> mode(logits)
    Array([0, 1], dtype=int32)
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.losses.rows import at_least_float32


def sample(parameters: chex.Array, key: chex.PRNGKey) -> chex.Array:
    """Draws an action a ~ softmax(logits).

    Args:
        parameters: [..., A] logits.
        key: a JAX random key.

    Returns:
        [...] integers in [0, A).
    """
    return jax.random.categorical(key, _logits(parameters))


def log_prob(parameters: chex.Array, action: chex.Array) -> chex.Array:
    """Computes log π(a) = logit_a - log Σ_b exp(logit_b).

    Args:
        parameters: [..., A] logits.
        action: [...] integers in [0, A). An action ≥ A gives NaN.

    Returns:
        [...] log-probabilities.

    Raises:
        AssertionError: if the action's shape is not that of the logits without A, or if it is not
            an integer.
    """
    logits = _logits(parameters)
    expected = logits.shape[:-1]
    message = f"action has shape {jnp.shape(action)}, expected {expected} of logits {logits.shape}."
    chex.assert_shape(action, expected, custom_message=message)
    chex.assert_type(action, int, custom_message="action must be an integer in [0, A).")
    index = jnp.asarray(action).astype(jnp.int32)
    return _log_prob(logits, jnp.where(index < 0, index + logits.shape[-1], index))


def entropy(parameters: chex.Array) -> chex.Array:
    """Computes H(π) = -Σ_a π(a) log π(a), in nats.

    Args:
        parameters: [..., A] logits.

    Returns:
        [...] entropies.
    """
    return _entropy(_logits(parameters))


def mode(parameters: chex.Array) -> chex.Array:
    """Returns the most probable action, the first of them if several are.

    Args:
        parameters: [..., A] logits.

    Returns:
        [...] integers in [0, A).
    """
    return jnp.argmax(_logits(parameters), axis=-1)


def _logits(parameters: chex.Array) -> chex.Array:
    shape = jnp.shape(parameters)
    if not shape or shape[-1] == 0:
        raise AssertionError(f"logits have shape {shape}, expected [..., A] with A ≥ 1 actions.")
    (logits,) = at_least_float32(parameters)
    return logits


class _Softmax(NamedTuple):
    """Probabilities `weights / total`, whose logarithms are `shifted - log(total)`."""

    shifted: chex.Array  # [..., A] logits, of which 0 is the largest
    weights: chex.Array  # [..., A]
    total: chex.Array  # [..., 1]


def _softmax(logits: chex.Array) -> _Softmax:
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(shifted)
    return _Softmax(shifted, weights, jnp.sum(weights, axis=-1, keepdims=True))


@jax.custom_jvp
def _log_prob(logits: chex.Array, action: chex.Array) -> chex.Array:
    shifted, _, total = _softmax(logits)
    chosen = jnp.take_along_axis(shifted, jnp.expand_dims(action, -1), axis=-1)
    return (chosen - jnp.log(total)).squeeze(-1)


@_log_prob.defjvp
def _log_prob_jvp(primals: Any, tangents: Any) -> tuple[chex.Array, chex.Array]:
    logits, action = primals
    _, weights, total = _softmax(logits)
    slope = jax.nn.one_hot(action, logits.shape[-1], dtype=logits.dtype) - weights / total
    return _log_prob(logits, action), jnp.sum(slope * tangents[0], axis=-1)


@jax.custom_jvp
def _entropy(logits: chex.Array) -> chex.Array:
    return (jnp.log(_softmax(logits).total) - _mean_shifted(logits)).squeeze(-1)


@_entropy.defjvp
def _entropy_jvp(primals: Any, tangents: Any) -> tuple[chex.Array, chex.Array]:
    (logits,) = primals
    shifted, weights, total = _softmax(logits)
    above = jnp.where(weights > 0, shifted, 0) - _mean_shifted(logits)
    slope = -weights / total * above
    return _entropy(logits), jnp.sum(slope * tangents[0], axis=-1)


def _mean_shifted(logits: chex.Array) -> chex.Array:
    """`[..., 1]`, the mean of the shifted logits under the policy; a forbidden one adds nothing."""
    shifted, weights, total = _softmax(logits)
    terms = weights * jnp.where(weights > 0, shifted, 0)
    return jnp.sum(terms, axis=-1, keepdims=True) / total
