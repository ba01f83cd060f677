"""The policy gradient and the returns that weigh it."""

import chex
import jax
import jax.numpy as jnp

from expedition.losses.recurrence import reverse_recurrence
from expedition.losses.rows import filled, reduce_rows, time_major


def discounted_return(
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    v_t: chex.Array | None = None,
    continuation_t: chex.Array | None = None,
) -> chex.Array:
    """Computes the return from each row on: the reward-to-go or, with values, the n-step return.

        G_t = r_t + γ_t (κ_t G_{t+1} + (1 - κ_t) V(x_{t+1})),    κ_{T-1} = 0

    where κ_t is the continuation, which counts as 0 in the last row. No gradient flows through it.

    Args:
        r_t: [T, ...] the reward that action a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        v_t: [T, ...] V(x_{t+1}), of the observation that a_t led to; read where the trajectory is
            truncated and in the last row. None means 0: the plain reward-to-go.
        continuation_t: [T, ...] κ_t, 0 where the trajectory was truncated after a_t, else 1. None
            means 1 up to the last row.

    Returns:
        [T, ...] G.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows.

    Example:
        >>> import jax.numpy as jnp
        >>> discounted_return(jnp.array([0.0, 0.0, 1.0]), jnp.full(3, 0.5))
        Array([0.25, 0.5 , 1.  ], dtype=float32)

    Source: Sutton & Barto 2018, "Reinforcement Learning: An Introduction", sections 3.3 and 7.1.
    """
    rows = time_major(
        r_t=r_t,
        discount_t=discount_t,
        v_t=filled(v_t, 0, like=r_t),
        continuation_t=filled(continuation_t, 1, like=r_t),
    )
    r_t, discount_t, v_t, continuation_t = jax.lax.stop_gradient(rows)
    continuation_t = continuation_t.at[-1].set(0)
    bootstrapped_r_t = r_t + discount_t * (1 - continuation_t) * v_t
    return reverse_recurrence(bootstrapped_r_t, discount_t * continuation_t)


def policy_gradient_loss(
    log_prob_tm1: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    baseline_tm1: chex.Array | None = None,
    reward_to_go: bool = True,
    continuation_t: chex.Array | None = None,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> chex.Array:
    """Computes the loss whose gradient is minus the policy gradient, summed over the rows.

        L = -Σ_t log π(a_t|x_t) (G_t - b(x_t))

    G_t is the return from row t on, or that of the whole episode from its first row in the batch.
    At γ = 1 both have the same expected gradient, and the reward-to-go the smaller variance; at
    γ < 1 the reward-to-go leaves out the factor γ^t, as is usual. A baseline that knows only the
    observation leaves the expected gradient as it is. No gradient flows through G or b.

    Args:
        log_prob_tm1: [T, ...] log π(a_t|x_t).
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        baseline_tm1: [T, ...] b(x_t), or None for 0.
        reward_to_go: True for the return from row t on, False for the whole episode's.
        continuation_t: [T, ...] 0 where the trajectory was truncated after a_t, else 1, or None
            for 1 up to the last row.
        weight_tm1: [T, ...] 0 for a row that is no transition, else 1, or None for 1 everywhere.
            Give such a row continuation 0 too: the next episode then starts after it.
        reduction: "sum", or "mean" over all T·B rows, those of weight 0 included.

    Returns:
        The scalar loss.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows.
        ValueError: if the reduction is neither "sum" nor "mean".

    Source: Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist
    Reinforcement Learning"; Sutton & Barto 2018, sections 13.3 and 13.4.
    """
    log_prob_tm1, r_t, discount_t, baseline_tm1, continuation_t, weight_tm1 = time_major(
        log_prob_tm1=log_prob_tm1,
        r_t=r_t,
        discount_t=discount_t,
        baseline_tm1=filled(baseline_tm1, 0, like=log_prob_tm1),
        continuation_t=filled(continuation_t, 1, like=log_prob_tm1),
        weight_tm1=filled(weight_tm1, 1, like=log_prob_tm1),
    )
    return_tm1 = discounted_return(r_t, discount_t, continuation_t=continuation_t)
    if not reward_to_go:
        return_tm1 = _of_first_row(return_tm1, ended_t=discount_t * continuation_t == 0)
    return surrogate_loss(
        log_prob_tm1, return_tm1 - baseline_tm1, weight_tm1=weight_tm1, reduction=reduction
    )


def surrogate_loss(
    log_prob_tm1: chex.Array,
    advantage_tm1: chex.Array,
    *,
    weight_tm1: chex.Array | None,
    reduction: str,
) -> chex.Array:
    """-Σ_t w_t log π(a_t|x_t) A_t, with no gradient through A; arguments as in the callers."""

    def row_loss(log_prob, advantage):
        return -log_prob * jax.lax.stop_gradient(advantage)

    return reduce_rows(
        row_loss, log_prob_tm1, advantage_tm1, weight_tm1=weight_tm1, reduction=reduction
    )


def _of_first_row(x: chex.Array, *, ended_t: chex.Array) -> chex.Array:
    """Gives every row the x of its episode's first row in the batch."""
    next_row = jnp.arange(1, len(x) + 1).reshape((-1,) + (1,) * (x.ndim - 1))
    starts = jnp.where(ended_t, next_row, 0)[:-1]
    starts = jnp.concatenate([jnp.zeros_like(x[:1], starts.dtype), starts])
    return jnp.take_along_axis(x, jax.lax.cummax(starts, axis=0), axis=0)
