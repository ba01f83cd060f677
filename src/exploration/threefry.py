"""Threefry-2x32 written out: the random bits of JAX's own, at a fraction of the time on a CPU.

JAX runs the cipher's rounds in a loop on CPUs, five turns of some fifteen instructions each, into
which XLA cannot fuse what reads the words. Where a batch of environments draws a few numbers at a
step, these loops took half the time of catch's program. Written out, XLA fuses them.

Keys stay JAX's own: `fold_in` and `split` give what those of `jax.random` give, and only who draws
gives `without_loop(key)` to `jax.random`.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Threefry).
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl, threefry_prng_impl
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


def fold_in(key: jax.Array, data: ArrayLike) -> jax.Array:
    """`jax.random.fold_in`, the same key of the same kind."""
    return _like(jax.random.fold_in(without_loop(key), data), key)


def split(key: jax.Array, num: int) -> jax.Array:
    """`jax.random.split`, the same keys of the same kind."""
    return _like(jax.random.split(without_loop(key), num), key)


def without_loop(key: jax.Array) -> jax.Array:
    """A key to draw from, not to keep: what it gives `jax.random.bits` is bit for bit the same.

    So are uniform, normal, categorical and other draws made of bits, of fewer than 2^32 numbers a
    call; JAX refuses such keys for `poisson`. A key that is no Threefry's is returned as it is, and
    so is any where `jax_threefry_partitionable` is off, which numbers the bits otherwise.
    """
    is_partitionable: bool = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    if jax.random.key_impl(key) != "threefry2x32" or not is_partitionable:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_IMPL)


def _like(key: jax.Array, other: jax.Array) -> jax.Array:
    data = jax.random.key_data(key)
    if not jax.dtypes.issubdtype(other.dtype, jax.dtypes.prng_key):  # of `jax.random.PRNGKey`
        return data
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(other))


def _counted(key: jax.Array, shape: tuple[int, ...]) -> Words:
    """The blocks of 0, 1, 2, ... in this shape."""
    size = math.prod(shape)
    if size >= 2**32:
        raise ValueError(f"{size} numbers were asked for at once; expected less than 2^32")
    counters = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return block((key[0], key[1]), jnp.uint32(0), counters)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    # Else XLA fuses the cipher into whoever reads a key, and runs it once for each of them.
    return jax.lax.optimization_barrier(jnp.stack(_counted(key, shape), axis=-1))


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    high, low = _counted(key, shape)
    if bit_width == 64:
        return (high.astype(jnp.uint64) << 32) | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{bit_width}")


def _fold_in(key: jax.Array, data: ArrayLike) -> jax.Array:
    return jnp.stack(block((key[0], key[1]), jnp.uint32(0), data))


_IMPL = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32 without loop",
    tag="fryw",
)
