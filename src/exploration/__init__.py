"""Coordinated exploration: seeds, shared beliefs, planning, randomised regressions, replay."""

from expedition.exploration.beliefs import Beliefs, KnownGraph, graph_beliefs
from expedition.exploration.dirichlet import dirichlet_beliefs
from expedition.exploration.experience import Minibatch
from expedition.exploration.planning import MDP, value_iteration
from expedition.exploration.regression import (
    Regression,
    RegressionConfig,
    linear_regression,
    one_hot_regression,
)
from expedition.exploration.replay import Replay, extend, make_replay, sample
from expedition.exploration.seeds import Seeds, make_seeds
from expedition.exploration.transitions import Transitions

__all__ = [
    "MDP",
    "Beliefs",
    "KnownGraph",
    "Minibatch",
    "Regression",
    "RegressionConfig",
    "Replay",
    "Seeds",
    "Transitions",
    "dirichlet_beliefs",
    "extend",
    "graph_beliefs",
    "linear_regression",
    "make_replay",
    "make_seeds",
    "one_hot_regression",
    "sample",
    "value_iteration",
]
