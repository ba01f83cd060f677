"""Threefry-2x32 written out: the random bits of JAX's own, at a fraction of the time on a CPU.

JAX runs the cipher's rounds in a loop on CPUs, five turns of some fifteen instructions each, into
which XLA cannot fuse what reads the words. For the few numbers that a batch of environments draws
at a step, these loops took half the time of the step's program (docs/benchmarks.md). Written out,
a draw is one instruction with its reader.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Threefry).
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl
from jax.typing import ArrayLike

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))

Words = tuple[jax.Array, jax.Array]  # a key, a counter or a block: uint32 [...] each


def block(key_words: Words, high: ArrayLike, low: ArrayLike) -> Words:
    """Encrypts the counters (high, low) in 20 rounds: two independent words each.

    Equal to `jax.extend.random.threefry_2x32`, which also joins the counters to one array, for
    which agents that are sharded over devices would be gathered.

    Args:
        key_words: the key, two uint32 [...].
        high: integers; the three broadcast.
        low: integers.

    Returns:
        Two uint32 of the broadcast shape.
    """
    keys = (*key_words, key_words[0] ^ key_words[1] ^ 0x1BD11BDA)
    counters = (x.astype(jnp.uint32) for x in jnp.broadcast_arrays(high, low))
    x, y = (counter + key for counter, key in zip(counters, key_words, strict=True))
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x += y
            y = x ^ ((y << rotation) | (y >> (32 - rotation)))
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3] + (group + 1)
    return x, y


def written_out(key: jax.Array) -> jax.Array:
    """The same Threefry key (or keys), whose numbers are drawn without a loop.

    All that `jax.random` draws from it, and from keys that it is split or folded into, is bit for
    bit what it draws from the key as it was, in up to 2^32 numbers a call.

    Raises:
        ValueError: the key is of another kind.
    """
    check_kind(key)
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_IMPL)


def check_kind(key: jax.Array) -> None:
    """Raises a ValueError unless it is a key of Threefry-2x32, of JAX's own kind or written out."""
    if (kind := jax.random.key_impl(key)) not in ("threefry2x32", _IMPL):
        raise ValueError(
            f"a key of kind {kind!r} was given; expected 'threefry2x32', whose numbers do not "
            "depend on the batching: make it with jax.random.key(seed, impl='threefry2x32')"
        )


def _counted(key: jax.Array, shape: tuple[int, ...]) -> Words:
    """The blocks of 0, 1, 2, ... in this shape."""
    size = math.prod(shape)
    if size >= 2**32:
        raise ValueError(f"{size} numbers were asked for at once; expected less than 2^32")
    counters = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return block((key[0], key[1]), jnp.uint32(0), counters)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_counted(key, shape), axis=-1)


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    high, low = _counted(key, shape)
    if bit_width == 64:
        return (high.astype(jnp.uint64) << 32) | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{bit_width}")


def _fold_in(key: jax.Array, data: ArrayLike) -> jax.Array:
    return jnp.stack(block((key[0], key[1]), jnp.uint32(0), jnp.asarray(data)))


_IMPL = define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32, written out",
    tag="fryw",
)
