"""Agents: one file an algorithm, each a bundle of pure functions with its config."""

from expedition.agents.agent import Agent, Trajectory
from expedition.agents.impala import ImpalaConfig, ImpalaState, impala
from expedition.agents.seed_lsvi import seed_lsvi
from expedition.agents.seed_td import linear_seed_td
from expedition.agents.tabular import TabularConfig, tabular

__all__ = [
    "Agent",
    "ImpalaConfig",
    "ImpalaState",
    "TabularConfig",
    "Trajectory",
    "impala",
    "linear_seed_td",
    "seed_lsvi",
    "tabular",
]
