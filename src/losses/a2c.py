"""The loss of A2C and A3C: actor-critic on n-step returns."""

import chex

from expedition.losses.actor_critic import ActorCriticLoss, actor_critic_loss
from expedition.losses.policy_gradient import discounted_return
from expedition.losses.rows import filled, time_major


def a2c_loss(
    log_prob_tm1: chex.Array,
    entropy_tm1: chex.Array,
    v_tm1: chex.Array,
    v_t: chex.Array,
    r_t: chex.Array,
    discount_t: chex.Array,
    *,
    baseline_cost: chex.Numeric = 0.5,
    entropy_cost: chex.Numeric = 0.01,
    continuation_t: chex.Array | None = None,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> ActorCriticLoss:
    """Computes the loss of A2C and A3C: actor-critic on the n-step return of on-policy data.

        G_t = r_t + γ_t (κ_t G_{t+1} + (1 - κ_t) V(x_{t+1})),    κ_{T-1} = 0
        L = Σ_t -log π(a_t|x_t) (G_t - V(x_t)) + baseline_cost · 0.5 (G_t - V(x_t))²
            - entropy_cost · H(π(·|x_t))

    It is `impala_loss` at π = μ. No gradient flows through the returns or the advantages.

    Args:
        log_prob_tm1: [T, ...] log π(a_t|x_t).
        entropy_tm1: [T, ...] H(π(·|x_t)).
        v_tm1: [T, ...] V(x_t), of the observation that action a_t saw.
        v_t: [T, ...] V(x_{t+1}), of the observation that a_t led to: at a truncated row that of
            the final observation, not of the next episode's first. Only a bootstrap: no gradient.
        r_t: [T, ...] the reward that a_t caused.
        discount_t: [T, ...] γ_t, 0 where a_t ended the episode.
        baseline_cost: scale of the value loss.
        entropy_cost: scale of the entropy bonus.
        continuation_t: [T, ...] κ_t, 0 where the trajectory was truncated after a_t, else 1, or
            None for 1 up to the last row.
        weight_tm1: [T, ...] 0 for a row that is no transition, else 1, or None for 1 everywhere.
        reduction: "sum", or "mean" over all T·B rows, those of weight 0 included.

    Returns:
        The total and its terms.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows.
        ValueError: if the reduction is neither "sum" nor "mean".

    Source: Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", section 4 and
    algorithm S3, https://arxiv.org/abs/1602.01783.
    """
    v_tm1, v_t, r_t, discount_t, log_prob_tm1, entropy_tm1, continuation_t, weight_tm1 = time_major(
        v_tm1=v_tm1,
        v_t=v_t,
        r_t=r_t,
        discount_t=discount_t,
        log_prob_tm1=log_prob_tm1,
        entropy_tm1=entropy_tm1,
        continuation_t=filled(continuation_t, 1, like=v_tm1),
        weight_tm1=filled(weight_tm1, 1, like=v_tm1),
    )
    return_tm1 = discounted_return(r_t, discount_t, v_t=v_t, continuation_t=continuation_t)
    return actor_critic_loss(
        log_prob_tm1,
        entropy_tm1,
        v_tm1,
        return_tm1,
        return_tm1 - v_tm1,
        baseline_cost=baseline_cost,
        entropy_cost=entropy_cost,
        weight_tm1=weight_tm1,
        reduction=reduction,
    )
