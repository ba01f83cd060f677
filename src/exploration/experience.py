"""All that a team has seen, and how minibatches are drawn from it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from expedition.exploration.replay import Replay, extend, make_replay, sample, sample_newest


@dataclass(frozen=True)
class Minibatch:
    """What a minibatch is made of; what is in no other part is drawn uniformly from all data."""

    size: int = 16
    """Items: unrolls where unrolls are kept, else transitions."""
    recent_part: float = 0.0
    """Part of them that is drawn from the newest items only."""
    recent_data: int = 10_000
    """How many items are the newest."""
    rewarded_part: float = 0.0
    """Part that is drawn from items with a positive reward, as soon as there are any."""
    rewarded_data: int = 10_000
    """How many of these are kept, the newest; at least half as many as come at once, and no more
    than the buffer of all holds."""

    def __post_init__(self) -> None:
        for name in ("size", "recent_data", "rewarded_data"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        parts = self.recent_part, self.rewarded_part
        if min(parts) < 0 or sum(parts) > 1:
            raise ValueError(
                f"recent_part is {parts[0]} and rewarded_part {parts[1]}; expected numbers in "
                "[0, 1] with a sum of at most 1"
            )
        for part in parts:
            if part > 0 and round(part * self.size) == 0:
                raise ValueError(
                    f"a part of {part} of {self.size} was given, which is none; expected 0, or a "
                    "larger part or size"
                )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Data drawn from all, from the newest, from the rewarded."""
        recent = round(self.recent_part * self.size)
        rewarded = min(round(self.rewarded_part * self.size), self.size - recent)
        return self.size - recent - rewarded, recent, rewarded


class Numbered(NamedTuple):
    """Data that know their numbers."""

    data: Any  # [...]
    number: jax.Array  # [...] int32


class Experience(NamedTuple):
    """The data of all agents, and those among them that were rewarded once more."""

    everything: Replay
    rewarded: Replay  # of `Numbered`


def make_experience(example: Any, capacity: int, minibatch: Minibatch) -> Experience:
    """Nothing seen yet.

    Args:
        example: one datum, whose values do not matter: a transition, or an unroll.
        capacity: data in each agent's view of the buffer.
        minibatch: says how many rewarded data are kept.
    """
    kept = min(minibatch.rewarded_data, capacity)
    rewarded = make_replay(Numbered(example, jnp.int32(0)), kept)
    return Experience(make_replay(example, capacity), rewarded)


def record(
    experience: Experience, data: Any, is_valid: chex.Array, is_rewarded: chex.Array
) -> Experience:
    """Adds those of B data that are valid, numbered in their order.

    Args:
        experience: what was seen before.
        data: the data, [B, ...] each, like the example.
        is_valid: [B] bool; what is not valid is no datum.
        is_rewarded: [B] bool, which of them are to be drawn once more.
    """
    number = experience.everything.size + jnp.cumsum(is_valid, dtype=jnp.int32) - 1
    return Experience(
        extend(experience.everything, data, is_valid),
        extend(experience.rewarded, Numbered(data, number), is_valid & is_rewarded),
    )


def draw_minibatches(
    experience: Experience,
    minibatch: Minibatch,
    replacement_key: jax.Array,
    agent: chex.Array,
    key: jax.Array,
    count: int,
) -> Numbered:
    """Draws an agent's minibatches, with replacement.

    Args:
        experience: what was seen; at least one datum, or what is drawn means nothing.
        minibatch: of what size and parts.
        replacement_key: the key of the stream `replacement` of the seeds.
        agent: [] its number.
        key: the key of this draw.
        count: N, how many minibatches; static.

    Returns:
        Data and their numbers, [N, size, ...].
    """
    all_key, recent_key, rewarded_key = jax.random.split(key, 3)
    of_all, of_recent, of_rewarded = (count * x for x in minibatch.counts)
    everything, rewarded = experience
    # Until something was rewarded, all data take its place.
    anything = Numbered(*sample(everything, replacement_key, agent, all_key, of_all + of_rewarded))
    recent = Numbered(*sample_newest(everything, recent_key, of_recent, minibatch.recent_data))
    best, _ = sample_newest(rewarded, rewarded_key, of_rewarded, minibatch.rewarded_data)
    instead = jax.tree.map(lambda x: x[of_all:], anything)
    best = jax.tree.map(lambda x, y: jnp.where(rewarded.size > 0, x, y), best, instead)
    anything = jax.tree.map(lambda x: x[:of_all], anything)

    def dealt(*parts: jax.Array) -> jax.Array:
        dealt = [x.reshape(count, len(x) // count, *x.shape[1:]) for x in parts]
        return jnp.concatenate(dealt, axis=1)

    drawn: Numbered = jax.tree.map(dealt, anything, recent, best)
    return drawn
