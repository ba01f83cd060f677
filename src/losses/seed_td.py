"""The temporal-difference loss of one agent under its own seed."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.losses.rows import at_least_float32, filled, reduce_rows, scalars, time_major


class SeedTDLoss(NamedTuple):
    """The data's loss and the errors it squares."""

    loss: chex.Array  # []
    td_errors: chex.Array  # [N] target - Q(s_j, a_j), without gradient


def seed_td_loss(
    q_tm1: chex.Array,
    a_tm1: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    q_t: chex.Array,
    noise_t: chex.Array,
    *,
    noise_variance: chex.Numeric = 1.0,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> SeedTDLoss:
    """Computes the squared temporal differences to targets that the agent's seed perturbs.

        L = (1/v) Σ_j w_j (r_j + γ_j max_a Q⁻(s'_j, a) + z_j - Q(s_j, a_j))²

    No gradient flows through the targets. Without noise it is the loss of Q-learning. The whole
    loss of seed TD adds `prior_penalty`, or is taken of a Q that contains a frozen prior.

    Args:
        q_tm1: [N, A] Q(s_j, ·).
        a_tm1: [N] integer actions a_j.
        r_t: [N] rewards r_j.
        discount_t: [N] γ_j, 0 where the episode terminated.
        q_t: [N, A] Q⁻(s'_j, ·), of the same or of older parameters.
        noise_t: [N] z_j, the seed's noise for datum j.
        noise_variance: v, that of the noise.
        weight_tm1: [N] w_j, 0 to leave a datum out; None: 1. A mean divides by N all the same.
        reduction: "sum", or "mean" over the N data.

    Returns:
        The loss and its errors.

    Raises:
        AssertionError: if the shapes do not fit each other, or there is no row.
        ValueError: if the reduction is neither "sum" nor "mean".

    Source: Dimakopoulou, Osband, Van Roy 2018, "Scalable Coordinated Exploration in Concurrent
    Reinforcement Learning", section 3.2, https://arxiv.org/abs/1805.08948.
    """
    r_t, discount_t, noise_t, weight_tm1 = time_major(
        r_t=r_t,
        discount_t=discount_t,
        noise_t=noise_t,
        weight_tm1=filled(weight_tm1, 1, like=r_t),
    )
    (q_tm1, q_t), a_tm1 = at_least_float32(q_tm1, q_t), jnp.asarray(a_tm1)
    chex.assert_rank([q_tm1, a_tm1], [2, 1])
    chex.assert_equal_shape([q_tm1, q_t])
    chex.assert_equal_shape_prefix([q_tm1, a_tm1, r_t], 1)
    (variance,) = scalars(q_tm1.dtype, noise_variance=noise_variance)
    target = jax.lax.stop_gradient(r_t + discount_t * jnp.max(q_t, axis=-1) + noise_t)
    errors = target - jnp.take_along_axis(q_tm1, a_tm1[:, None], axis=-1)[:, 0]
    loss = reduce_rows(jnp.square, errors, weight_tm1=weight_tm1, reduction=reduction) / variance
    return SeedTDLoss(loss, jax.lax.stop_gradient(errors))


def prior_penalty(
    parameters: chex.ArrayTree, prior: chex.ArrayTree, *, prior_variance: chex.Numeric = 1.0
) -> chex.Array:
    """Computes `(1/λ) |θ - θ̂|²`, the pull of the parameters to the agent's own prior sample.

    Args:
        parameters: θ, any pytree of arrays.
        prior: θ̂, of the same structure and shapes.
        prior_variance: λ, of each parameter.

    Returns:
        The scalar penalty.

    Raises:
        AssertionError: if the trees differ in structure or shapes.
    """
    chex.assert_trees_all_equal_shapes(parameters, prior)
    squares = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), parameters, prior)
    return jax.tree.reduce(jnp.add, squares) / prior_variance
