"""Networks: torsos, recurrent cores, policy heads, and the actor-critic made of them (flax)."""

from expedition.networks.actor_critic import (
    ActorCritic,
    CategoricalHead,
    GaussianHead,
    policy_head,
)
from expedition.networks.cores import LSTMCore
from expedition.networks.torsos import DeepTorso, MLPTorso, ShallowTorso

__all__ = [
    "ActorCritic",
    "CategoricalHead",
    "DeepTorso",
    "GaussianHead",
    "LSTMCore",
    "MLPTorso",
    "ShallowTorso",
    "policy_head",
]
