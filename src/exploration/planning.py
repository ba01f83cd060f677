"""Planning in a known tabular MDP: value iteration as one scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp


class MDP(NamedTuple):
    """S states, A actions, at most B successors of each; a terminal state is absorbing, reward 0.

    Deterministic MDPs have B = 1. Dense ones have B = S and no `successor`: place b is state b. An
    action that a state does not have gets the reward -inf; not in a dense MDP if a state has none.
    """

    reward: chex.Array  # [S, A] mean
    successor: chex.Array | None  # [S, A, B] int, states; None: all S, in order
    probability: chex.Array  # [S, A, B], sums to 1 over B


def value_iteration(
    mdp: MDP,
    *,
    sweeps: int,
    discount: float = 1.0,
    step_size: float = 1.0,
    initial: chex.Array | None = None,
) -> chex.Array:
    """Computes the optimal action values by `sweeps` Bellman backups.

    `Q ← Q + α (T Q - Q)` with `T Q(s, a) = r(s, a) + γ sum_s' p(s' | s, a) max_a' Q(s', a')`.

    From zero with discount and step size 1 this is the optimal value with `sweeps` actions left
    (finite horizon); with a discount below 1 and step size 1 it is within
    `γ^sweeps max|r| / (1 - γ)` of the infinite horizon's.

    Args:
        mdp: the model, one; `vmap` plans in many.
        sweeps: number of backups.
        discount: γ, per action.
        step_size: α, in (0, 1].
        initial: `[S, A]` action values to start from, e.g. those of a similar MDP; 0 by default.

    Returns:
        Q, `[S, A]` float32.

    Raises:
        AssertionError: the model's shapes do not fit each other, or `initial` does not fit it.
    """
    chex.assert_rank([mdp.reward, mdp.probability], [2, 3])
    chex.assert_equal_shape_prefix([mdp.reward, mdp.probability], 2)
    if mdp.successor is None:
        chex.assert_axis_dimension(mdp.probability, 2, len(mdp.reward))
    else:
        chex.assert_equal_shape([mdp.successor, mdp.probability])
    q = jnp.zeros_like(mdp.reward) if initial is None else initial
    chex.assert_equal_shape([q, mdp.reward])

    def sweep_all(mdp: MDP, q: chex.Array) -> chex.Array:
        reward, weight = step_size * mdp.reward, step_size * discount * mdp.probability

        def sweep(q: chex.Array, _: None) -> tuple[chex.Array, None]:
            value = _after(jnp.max(q, axis=1), mdp.successor, weight)
            return (reward if step_size == 1 else (1 - step_size) * q + reward) + value, None

        return jax.lax.scan(sweep, q, length=sweeps)[0]

    return sweep_all(mdp, q) if mdp.successor is None else _instances_last(sweep_all)(mdp, q)


def _after(value: chex.Array, successor: chex.Array | None, weight: chex.Array) -> chex.Array:
    """`sum_b weight(s, a, b) value(successor(s, a, b))`.

    Of a dense model: weight `[S, A, S]`, value `[S]`, the result `[S, A]`; of N sparse ones: weight
    and successor `[S, A, B, N or 1]`, value `[S, N]`, the result `[S, A, N]`.
    """
    if successor is None:
        # Ten times as fast as to look up each state's value. The precision is that of float32 also
        # where products are by default rounded more.
        return jnp.matmul(weight, value, precision="highest")
    # A third of the time on CPU would go to clamping indices that are in bounds.
    settings = {"mode": "promise_in_bounds", "wrap_negative_indices": False}
    if successor.shape[-1] == 1:  # whole rows
        after = value.at[successor[..., 0]].get(**settings)
    else:
        after = value.at[successor, jnp.arange(value.shape[-1])].get(**settings)
    return jnp.sum(weight * after, axis=2)


def _instances_last(function: Callable[[MDP, chex.Array], chex.Array]) -> Callable:
    """Makes `vmap` hand a function of arrays all its instances along one last axis.

    JAX would put them first. On CPU the successors' values would then be looked up number by
    number rather than for many instances at once, which takes two to six times as long. Where
    successors are the same for all instances their last axis is 1.
    """

    @jax.custom_batching.custom_vmap
    def batched(mdp: MDP, q: chex.Array) -> chex.Array:
        return function(mdp, q)

    @batched.def_vmap
    def _(size: int, is_batched: tuple[MDP, bool], mdp: MDP, q: chex.Array) -> Any:
        before = q.shape[-1]

        def merged(x: chex.Array, is_batched: bool) -> chex.Array:
            x = x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            x = jnp.broadcast_to(x, (*x.shape[:-1], before))
            return jnp.moveaxis(x, 0, -1).reshape(*x.shape[1:-1], -1)

        def kept_shared(x: chex.Array, is_batched: bool) -> chex.Array:
            return merged(x, is_batched) if is_batched or x.shape[-1] > 1 else x

        mdp = jax.tree.map(kept_shared, mdp, is_batched[0])
        q = batched(mdp, merged(q, is_batched[1]))
        return jnp.moveaxis(q.reshape(*q.shape[:-1], before, size), -1, 0), True

    return lambda mdp, q: batched(*jax.tree.map(lambda x: x[..., None], (mdp, q)))[..., 0]
