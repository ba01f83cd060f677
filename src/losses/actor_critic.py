"""The actor-critic loss for any targets and advantages, and its value regression."""

from typing import Any, NamedTuple

import chex
import jax

from expedition.losses.policy_gradient import surrogate_loss
from expedition.losses.rows import filled, reduce_rows, time_major


class ActorCriticLoss(NamedTuple):
    """The loss and its three terms, each reduced over the rows and not yet scaled by its cost."""

    total: chex.Array  # [] policy + baseline_cost · value - entropy_cost · entropy
    policy: chex.Array  # [] -log π · advantage
    value: chex.Array  # [] 0.5 (target - v)²
    entropy: chex.Array  # [] entropy of the policy


def value_loss(
    v_tm1: chex.Array,
    target_tm1: chex.Array,
    *,
    weight_tm1: chex.Array | None = None,
    reduction: str = "sum",
) -> chex.Array:
    """Computes the squared-error regression of values on fixed targets.

        L = Σ_t 0.5 (target_t - V(x_t))²

    No gradient flows through the targets.

    Args:
        v_tm1: [T, ...] V(x_t).
        target_tm1: [T, ...] what V(x_t) should be: returns, V-trace targets.
        weight_tm1: [T, ...] 0 for a row that is no transition, else 1, or None for 1 everywhere.
        reduction: "sum", or "mean" over all T·B rows, those of weight 0 included.

    Returns:
        The scalar loss.

    Raises:
        AssertionError: if the arrays differ in shape or have no rows.
        ValueError: if the reduction is neither "sum" nor "mean".

    Source: Sutton & Barto 2018, "Reinforcement Learning: An Introduction", section 9.3.
    """
    v_tm1, target_tm1, weight_tm1 = time_major(
        v_tm1=v_tm1, target_tm1=target_tm1, weight_tm1=filled(weight_tm1, 1, like=v_tm1)
    )

    def row_loss(value, target):
        return 0.5 * (jax.lax.stop_gradient(target) - value) ** 2

    return reduce_rows(row_loss, v_tm1, target_tm1, weight_tm1=weight_tm1, reduction=reduction)


def actor_critic_loss(
    log_prob_tm1: chex.Array,
    entropy_tm1: chex.Array,
    v_tm1: chex.Array,
    target_tm1: chex.Array,
    advantage_tm1: chex.Array,
    *,
    baseline_cost: chex.Numeric,
    entropy_cost: chex.Numeric,
    weight_tm1: chex.Array | None,
    reduction: str,
) -> ActorCriticLoss:
    """policy + baseline_cost · value - entropy_cost · entropy, for any targets and advantages."""
    over_rows: dict[str, Any] = {"weight_tm1": weight_tm1, "reduction": reduction}
    policy = surrogate_loss(log_prob_tm1, advantage_tm1, **over_rows)
    value = value_loss(v_tm1, target_tm1, **over_rows)
    entropy = reduce_rows(lambda row: row, entropy_tm1, **over_rows)
    total = policy + baseline_cost * value - entropy_cost * entropy
    return ActorCriticLoss(total, policy, value, entropy)
