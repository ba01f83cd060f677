"""What every loss does with its rows: check and widen them at the door, reduce them at the end."""

from collections.abc import Callable

import chex
import jax.numpy as jnp

REDUCTIONS = ("sum", "mean")


def at_least_float32(*arrays: chex.ArrayTree) -> list[chex.Array]:
    """Casts arrays to their common float type, or to float32 where that is narrower.

    Half precision is for networks: bfloat16 keeps 8 bits of a number, too few for a sum over a
    trajectory, or for the difference of two log-probabilities.

    Args:
        *arrays: arrays of any shapes; float, integer or bool.

    Returns:
        The arrays, all float32, or all float64 if one of them is.
    """
    converted = [jnp.asarray(array) for array in arrays]
    dtype = jnp.promote_types(jnp.result_type(*converted), jnp.float32)
    return [array.astype(dtype) for array in converted]


def time_major(**arrays: chex.ArrayTree) -> list[chex.Array]:
    """Checks that all arrays are [T, ...] of one shape, T ≥ 1, and widens them to float32.

    Args:
        **arrays: the arrays by name; the first one sets the shape that is expected of all.

    Returns:
        The arrays in the order given, as `at_least_float32` returns them.

    Raises:
        AssertionError: if an array has no time axis, no row, or another shape than the first.
    """
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}  # lists too
    shapes = {name: array.shape for name, array in arrays.items()}
    first, expected = next(iter(shapes.items()))
    if not expected or expected[0] == 0:
        raise AssertionError(
            f"{first} has shape {expected}, expected [T, ...]: time first, at least one row."
        )
    for name, array in arrays.items():
        message = f"{name} has shape {shapes[name]}, expected {expected}, the shape of {first}."
        chex.assert_shape(array, expected, custom_message=message)
    return at_least_float32(*arrays.values())


def filled(array: chex.Array | None, value: int, *, like: chex.Array) -> chex.Array:
    """Returns an optional array, or for None 0 or 1 in the shape of another (bool: widens none)."""
    return jnp.full(jnp.asarray(like).shape, value, bool) if array is None else array


def scalars(dtype: chex.ArrayDType, **values: chex.Numeric) -> list[chex.Array]:
    """Casts hyperparameters (Python numbers or traced scalars) to a dtype.

    Args:
        dtype: the dtype of the arrays that they meet, so that none of them widens the result.
        **values: the hyperparameters by name.

    Returns:
        The values in the order given, as arrays of shape [].

    Raises:
        AssertionError: if a value is not a scalar.
    """
    for name, value in values.items():
        message = f"{name} has shape {jnp.shape(value)}, expected a scalar."
        chex.assert_shape(value, (), custom_message=message)
    return [jnp.asarray(value, dtype) for value in values.values()]


def reduce_rows(
    row_loss: Callable[..., chex.Array],
    *rows: chex.Array,
    weight_tm1: chex.Array | None,
    reduction: str,
) -> chex.Array:
    """Reduces a loss per row to a scalar: Σ w · row_loss(rows), over T·B for the mean.

    Rows of weight 0 are zeroed *before* the loss sees them: whatever they hold, NaN and infinity
    included, reaches neither the loss nor a gradient. The mean counts them all the same: it
    divides by a constant, the number of rows, so that it is the mean of its parts however the
    batch is split over devices.

    Args:
        row_loss: elementwise function of the rows.
        *rows: [T, ...] each.
        weight_tm1: [T, ...] weight of each row, or None for 1 everywhere.
        reduction: "sum" or "mean".

    Returns:
        The scalar loss.

    Raises:
        ValueError: if the reduction is neither "sum" nor "mean".
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction is {reduction!r}, expected "sum" or "mean".')
    weight, *wide_rows = at_least_float32(filled(weight_tm1, 1, like=rows[0]), *rows)
    loss = row_loss(*(jnp.where(weight == 0, 0, row) for row in wide_rows))
    total = jnp.sum(weight * loss)
    return total / loss.size if reduction == "mean" else total
