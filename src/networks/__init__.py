"""Networks: torsos, recurrent cores, policy heads, actor-critics, action values (flax)."""

from expedition.networks.actor_critic import (
    ActorCritic,
    CategoricalHead,
    GaussianHead,
    policy_head,
)
from expedition.networks.cores import LSTMCore
from expedition.networks.q_values import CellMLP, SkipMLP
from expedition.networks.torsos import DeepTorso, MLPTorso, ShallowTorso

__all__ = [
    "ActorCritic",
    "CategoricalHead",
    "CellMLP",
    "DeepTorso",
    "GaussianHead",
    "LSTMCore",
    "MLPTorso",
    "ShallowTorso",
    "SkipMLP",
    "policy_head",
]
