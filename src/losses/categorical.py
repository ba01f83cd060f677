"""Categorical policies: a distribution over A actions, given by its logits.

The functions are those of `diagonal_gaussian`, with the same arguments: an agent takes the module.
An action of logit -∞ is forbidden: it has probability 0 and adds nothing to the entropy.

Example:
    >>> import jax, jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    >>> action = sample(logits, jax.random.key(0))
    >>> action.shape, log_prob(logits, action).shape, entropy(logits).shape
    ((2,), (2,), (2,))
    >>> mode(logits)
    Array([0, 1], dtype=int32)
"""

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
    index = jnp.expand_dims(action, -1)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), index, axis=-1).squeeze(-1)


def entropy(parameters: chex.Array) -> chex.Array:
    """Computes H(π) = -Σ_a π(a) log π(a), in nats.

    Args:
        parameters: [..., A] logits.

    Returns:
        [...] entropies.
    """
    log_probs = jax.nn.log_softmax(_logits(parameters))
    probs = jnp.exp(log_probs)
    return -jnp.sum(probs * jnp.where(probs > 0, log_probs, 0), axis=-1)


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
