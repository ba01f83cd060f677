"""Recurrent cores: modules that carry a state from step to step of an unroll."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

LSTMState = tuple[jax.Array, jax.Array]  # cell and hidden state, each [B, features]


class _ResettingLSTM(nn.Module):
    """One step; where an episode starts the state is zero before the step."""

    features: int

    @partial(
        nn.scan, variable_broadcast="params", split_rngs={"params": False}, in_axes=0, out_axes=0
    )
    @nn.compact
    def __call__(
        self, state: LSTMState, inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[LSTMState, jax.Array]:
        x, reset = inputs
        state = jax.tree.map(lambda s: jnp.where(reset[:, None], 0.0, s), state)
        return nn.OptimizedLSTMCell(self.features)(state, x)


class LSTMCore(nn.Module):
    """An LSTM over time-major features, reset inside the unroll where episodes start."""

    features: int = 256

    @nn.compact
    def __call__(
        self, x: jax.Array, reset: jax.Array, state: LSTMState
    ) -> tuple[jax.Array, LSTMState]:
        """Unrolls over `x` `[T, B, inputs]` with `reset` `[T, B]`, from the state before row 0."""
        state, outputs = _ResettingLSTM(self.features)(state, (x, reset))
        return outputs, state

    def initial_state(self, batch_size: int) -> LSTMState:
        """Zeros: the state before an episode's first step."""
        return (jnp.zeros((batch_size, self.features)), jnp.zeros((batch_size, self.features)))
