"""Pure losses, arrays to arrays: V-trace, the policy-gradient family, IMPALA, seed TD.

Every function is stateless, works under `jit`, `vmap` and `grad`, and takes its arrays with time
as the leading axis and any batch axes behind it: `[T]`, `[T, B]`, `[T, B, ...]` (`seed_td_loss`
takes data without an order, `[N]`). A loss is the sum over its rows; with `reduction="mean"` it is
divided by their number, and the learning rate that suits it no longer depends on T·B. Row t holds
what belongs to action a_t. The suffix `_tm1` marks what is known when the action is taken (its
log-probability, the value of the observation it saw); `_t` marks what the action caused (the
reward, the discount, the value of the observation after it).

Two arrays describe how an episode goes on after a row. `discount_t` is 0 where it *terminated*.
`continuation_t` is 0 where it was *truncated* (a time limit): the row keeps its bootstrap, the
value of the final observation, and nothing of the next episode reaches it.

A policy is a module of pure functions, `sample(parameters, key)`, `log_prob(parameters, action)`,
`entropy(parameters)` and `mode(parameters)`. `categorical` and `diagonal_gaussian` are
interchangeable; the losses see their log-probabilities and entropies only.
"""

from expedition.losses import categorical, diagonal_gaussian
from expedition.losses.a2c import a2c_loss
from expedition.losses.actor_critic import ActorCriticLoss, value_loss
from expedition.losses.boltzmann import (
    BoltzmannLoss,
    BoltzmannTargets,
    boltzmann_loss,
    boltzmann_targets,
)
from expedition.losses.diagonal_gaussian import GaussianParameters
from expedition.losses.impala import ImpalaLoss, impala_loss
from expedition.losses.policy_gradient import discounted_return, policy_gradient_loss
from expedition.losses.seed_td import SeedTDLoss, prior_penalty, seed_td_loss
from expedition.losses.vtrace import VTraceOutput, vtrace

__all__ = [
    "ActorCriticLoss",
    "BoltzmannLoss",
    "BoltzmannTargets",
    "GaussianParameters",
    "ImpalaLoss",
    "SeedTDLoss",
    "VTraceOutput",
    "a2c_loss",
    "boltzmann_loss",
    "boltzmann_targets",
    "categorical",
    "diagonal_gaussian",
    "discounted_return",
    "impala_loss",
    "policy_gradient_loss",
    "prior_penalty",
    "seed_td_loss",
    "value_loss",
    "vtrace",
]
