"""The IMPALA loss: actor-critic on V-trace targets and advantages."""

from typing import NamedTuple

import chex

from expedition.losses.actor_critic import actor_critic_loss
from expedition.losses.rows import filled, time_major
from expedition.losses.vtrace import VTraceOutput, vtrace


class ImpalaLoss(NamedTuple):
    """The loss, its three terms (reduced, not yet scaled by their costs), and V-trace's output."""

    total: chex.Array  # [] policy + baseline_cost · value - entropy_cost · entropy
    policy: chex.Array  # [] -log π · advantage
    value: chex.Array  # [] 0.5 (v_s - v)²
    entropy: chex.Array  # [] entropy of the policy
    vtrace: VTraceOutput  # [T, ...] each


def impala_loss(
    log_prob_tm1: chex.Array,
    behaviour_log_prob_tm1: chex.Array,
    entropy_tm1: chex.Array,
    v_tm1: chex.Array,
    v_t: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    lambda_: chex.Numeric = 1.0,
    rho_bar: chex.Numeric = 1.0,
    c_bar: chex.Numeric = 1.0,
    rho_bar_pg: chex.Numeric = 1.0,
    baseline_cost: chex.Numeric = 0.5,
    entropy_cost: chex.Numeric = 0.01,
    continuation_t: chex.Array | None = None,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> ImpalaLoss:
    """Computes the loss of IMPALA's learner on trajectories of a behaviour policy μ.

        L = Σ_t -log π(a_t|x_t) A_t + baseline_cost · 0.5 (v_t - V(x_t))²
            - entropy_cost · H(π(·|x_t))

    with the targets v_t and the advantages A_t of `vtrace`, through which no gradient flows. The
    paper's code sums over time and batch. The mean divides by T·B, the number of all rows, masked
    ones included: a constant, so that the mean over devices of the losses of equal shards is the
    loss of the whole batch. (A sum is summed over devices.)

    Args:
        log_prob_tm1: [T, ...] log π(a_t|x_t).
        behaviour_log_prob_tm1: [T, ...] log μ(a_t|x_t), as the actor recorded it.
        entropy_tm1: [T, ...] H(π(·|x_t)).
        v_tm1: [T, ...] V(x_t), of the observation that action a_t saw.
        v_t: [T, ...] V(x_{t+1}), of the observation that a_t led to: at a truncated row that of
            the final observation, not of the next episode's first. Only a bootstrap: no gradient.
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        lambda_: λ of V-trace; for it and the three thresholds see `vtrace`.
        rho_bar: ρ̄, clips the ratios of the temporal differences.
        c_bar: c̄, clips the ratios of the trace.
        rho_bar_pg: ρ̄_pg, clips the ratios of the advantages.
        baseline_cost: scale of the value loss.
        entropy_cost: scale of the entropy bonus.
        continuation_t: [T, ...] 0 where the trajectory was truncated after a_t, else 1, or None
            for 1 everywhere.
        weight_tm1: [T, ...] 0 for a row that is no transition, such as the one between two
            episodes where an environment resets itself, else 1; None means 1 everywhere. It masks
            the row's own loss; `discount_t` and `continuation_t` keep it out of earlier rows.
        reduction: "sum" or "mean".

    Returns:
        The total, its terms, and V-trace's output.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows, or if a hyperparameter of
            V-trace is not a scalar.
        ValueError: if the reduction is neither "sum" nor "mean".

    Source: Espeholt et al. 2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted
    Actor-Learner Architectures", section 4.2, https://arxiv.org/abs/1802.01561.
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
        rho_bar_pg=rho_bar_pg,
        continuation_t=continuation_t,
    )
    terms = actor_critic_loss(
        log_prob_tm1,
        entropy_tm1,
        v_tm1,
        corrected.targets,
        corrected.advantages,
        baseline_cost=baseline_cost,
        entropy_cost=entropy_cost,
        weight_tm1=weight_tm1,
        reduction=reduction,
    )
    return ImpalaLoss(*terms, vtrace=corrected)
