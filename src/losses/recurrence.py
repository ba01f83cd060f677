"""The one recurrence behind V-trace, the n-step return and the reward-to-go."""

import chex
import jax
import jax.numpy as jnp


def reverse_recurrence(x: chex.Array, a: chex.Array) -> chex.Array:
    """Solves acc_t = x_t + a_t · acc_{t+1}, with acc_T = 0, in one reverse scan.

    Where a_t is 0 the recurrence is cut: what lies behind it has no influence, NaN and infinity
    included.

    Args:
        x: [T, ...] what each row adds.
        a: [T, ...] how much of the future each row sees.

    Returns:
        [T, ...] acc.
    """

    def step(acc, row):
        x_t, a_t = row
        acc = jnp.where(a_t == 0, x_t, x_t + a_t * acc)
        return acc, acc

    return jax.lax.scan(step, jnp.zeros_like(x[0]), (x, a), reverse=True)[1]
