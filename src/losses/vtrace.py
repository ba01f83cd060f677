"""V-trace: off-policy corrected value targets and policy-gradient advantages."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.losses.recurrence import reverse_recurrence
from expedition.losses.rows import filled, scalars, time_major


class VTraceOutput(NamedTuple):
    """What V-trace gives for each row of a trajectory."""

    targets: chex.Array  # [T, ...] v_s, the value target of the observation; no gradient
    advantages: chex.Array  # [T, ...] weight of ∇ log π(a_s|x_s); no gradient
    action_values: chex.Array  # [T, ...] r_s + γ_s v_{s+1}, the target of Q(x_s, a_s); no gradient
    errors: chex.Array  # [T, ...] targets - v_tm1, of many steps; gradient through v_tm1 only


def vtrace(
    v_tm1: chex.Array,
    v_t: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    log_rho_tm1: chex.Array,
    *,
    lambda_: chex.Numeric = 1.0,
    rho_bar: chex.Numeric = 1.0,
    c_bar: chex.Numeric = 1.0,
    rho_bar_pg: chex.Numeric = 1.0,
    continuation_t: chex.Array | None = None,
) -> VTraceOutput:
    """Computes V-trace targets and advantages of trajectories that another policy generated.

    With the ratio w_t = π(a_t|x_t) / μ(a_t|x_t) and the continuation κ_t (0 after a truncation):

        ρ_t = min(ρ̄, w_t)        c_t = λ min(c̄, w_t) κ_t
        δ_t = ρ_t (r_t + γ_t V(x_{t+1}) - V(x_t))
        v_s = V(x_s) + Σ_{t≥s} (Π_{s≤i<t} γ_i c_i) δ_t
        A_s = min(ρ̄_pg, w_s) (r_s + γ_s v_{s+1} - V(x_s))

    computed as acc_t = δ_t + γ_t c_t acc_{t+1}, v_s = V(x_s) + acc_s. The v_{s+1} of the advantage
    is V(x_{s+1}) + κ_s acc_{s+1}: the corrected value whatever λ (rlax mixes V(x_{s+1}) into it
    when λ < 1), and V(x_{s+1}) alone after the last row and after a truncated one.

    On policy, with ρ̄, c̄ ≥ 1 and λ = 1, the targets are the n-step returns. The targets' fixed
    point is the value of the policy proportional to min(ρ̄ μ, π); the paper asks for ρ̄ ≥ c̄.

    0.5 · errors² is the value loss: its gradient reaches v_tm1 only. The ratios are clipped in
    log space, so that log-ratios of ±1000 give finite results where the thresholds are finite.
    Half-precision inputs are widened first and the results are float32, since bfloat16 keeps too
    few bits for a sum over a trajectory; float64 stays float64.

    Args:
        v_tm1: [T, ...] V(x_t), of the observation that action a_t saw.
        v_t: [T, ...] V(x_{t+1}), of the observation that a_t led to: at a truncated row that of
            the final observation, not of the next episode's first.
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        log_rho_tm1: [T, ...] log π(a_t|x_t) - log μ(a_t|x_t).
        lambda_: λ; a scalar, as are the three thresholds, and each may be traced.
        rho_bar: ρ̄, clips the temporal differences' ratios: sets the fixed point.
        c_bar: c̄, clips the trace's ratios: sets the speed and the variance.
        rho_bar_pg: ρ̄_pg, clips the advantages' ratios.
        continuation_t: [T, ...] κ_t, 0 where the trajectory was truncated after a_t and the next
            row belongs to another episode, else 1. None means 1 everywhere.

    Returns:
        Targets, advantages, action values and errors, [T, ...] each. The action values are
        corrected from the next row on: they say what a_t is worth, likely or not.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows, or if a hyperparameter is
            not a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> v = jnp.array([0.0, 0.0, 0.0, 4.0])  # of T + 1 observations
        >>> r_t, discount_t = jnp.array([0.0, 0.0, 1.0]), jnp.full(3, 0.5)
        >>> vtrace(v[:-1], v[1:], r_t, discount_t, jnp.zeros(3)).targets
        Array([0.75, 1.5 , 3.  ], dtype=float32)

    Source: Espeholt et al. 2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted
    Actor-Learner Architectures", sections 4.1 and 4.2, https://arxiv.org/abs/1802.01561.
    """
    v_tm1, *inputs = time_major(
        v_tm1=v_tm1,
        v_t=v_t,
        r_t=r_t,
        discount_t=discount_t,
        log_rho_tm1=log_rho_tm1,
        continuation_t=filled(continuation_t, 1, like=v_tm1),
    )
    thresholds = scalars(
        v_tm1.dtype, lambda_=lambda_, rho_bar=rho_bar, c_bar=c_bar, rho_bar_pg=rho_bar_pg
    )
    # Nothing that enters the scan carries a gradient: the backward pass holds no second scan.
    value, *inputs, lambda_, rho_bar, c_bar, rho_bar_pg = jax.lax.stop_gradient(
        (v_tm1, *inputs, *thresholds)
    )
    v_t, r_t, discount_t, log_rho_tm1, continuation_t = inputs

    rho_tm1 = _clipped_ratio(log_rho_tm1, rho_bar)
    c_tm1 = lambda_ * _clipped_ratio(log_rho_tm1, c_bar) * continuation_t
    delta_t = rho_tm1 * (r_t + discount_t * v_t - value)
    acc_tm1 = reverse_recurrence(delta_t, discount_t * c_tm1)

    acc_t = jnp.concatenate([acc_tm1[1:], jnp.zeros_like(acc_tm1[:1])])
    acc_t = jnp.where(discount_t * continuation_t == 0, 0, acc_t)  # a selection also stops NaN
    corrected_v_t = v_t + continuation_t * acc_t
    rho_pg_tm1 = _clipped_ratio(log_rho_tm1, rho_bar_pg)
    action_values = r_t + discount_t * corrected_v_t
    advantages = rho_pg_tm1 * (action_values - value)

    targets = value + acc_tm1
    return VTraceOutput(targets, advantages, action_values, targets - v_tm1)


def _clipped_ratio(log_rho: chex.Array, threshold: chex.Array) -> chex.Array:
    """min(threshold, exp(log_rho)), which never computes the exponential of a large number."""
    return jnp.exp(jnp.minimum(log_rho, jnp.log(threshold)))
