"""What an actor makes: a trajectory, what came with it, and where the actor is after it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import dm_env
import jax
import numpy as np

from expedition.agents.agent import Agent, Trajectory
from expedition.environments.interface import EnvironmentSpec
from expedition.runtime.arrays import from_numpy, to_numpy


class Episode(NamedTuple):
    """A finished episode."""

    total_reward: float  # the environment's
    training_return: float  # the same, of what the agent learns from, such as clipped rewards
    length: int  # actions


class Position(NamedTuple):
    """All that an actor's next unroll depends on beside parameters; arrays, to be saved."""

    # [4] int64: times that it has acted, its unrolls, its environment steps, its restarts.
    counts: np.ndarray
    environment: Any  # its state; () if it has none that can be saved
    timestep: Any  # the last one
    actor_state: Any
    episodes: Any  # the counts of the unfinished ones


def pack(position: Position) -> np.ndarray:
    """A position as `[N]` bytes, so that no number's type is in the way."""
    leaves = [np.ascontiguousarray(to_numpy(x)) for x in jax.tree.leaves(position)]
    return np.concatenate([x.reshape(-1).view(np.uint8) for x in leaves])


def unpack(data: np.ndarray, like: Position) -> Position:
    """Undoes `pack`, for a position of these shapes and types; arrays are numpy's, keys JAX's.

    Raises:
      ValueError: there are more or fewer bytes than such a position has.
    """
    sizes = [to_numpy(x).nbytes for x in jax.tree.leaves(like)]
    if sum(sizes) != len(data):
        raise ValueError(f"{len(data)} bytes of a position were given; expected {sum(sizes)}")
    parts = iter(np.split(data, np.cumsum(sizes)[:-1]))

    def read(like: Any) -> Any:
        expected = to_numpy(like)
        return from_numpy(next(parts).view(expected.dtype).reshape(expected.shape), like)

    return jax.tree.map(read, like)


def packed_counts(data: np.ndarray) -> np.ndarray:
    """The counts of a packed position."""
    return data[: 4 * 8].view(np.int64)


def nowhere(like: np.ndarray) -> np.ndarray:
    """Stands for the packed position of an actor that has not begun."""
    return np.zeros_like(like)  # which no position is: its last time step has a discount


def is_nowhere(data: np.ndarray) -> bool:
    """Whether a packed position stands for an actor that has not begun."""
    return not data.any()


class Unroll(NamedTuple):
    """What an actor sends to the learner."""

    content: Any  # what it learns from: the trajectory, or the agent's digest of it
    transitions: int  # real environment steps in it
    version: int  # of the parameters that chose all of its actions
    episodes: list[Episode]  # that ended in it
    actor: int  # who made it
    then: Position  # where its actor is after it


def abstract_trajectory(
    agent: Agent, params: Any, spec: EnvironmentSpec, num_environments: int, unroll_length: int
) -> Trajectory:
    """Shapes and types of an unroll (`jax.ShapeDtypeStruct`s), known before any is made."""
    num, shape = num_environments, jax.ShapeDtypeStruct
    observation = shape((num, *spec.observation.shape), spec.observation.dtype)
    row = dm_env.TimeStep(
        shape((num,), np.int8), shape((num,), np.float32), shape((num,), np.float32), observation
    )
    state = jax.eval_shape(lambda: agent.initial_actor_state(num))
    action, extras, _ = jax.eval_shape(agent.act, params, state, row, jax.random.key(0))

    def rows(count: int, tree: Any) -> Any:
        return jax.tree.map(lambda x: shape((count, *x.shape), x.dtype), tree)

    return Trajectory(
        observation=rows(unroll_length + 1, row.observation),
        step_type=rows(unroll_length + 1, row.step_type),
        action=rows(unroll_length, action),
        extras=rows(unroll_length, extras),
        reward=rows(unroll_length, row.reward),
        discount=rows(unroll_length, row.discount),
        actor_state=state,
    )


def require_finite(trajectory: Trajectory) -> None:
    """Checks what the environments said.

    Raises:
      FloatingPointError: a reward, discount or observation is not finite; names the first.
    """
    for name in ("reward", "discount", "observation"):
        for leaf in jax.tree.leaves(getattr(trajectory, name)):
            if np.issubdtype(leaf.dtype, np.floating) and not np.isfinite(leaf).all():
                row, environment = np.argwhere(~np.isfinite(leaf))[0][:2]
                raise FloatingPointError(
                    f"the {name} of environment {environment} is not finite: "
                    f"{leaf[row, environment]}, in row {row} of the unroll"
                )


class EpisodeCounter:
    """Adds up rewards, as given and as the agent learns from them, and lengths across unrolls."""

    def __init__(self, num_environments: int, training_reward: Callable[[Any], Any]) -> None:
        self._training_reward = training_reward
        self._sums = np.zeros((num_environments, 3))  # the columns are an `Episode`'s fields

    def count(self, trajectory: Trajectory) -> list[Episode]:
        """The episodes that ended in the unroll, in the order of their ends."""
        reward = trajectory.reward
        added = np.stack([reward, self._training_reward(reward), np.ones_like(reward)], axis=-1)
        sums = np.where(trajectory.is_transition[..., None], added.astype(np.float64), 0.0)
        for row, goes_on in zip(sums, trajectory.continues, strict=True):
            row += self._sums
            self._sums = np.where(goes_on[:, None], row, 0.0)
        ended = sums[~trajectory.continues].tolist()
        return [Episode(given, trained_on, int(length)) for given, trained_on, length in ended]

    def get_state(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `[B, 2]` and lengths `[B]` so far of the episodes that go on."""
        return self._sums[:, :2].copy(), self._sums[:, 2].astype(np.int64)

    def set_state(self, state: tuple[np.ndarray, np.ndarray]) -> None:
        """Goes on from there."""
        returns, lengths = state
        self._sums = np.column_stack([returns, lengths]).astype(np.float64)
