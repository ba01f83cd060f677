"""Action values: an MLP with a linear skip connection."""

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
