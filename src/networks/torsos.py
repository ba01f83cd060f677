"""Torsos: modules from one observation `[N, ...]` to one feature vector `[N, features]`."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def _to_float(observation: jax.Array) -> jax.Array:
    """Pixels in bytes become [0, 1]; everything else is taken as it is."""
    if observation.dtype == jnp.uint8:
        return observation.astype(jnp.float32) / 255.0
    return observation.astype(jnp.float32)


class MLPTorso(nn.Module):
    """Flattens the observation; a dense layer, layer norm and tanh, then dense layers with elu.

    The norm and the tanh take the place of scaling observations, whose entries may differ by
    orders of magnitude (positions and velocities). Source: the policy networks of Hoffman et
    al. (2020), Acme, https://arxiv.org/abs/2006.00979
    """

    hidden: Sequence[int] = (128, 128)

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps `[N, ...]` to `[N, hidden[-1]]`."""
        first, *others = self.hidden
        x = nn.Dense(first)(_to_float(observation).reshape(len(observation), -1))
        x = nn.tanh(nn.LayerNorm()(x))
        for width in others:
            x = nn.elu(nn.Dense(width)(x))
        return x


class ShallowTorso(nn.Module):
    """The shallow network of IMPALA: conv 16@8x8/4, conv 32@4x4/2, dense 256.

    Source: Espeholt et al. (2018), figure 3, left.
    """

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps images `[N, height, width, channels]` to `[N, 256]`."""
        x = _to_float(observation)
        x = nn.relu(nn.Conv(16, (8, 8), strides=(4, 4))(x))
        x = nn.relu(nn.Conv(32, (4, 4), strides=(2, 2))(x))
        return nn.relu(nn.Dense(256)(x.reshape(len(x), -1)))


class ResidualBlock(nn.Module):
    """relu, conv, relu, conv, plus the input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Keeps the shape `[N, height, width, channels]`."""
        y = nn.Conv(x.shape[-1], (3, 3))(nn.relu(x))
        return x + nn.Conv(x.shape[-1], (3, 3))(nn.relu(y))


class DeepTorso(nn.Module):
    """The deep residual network of IMPALA: a section per entry of `channels`, then dense 256.

    A section is conv 3x3, max-pool 3x3/2 and two residual blocks; 15 convolutions in all.
    Source: Espeholt et al. (2018), figure 3, right.
    """

    channels: Sequence[int] = (16, 32, 32)

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps images `[N, height, width, channels]` to `[N, 256]`."""
        x = _to_float(observation)
        for width in self.channels:
            x = nn.Conv(width, (3, 3))(x)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
            x = ResidualBlock()(ResidualBlock()(x))
        return nn.relu(nn.Dense(256)(nn.relu(x).reshape(len(x), -1)))
