"""The loss of a Boltzmann policy: the regression of its action values on V-trace targets."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.losses import categorical
from expedition.losses.actor_critic import value_loss
from expedition.losses.rows import at_least_float32, filled, reduce_rows, scalars, time_major
from expedition.losses.vtrace import VTraceOutput, vtrace


class BoltzmannLoss(NamedTuple):
    """The loss, the policy's entropy (no part of it), and V-trace's output."""

    total: chex.Array  # [] 0.5 (target - Q(x, a))²
    entropy: chex.Array  # [] entropy of the policy
    vtrace: VTraceOutput  # [T, ...] each


def boltzmann(q: chex.Array, temperature: chex.Numeric) -> tuple[chex.Array, chex.Array]:
    """The policy softmax(Q/τ) and its value Σ_a π(a) Q(a).

    Args:
        q: [..., A] action values.
        temperature: τ > 0, in units of value.

    Returns:
        Logits [..., A] and values [...].
    """
    (q,) = at_least_float32(q)
    logits = q / temperature
    return logits, (jax.nn.softmax(logits) * q).sum(axis=-1)


class BoltzmannTargets(NamedTuple):
    """What the actions taken are worth to a policy softmax(Q/τ), and how far it is from theirs."""

    action_values: chex.Array  # [T, ...] r_s + γ_s v_{s+1}; no gradient
    log_rho: chex.Array  # [T, ...] log π(a_s|x_s) - log μ(a_s|x_s); no gradient
    entropy: chex.Array  # [T, ...] of the policy; no gradient


def boltzmann_targets(
    q: chex.Array,
    a_tm1: chex.Array,
    behaviour_log_prob_tm1: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    temperature: chex.Numeric,
    lambda_: chex.Numeric = 1.0,
    rho_bar: chex.Numeric = 1.0,
    c_bar: chex.Numeric = 1.0,
    continuation_t: chex.Array | None = None,
) -> BoltzmannTargets:
    """Computes V-trace targets of action values, for the policy π = softmax(Q/τ).

    `boltzmann_loss` regresses Q on the targets that Q itself makes. Here they are made of other
    action values than those that learn: of averaged ones, say, for several gradient steps.

    Args:
        q: [T + 1, ..., A] Q of all observations.
        a_tm1: [T, ...] int, the actions taken.
        behaviour_log_prob_tm1: [T, ...] log μ(a_t|x_t), as the actor recorded it.
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        temperature: τ > 0, in units of value.
        lambda_: λ of V-trace; for it and the two thresholds see `vtrace`.
        rho_bar: ρ̄, clips the ratios of the temporal differences.
        c_bar: c̄, clips the ratios of the trace.
        continuation_t: [T, ...] 0 where the trajectory was truncated after a_t, else 1; None: 1.

    Raises:
        AssertionError: if the shapes do not fit, or if a hyperparameter is not a scalar.
    """
    (q,), a_tm1 = at_least_float32(q), jnp.asarray(a_tm1)
    chex.assert_equal_shape_prefix([q[1:], a_tm1], a_tm1.ndim)
    (temperature,) = scalars(q.dtype, temperature=temperature)
    logits, value = boltzmann(q, temperature)
    log_rho = categorical.log_prob(logits[:-1], a_tm1) - jnp.asarray(behaviour_log_prob_tm1)
    corrected = vtrace(
        value[:-1],
        value[1:],
        r_t,
        discount_t,
        log_rho,
        lambda_=lambda_,
        rho_bar=rho_bar,
        c_bar=c_bar,
        continuation_t=continuation_t,
    )
    found = corrected.action_values, log_rho, categorical.entropy(logits[:-1])
    return BoltzmannTargets(*jax.lax.stop_gradient(found))


def boltzmann_loss(
    log_prob_tm1: chex.Array,
    behaviour_log_prob_tm1: chex.Array,
    entropy_tm1: chex.Array,
    v_tm1: chex.Array,
    v_t: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    temperature: chex.Numeric,
    lambda_: chex.Numeric = 1.0,
    rho_bar: chex.Numeric = 1.0,
    c_bar: chex.Numeric = 1.0,
    continuation_t: chex.Array | None = None,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> BoltzmannLoss:
    """Computes the loss of a policy π = softmax(Q/τ) on trajectories of another policy μ.

        L = Σ_t 0.5 (r_t + γ_t v_{t+1} - Q(x_t, a_t))²
        Q(x, a) = V(x) + τ (log π(a|x) + H(π(·|x)))

    with the V-trace targets v, through which no gradient flows. Q is written in what an
    actor-critic has, the policy and its value V(x) = Σ_a π(a|x) Q(x, a); the arguments are those of
    `impala_loss`. On policy, in expectation over actions and where V is right on average, the
    gradient is τ times that of IMPALA's loss with an entropy cost of τ and a baseline cost of 1/τ.
    But it has no importance weight of a_t: the worth of an action that π would hardly take is
    learnt as fast as that of any other.

    Args:
        log_prob_tm1: [T, ...] log π(a_t|x_t).
        behaviour_log_prob_tm1: [T, ...] log μ(a_t|x_t), as the actor recorded it.
        entropy_tm1: [T, ...] H(π(·|x_t)).
        v_tm1: [T, ...] V(x_t), of the observation that action a_t saw.
        v_t: [T, ...] V(x_{t+1}), see `impala_loss`. Only a bootstrap: no gradient.
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        temperature: τ > 0, in units of value.
        lambda_: λ of V-trace; for it and the two thresholds see `vtrace`.
        rho_bar: ρ̄, clips the ratios of the temporal differences.
        c_bar: c̄, clips the ratios of the trace.
        continuation_t: [T, ...] 0 where the trajectory was truncated after a_t, else 1; None: 1.
        weight_tm1: [T, ...] 0 for a row that is no transition, else 1; None: 1.
        reduction: "sum", or "mean" over all T·B rows.

    Returns:
        The loss, the entropy, and V-trace's output.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows, or if a hyperparameter is
            not a scalar.
        ValueError: if the reduction is neither "sum" nor "mean".

    Sources: Schulman, Chen, Abbeel 2017, "Equivalence Between Policy Gradients and Soft
    Q-Learning", https://arxiv.org/abs/1704.06440; Espeholt et al. 2018, section 4.1.
    """
    v_tm1, log_prob_tm1, behaviour_log_prob_tm1, entropy_tm1, weight_tm1 = time_major(
        v_tm1=v_tm1,
        log_prob_tm1=log_prob_tm1,
        behaviour_log_prob_tm1=behaviour_log_prob_tm1,
        entropy_tm1=entropy_tm1,
        weight_tm1=filled(weight_tm1, 1, like=v_tm1),
    )
    corrected = vtrace(
        v_tm1,
        v_t,
        r_t,
        discount_t,
        log_prob_tm1 - behaviour_log_prob_tm1,
        lambda_=lambda_,
        rho_bar=rho_bar,
        c_bar=c_bar,
        continuation_t=continuation_t,
    )
    (temperature,) = scalars(v_tm1.dtype, temperature=temperature)
    q_tm1 = v_tm1 + temperature * (log_prob_tm1 + entropy_tm1)

    total = value_loss(q_tm1, corrected.action_values, weight_tm1=weight_tm1, reduction=reduction)
    entropy = reduce_rows(lambda row: row, entropy_tm1, weight_tm1=weight_tm1, reduction=reduction)
    return BoltzmannLoss(total, entropy, corrected)
