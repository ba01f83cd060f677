"""Agents, bundles of pure functions: a file an algorithm, and one for what several share."""

from expedition.agents.a3c import a3c
from expedition.agents.actor_critic import ImpalaConfig, ImpalaState
from expedition.agents.agent import Agent, Trajectory
from expedition.agents.bootstrapped import model_per_episode
from expedition.agents.dqn import DqnConfig, dqn, without_seeds
from expedition.agents.impala import impala
from expedition.agents.normalization import normalize_observations
from expedition.agents.seed_ensemble import seed_ensemble
from expedition.agents.seed_lsvi import seed_lsvi
from expedition.agents.seed_model import SeedEnsembleConfig
from expedition.agents.seed_td import linear_seed_td
from expedition.agents.seeded_impala import seeded_impala
from expedition.agents.seeded_member import SeededImpalaConfig
from expedition.agents.tabular import TabularConfig, tabular

__all__ = [
    "Agent",
    "DqnConfig",
    "ImpalaConfig",
    "ImpalaState",
    "SeedEnsembleConfig",
    "SeededImpalaConfig",
    "TabularConfig",
    "Trajectory",
    "a3c",
    "dqn",
    "impala",
    "linear_seed_td",
    "model_per_episode",
    "normalize_observations",
    "seed_ensemble",
    "seed_lsvi",
    "seeded_impala",
    "tabular",
    "without_seeds",
]
