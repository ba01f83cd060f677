"""All unrolls that a team has seen, for an algorithm to which the order of their rows matters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from expedition.agents.actor_critic import Behaviour
from expedition.agents.agent import Trajectory
from expedition.environments.interface import Array, EnvironmentSpec
from expedition.exploration.experience import (
    Experience,
    Minibatch,
    draw_minibatches,
    make_experience,
    record,
)


class Rows(NamedTuple):
    """A batch whose rows are data with numbers."""

    batch: Trajectory  # [T, B, ...], without actors' states
    number: Array  # [T, B] int32; what is no transition has its predecessor's


class UnrollMemory(NamedTuple):
    """Unrolls of one environment each, and what draws from them."""

    experience: Experience  # of `Rows` without an axis B; which have a reward, once more
    replacement_key: jax.Array
    draw_key: jax.Array
    updates: jax.Array  # [] int32


def make_memory(
    spec: EnvironmentSpec,
    unroll_length: int,
    capacity: int,
    minibatch: Minibatch,
    *,
    replacement_key: jax.Array,
    draw_key: jax.Array,
) -> UnrollMemory:
    """Nothing seen yet.

    Args:
      spec: of one observation, and of a discrete action.
      unroll_length: T.
      capacity: unrolls in each member's view of the buffer.
      minibatch: counts unrolls; says how many of those with a positive reward are kept.
      replacement_key: of the seeds' stream of this name.
      draw_key: names every draw.
    """
    seen = spec.observation
    nothing = jnp.zeros(unroll_length)
    one = Trajectory(
        observation=jnp.zeros((unroll_length + 1, *seen.shape), seen.dtype),
        step_type=jnp.zeros(unroll_length + 1, jnp.int8),
        action=nothing.astype(jnp.int32),
        extras=Behaviour(nothing, ()),
        reward=nothing,
        discount=nothing,
        actor_state=(),
    )
    experience = make_experience(Rows(one, one.action), capacity, minibatch)
    return UnrollMemory(experience, replacement_key, draw_key, jnp.int32(0))


def remember(memory: UnrollMemory, rows: Rows) -> UnrollMemory:
    """Adds those of B unrolls that hold a transition."""
    is_transition = rows.batch.is_transition
    is_rewarded = is_transition & (rows.batch.reward > 0)
    experience = record(
        memory.experience, _swapped(rows, 0), is_transition.any(axis=0), is_rewarded.any(axis=0)
    )
    return memory._replace(experience=experience, updates=memory.updates + 1)


def minibatches(memory: UnrollMemory, minibatch: Minibatch, member: jax.Array, count: int) -> Rows:
    """A member's minibatches of this update, `[count, T, size, ...]`, drawn with replacement."""
    key = jax.random.fold_in(jax.random.fold_in(memory.draw_key, memory.updates), member)
    drawn = draw_minibatches(
        memory.experience, minibatch, memory.replacement_key, member, key, count
    )
    return _swapped(drawn.data, 1)


def _swapped(rows: Rows, axis: int) -> Any:
    """Swaps this axis of all leaves with the next one."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, axis, axis + 1), rows)
