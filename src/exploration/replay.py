"""A buffer that all agents share, although each sees another selection of its data."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from expedition.exploration.seeds import datum_in_slot


class Replay(NamedTuple):
    """The newest 2C data, of which each agent's view holds at most C.

    Datum j lies in row j mod 2C. Agent k's buffer of capacity C overwrites its slots in an order of
    its own (see `replacement_slot`), each slot once in C data. So whatever a slot holds is less
    than 2C data old, and one ring of 2C rows serves all agents.
    """

    data: chex.ArrayTree  # [2C, ...] each
    size: jax.Array  # [] int32, the number of data ever added

    @property
    def capacity(self) -> int:
        """C, the number of data in each agent's view once that many were added."""
        return len(jax.tree.leaves(self.data)[0]) // 2


def make_replay(example: chex.ArrayTree, capacity: int) -> Replay:
    """An empty buffer for data like the example.

    Args:
        example: one datum: arrays of any shapes and types, whose values do not matter.
        capacity: C ≥ 1, the number of data in each agent's view.

    Raises:
        ValueError: if the capacity is below 1, or if the example holds no array.
    """
    if capacity < 1 or not jax.tree.leaves(example):
        raise ValueError(
            f"a capacity of {capacity} and {len(jax.tree.leaves(example))} arrays a datum were "
            "given; expected at least 1 of both"
        )

    def rows(x: ArrayLike) -> jax.Array:
        return jnp.zeros((2 * capacity, *jnp.shape(x)), jnp.result_type(x))

    return Replay(jax.tree.map(rows, example), jnp.int32(0))


def extend(replay: Replay, data: chex.ArrayTree, is_valid: ArrayLike) -> Replay:
    """Adds those of B data that are valid, numbered in their order.

    Writes B rows in place, whatever the capacity, if the buffer is donated or carried by a scan.

    Args:
        replay: the buffer, of 2C rows.
        data: the data, [B, ...] each, B ≤ 2C.
        is_valid: [B] bool; an invalid datum changes nothing.

    Returns:
        The buffer with the data in it.

    Raises:
        ValueError: if the data are not like the buffer's, or are more than its rows.
    """
    is_valid = jnp.asarray(is_valid)
    _check(replay, data, is_valid)
    rows = 2 * replay.capacity
    count = jnp.cumsum(is_valid, dtype=jnp.int32)
    # An invalid datum goes to the row after the last, and is dropped there.
    row = jnp.where(is_valid, (replay.size + count - 1) % rows, rows)
    if len(row) == 1:  # XLA:CPU joins the writing of one row to its readers, and copies the buffer
        row, data = jnp.append(row, rows), jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), data)
    written = jax.tree.map(lambda ring, x: ring.at[row].set(x, mode="drop"), replay.data, data)
    return Replay(written, replay.size + count[-1])


def sample(
    replay: Replay, replacement_key: jax.Array, agent: ArrayLike, key: jax.Array, batch_size: int
) -> tuple[chex.ArrayTree, jax.Array]:
    """Draws data uniformly, with replacement, from what an agent's buffer holds.

    The permutations are evaluated only if more than C data were added.

    Args:
        replay: the buffer.
        replacement_key: the key of the stream `replacement` of the seeds.
        agent: [] the agent's number k.
        key: the key of this draw.
        batch_size: N, static.

    Returns:
        The data, [N, ...] each, and their numbers, [N] int32. If the buffer is empty, the numbers
        are -1 and the data mean nothing.
    """
    filled = jnp.minimum(replay.size, replay.capacity)
    slot = jax.random.randint(key, (batch_size,), 0, jnp.maximum(filled, 1))
    number = datum_in_slot(replacement_key, agent, slot, replay.size, replay.capacity)
    row = number % (2 * replay.capacity)
    return jax.tree.map(lambda ring: ring[row], replay.data), number


def sample_newest(
    replay: Replay, key: jax.Array, batch_size: int, newest: int
) -> tuple[chex.ArrayTree, jax.Array]:
    """Draws data uniformly, with replacement, from the newest, the same for all agents.

    Args:
        replay: the buffer.
        key: the key of this draw.
        batch_size: N, static.
        newest: how many data count as such; fewer if there are fewer, or if C is less.

    Returns:
        As `sample` does.
    """
    filled = jnp.minimum(replay.size, min(newest, replay.capacity))
    age = jax.random.randint(key, (batch_size,), 0, jnp.maximum(filled, 1))
    number = replay.size - 1 - age
    row = number % (2 * replay.capacity)
    return jax.tree.map(lambda ring: ring[row], replay.data), number


def _check(replay: Replay, data: chex.ArrayTree, is_valid: jax.Array) -> None:
    rows = 2 * replay.capacity
    if is_valid.dtype != bool or is_valid.ndim != 1 or not 1 <= len(is_valid) <= rows:
        raise ValueError(
            f"is_valid of type {is_valid.dtype} and shape {is_valid.shape} was given; expected "
            f"bool [B], 1 ≤ B ≤ {rows}: add more data in several calls"
        )
    given = jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), data)
    expected = jax.tree.map(lambda x: ((len(is_valid), *x.shape[1:]), x.dtype), replay.data)
    if given != expected:
        raise ValueError(
            f"data of (shape, type) {given} were given; expected {expected}: "
            "add data like the example of make_replay, with a leading axis of B"
        )
