"""Random keys by name: the same name gives the same key, whatever ran before."""

import zlib

import jax


def named_key(key: jax.Array, *names: str | int) -> jax.Array:
    """Folds a path of names and numbers into a key, e.g. `named_key(key, "actor", 3)`."""
    for name in names:
        number = zlib.crc32(name.encode()) if isinstance(name, str) else name
        key = jax.random.fold_in(key, number)
    return key
