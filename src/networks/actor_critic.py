"""A policy and a value on one torso, with an optional recurrent core between."""

from typing import Any, Protocol

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.losses.diagonal_gaussian import GaussianParameters
from expedition.networks.cores import LSTMCore

# A standard deviation from .08 to .6, of an action within [-1, 1]; at first .37. One step of the
# optimiser moves the mean by hundredths: a narrower policy would be another one after it. Of a
# wider one most actions are clipped, and the mean says only how often to which end.
LOG_STD_RANGE = (-2.5, -0.5)
FIRST_LOG_STD = -1.0


class CategoricalHead(nn.Module):
    """Logits of a discrete action; uniform at the start, so that exploration is."""

    num_actions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., features]` to logits `[..., num_actions]`."""
        return nn.Dense(self.num_actions, kernel_init=nn.initializers.zeros_init())(x)


class GaussianHead(nn.Module):
    """Mean and log standard deviation of a real action vector, both bounded.

    The mean is a function of the state, the deviation is learnt for all states together: with one
    of the state fewer seeds learnt to swing a cart-pole up (docs/environments.md).

    The mean stays within [-1, 1], the action's range. Beyond it every action that is drawn would be
    clipped to the same one: nothing could bring the mean back, and the entropy bonus alone would
    drive the deviation.
    """

    dimensions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> GaussianParameters:
        """Maps `[..., features]` to a mean and a log-std, each `[..., dimensions]`."""
        zeros = nn.initializers.zeros_init()
        mean = nn.tanh(nn.Dense(self.dimensions, kernel_init=zeros, name="mean")(x))
        log_std = self.param("log_std", zeros, (self.dimensions,))
        # Bounded smoothly: behind a hard bound neither loss nor entropy could move it back.
        low, high = LOG_STD_RANGE
        first = jnp.log((FIRST_LOG_STD - low) / (high - FIRST_LOG_STD))
        log_std = low + (high - low) * nn.sigmoid(log_std + first)
        return GaussianParameters(mean, jnp.broadcast_to(log_std, mean.shape))


class PolicyAndValue(Protocol):
    """What an agent needs of a network; `ActorCritic` is one."""

    def init(self, key: jax.Array, observation: Any, reset: Any, state: Any, /) -> Any:
        """Draws parameters for unrolls like this one."""
        ...

    def apply(self, params: Any, observation: Any, reset: Any, state: Any, /) -> Any:
        """Gives an unroll's policy parameters and values, and the recurrent state after it."""
        ...

    def initial_state(self, batch_size: int) -> Any:
        """The recurrent state at the start of an episode."""
        ...


class ActorCritic(nn.Module):
    """Torso, optional core, policy head and value head, applied to whole unrolls.

    The torso sees time folded into the batch (a convolution's gradient inside a scan is many
    times slower on CPU); only the core scans. An actor's single step is an unroll of length 1,
    so that actor and learner run the same code.
    """

    torso: nn.Module
    head: nn.Module
    core: LSTMCore | None = None

    @nn.compact
    def __call__(self, observation: jax.Array, reset: jax.Array, state: Any) -> tuple[Any, ...]:
        """Evaluates an unroll.

        Args:
          observation: `[T, B, ...]`.
          reset: `[T, B]`, whether an episode starts at the row.
          state: the core's state before row 0, each leaf `[B, ...]`; `()` without a core.

        Returns:
          The policy's parameters, leaves `[T, B, ...]`; the value `[T, B]`; the state after.
        """
        chex.assert_rank(reset, 2)
        chex.assert_equal_shape_prefix([observation, reset], 2)
        x = self.torso(observation.reshape(-1, *observation.shape[2:]))
        x = x.reshape(*reset.shape, x.shape[-1])
        if self.core is not None:
            x, state = self.core(x, reset, state)
        value = nn.Dense(1, name="value")(x)
        return self.head(x), value[..., 0], state

    def initial_state(self, batch_size: int) -> Any:
        """The core's state at the start of an episode; `()` without a core."""
        return () if self.core is None else self.core.initial_state(batch_size)


def policy_head(action_spec: specs.DiscreteArray | specs.BoundedArray) -> nn.Module:
    """The head for an action: categorical if it is discrete, else diagonal Gaussian."""
    if isinstance(action_spec, specs.DiscreteArray):
        return CategoricalHead(action_spec.num_values)
    if len(action_spec.shape) != 1:
        raise ValueError(f"actions of shape {action_spec.shape} were given; expected a vector")
    return GaussianHead(action_spec.shape[0])
