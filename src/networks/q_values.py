"""Action values: an MLP with a linear skip connection, and one of a cell's number."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

_glorot = nn.initializers.glorot_uniform()


class SkipMLP(nn.Module):
    """Dense layers with ReLU, and a linear way past them: `W x + MLP(x)`; Glorot's initialiser."""

    num_outputs: int
    hidden: Sequence[int] = (50, 50)
    input_scale: float | Sequence[float] = 1.0
    """What each feature is multiplied by."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, ...]` to `[N, num_outputs]`."""
        x = x.reshape(len(x), -1)
        x = x * jnp.broadcast_to(jnp.asarray(self.input_scale, x.dtype), x.shape)
        skip = nn.Dense(self.num_outputs, use_bias=False, kernel_init=_glorot, name="skip")(x)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width, kernel_init=_glorot)(x))
        return skip + nn.Dense(self.num_outputs, kernel_init=_glorot)(x)


class CellMLP(nn.Module):
    """Dense layers with ReLU of a one-hot observation, which is given as its number.

    The first layer looks its row up in place of a product with zeros; its weights have variance 1,
    since one input at a time is not zero. The others have Glorot's initialiser.
    """

    num_cells: int
    num_outputs: int
    hidden: Sequence[int] = (50, 50)

    @nn.compact
    def __call__(self, cell: jax.Array) -> jax.Array:
        """Maps `[N]` integers to `[N, num_outputs]`."""
        first, *others = self.hidden
        x = nn.Embed(self.num_cells, first, embedding_init=nn.initializers.normal(1.0))(cell)
        for width in others:
            x = nn.Dense(width, kernel_init=_glorot)(nn.relu(x))
        return nn.Dense(self.num_outputs, kernel_init=_glorot)(nn.relu(x))
