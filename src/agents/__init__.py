"""Agents: one file an algorithm, each a bundle of pure functions with its config."""

from expedition.agents.agent import Agent, Trajectory
from expedition.agents.impala import ImpalaConfig, ImpalaState, impala

__all__ = ["Agent", "ImpalaConfig", "ImpalaState", "Trajectory", "impala"]
