"""Environments: pure-JAX ones, and adapters that make other libraries' one batched interface."""

from expedition.environments.atari import atari_batch
from expedition.environments.catch import Catch
from expedition.environments.chains import GraphProblem, bipolar_chain, parallel_chains
from expedition.environments.deep_sea import DeepSea, DeepSeaState
from expedition.environments.dm import ActionRepeat, DiscreteActions, DmEnvBatch
from expedition.environments.dm_control import dm_control_batch
from expedition.environments.envpool import envpool_batch
from expedition.environments.functional import FreshWorlds, FunctionalBatch, OneWorld
from expedition.environments.gym import GymBatch, gym_batch
from expedition.environments.interface import (
    FIRST,
    LAST,
    MID,
    BatchedEnvironment,
    EnvironmentSpec,
    FunctionalEnvironment,
)
from expedition.environments.memory_chain import MemoryChain
from expedition.environments.probes import PROBES, Probe
from expedition.environments.registry import make
from expedition.environments.swingup import Swingup, SwingupState
from expedition.environments.swingup_mujoco import SwingupBatch
from expedition.environments.tabular_cartpole import TabularCartpole, pseudo_regret

__all__ = [
    "FIRST",
    "LAST",
    "MID",
    "PROBES",
    "ActionRepeat",
    "BatchedEnvironment",
    "Catch",
    "DeepSea",
    "DeepSeaState",
    "DiscreteActions",
    "DmEnvBatch",
    "EnvironmentSpec",
    "FreshWorlds",
    "FunctionalBatch",
    "FunctionalEnvironment",
    "GraphProblem",
    "GymBatch",
    "MemoryChain",
    "OneWorld",
    "Probe",
    "Swingup",
    "SwingupBatch",
    "SwingupState",
    "TabularCartpole",
    "atari_batch",
    "bipolar_chain",
    "dm_control_batch",
    "envpool_batch",
    "gym_batch",
    "make",
    "parallel_chains",
    "pseudo_regret",
]
