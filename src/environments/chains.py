"""Graphs whose edges' rewards are known but for a few: bipolar chain and parallel chains.

Source: Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent Reinforcement
Learning, https://arxiv.org/abs/1802.01282, section 4.
"""

from dataclasses import dataclass

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition
from expedition.exploration.beliefs import KnownGraph


@dataclass(frozen=True, eq=False)
class GraphProblem:
    """A distribution over worlds: one known graph, a few unknown numbers θ in its rewards.

    A world is its θ. All agents start at `start` and stop for good at a terminal vertex. The
    observation is the vertex's number.
    """

    graph: KnownGraph
    is_terminal: np.ndarray  # [S] bool
    start: int
    max_steps: int | None  # no agent can act more often; None: no bound

    @property
    def spec(self) -> EnvironmentSpec:
        """A vertex to see, an outgoing edge to choose."""
        states, actions = self.graph.successor.shape
        return EnvironmentSpec(
            specs.DiscreteArray(states, name="vertex"), specs.DiscreteArray(actions, name="edge")
        )

    def draw(self, key: jax.Array) -> jax.Array:
        """Draws θ from the prior."""
        return self.graph.draw(key)

    def reset(self, world: jax.Array, key: jax.Array) -> tuple[jax.Array, dm_env.TimeStep]:
        """Puts an agent at the start."""
        del world, key
        vertex = jnp.int32(self.start)
        return vertex, first(vertex)

    def step(
        self, world: jax.Array, state: jax.Array, action: jax.Array
    ) -> tuple[jax.Array, dm_env.TimeStep]:
        """Takes an edge."""
        vertex = jnp.asarray(self.graph.successor)[state, action]
        reward = self.graph.rewards(world)[state, action]
        return vertex, transition(vertex, reward, terminated=jnp.asarray(self.is_terminal)[vertex])


def bipolar_chain(
    vertices: int = 50, magnitude: float | None = None, step_cost: float = 0.1
) -> GraphProblem:
    """Two ends, one good and one bad, and nobody knows which.

    The leftmost edge pays θ_L = -θ_R, the rightmost θ_R = ±`magnitude` (default: the number of
    vertices) with equal probability, every other edge costs `step_cost`. Start in the middle,
    `vertices / 2`; the ends are terminal. Actions: 0 left, 1 right.

    Raises:
      ValueError: the number of vertices is odd or below 4.
    """
    if vertices < 4 or vertices % 2:
        raise ValueError(f"{vertices} vertices were given; expected an even number, at least 4")
    scale = float(vertices if magnitude is None else magnitude)
    vertex = np.arange(vertices, dtype=np.int32)
    successor = np.stack([np.maximum(vertex - 1, 0), np.minimum(vertex + 1, vertices - 1)], axis=1)
    terminal = (vertex == 0) | (vertex == vertices - 1)
    successor[terminal] = vertex[terminal, None]
    known = np.full((vertices, 2), -step_cost, np.float32)
    loading = np.zeros((1, vertices, 2), np.float32)
    loading[0, 1, 0], loading[0, vertices - 2, 1] = -1, 1
    known[terminal] = known[1, 0] = known[vertices - 2, 1] = 0

    def draw(key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.uniform(key, (1,)) < 0.5, -scale, scale)

    return GraphProblem(
        KnownGraph(
            successor, known, loading, np.zeros(1, np.float32), np.full(1, scale, np.float32), draw
        ),
        is_terminal=terminal,
        start=vertices // 2,
        max_steps=None,
    )


def parallel_chains(chains: int = 4, length: int = 4, variance: float = 100.0) -> GraphProblem:
    """A source and C chains of L edges; only a chain's last edge pays, and nobody knows what.

    Chain c (from 1) pays θ_c ~ N(0, `variance` + c) at its end; all other edges pay 0. The action
    at the source chooses the chain; inside a chain every action leads on.

    Raises:
      ValueError: there are no two chains, or they have no edge of their own.
    """
    if chains < 2 or length < 2:
        raise ValueError(
            f"{chains} chains of {length} edges were given; expected at least 2 of at least 2"
        )
    states = 1 + chains * length
    place = np.arange(1, states, dtype=np.int32).reshape(chains, length)  # of vertex i in chain c
    successor = np.zeros((states, chains), np.int32)
    successor[0] = place[:, 0]
    successor[place[:, :-1]] = place[:, 1:, None]
    successor[place[:, -1]] = place[:, -1, None]
    terminal = np.zeros(states, bool)
    terminal[place[:, -1]] = True
    loading = np.zeros((chains, states, chains), np.float32)
    loading[np.arange(chains), place[:, -2]] = 1
    deviation = np.sqrt(variance + np.arange(1, chains + 1)).astype(np.float32)

    def draw(key: jax.Array) -> jax.Array:
        return deviation * jax.random.normal(key, (chains,))

    return GraphProblem(
        KnownGraph(
            successor,
            np.zeros((states, chains), np.float32),
            loading,
            np.zeros(chains, np.float32),
            deviation,
            draw,
        ),
        is_terminal=terminal,
        start=0,
        max_steps=length,
    )
