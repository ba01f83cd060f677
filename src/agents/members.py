"""The members of an ensemble, and which of them a device learns."""

from typing import Any

import jax
import jax.numpy as jnp


def own_members(number: int, axis_name: str | None) -> jax.Array:
    """The numbers of this device's members; of all without an axis.

    Raises:
      ValueError: the axis's devices cannot share them equally.
    """
    if axis_name is None:
        return jnp.arange(number)
    devices = jax.lax.axis_size(axis_name)
    if number % devices:
        raise ValueError(
            f"{number} models were given for {devices} devices; expected a multiple of them"
        )
    own = number // devices
    return jax.lax.axis_index(axis_name) * own + jnp.arange(own)


def rows_of(tree: Any, index: jax.Array) -> Any:
    """The members of these numbers, of a tree with a leading axis of all."""
    return jax.tree.map(lambda x: x[index], tree)
