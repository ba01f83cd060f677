"""What is drawn without a loop is what JAX draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compilation import FOR_USERS
from expedition.exploration.threefry import fold_in, split, without_loop

KEY = jax.random.key(7)
DRAWS = {
    "bytes": lambda key: jax.random.bits(key, (5, 3), "uint8"),
    "half words": lambda key: jax.random.bits(key, (5, 3), "uint16"),
    "words": lambda key: jax.random.bits(key, (300,)),
    "one": jax.random.uniform,
    "none": lambda key: jax.random.uniform(key, (0,)),
    "normal": lambda key: jax.random.normal(key, (7,)),
    "categorical": lambda key: jax.random.categorical(key, jnp.zeros((4, 3))),
    "permutation": lambda key: jax.random.permutation(key, 10),
    "gamma": lambda key: jax.random.gamma(key, 2.0, (5,)),
    "integer": lambda key: jax.random.randint(key, (), 0, 9),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 4))),
    "folded": lambda key: jax.random.key_data(jax.random.fold_in(key, 2**32 - 1)),
    "of a child": lambda key: jax.random.bits(jax.random.fold_in(jax.random.split(key)[1], 5)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_jaxs_own(name):
    draw = DRAWS[name]
    np.testing.assert_array_equal(draw(without_loop(KEY)), draw(KEY))
    many = jax.random.split(KEY, 6)
    without = jax.jit(jax.vmap(draw))(jax.vmap(without_loop)(many))
    np.testing.assert_array_equal(without, jax.vmap(draw)(many))


@pytest.mark.parametrize("data", [0, 5, 2**32 - 1, jnp.int32(-3)])
def test_keys_are_jaxs_own(data):
    """Of JAX's kind too, so that they can be kept, saved, and given to whatever wants a key."""
    assert fold_in(KEY, data) == jax.random.fold_in(KEY, data)
    assert (split(fold_in(KEY, data), 5) == jax.random.split(fold_in(KEY, data), 5)).all()


def test_keys_of_the_old_kind_stay_arrays():
    key = jax.random.PRNGKey(7)
    np.testing.assert_array_equal(fold_in(key, 3), jax.random.fold_in(key, 3), strict=True)
    np.testing.assert_array_equal(split(key, 3), jax.random.split(key, 3), strict=True)
    np.testing.assert_array_equal(
        jax.random.bits(without_loop(key), (3,)), jax.random.bits(key, (3,))
    )


def test_words_of_64_bits_are_jaxs_own():
    with jax.enable_x64(True):
        key = jax.random.key(7)
        mine, theirs = (jax.random.bits(x, (5,), "uint64") for x in (without_loop(key), key))
        assert mine.dtype == jnp.uint64
        np.testing.assert_array_equal(mine, theirs)


def test_no_loop_is_compiled():
    def step(key):
        return jax.random.categorical(key, jnp.zeros((4, 3)))

    def text(step):
        return jax.jit(step).lower(KEY).compile(FOR_USERS).as_text()

    assert "while" in text(step)  # else JAX needs this no longer
    assert "while" not in text(lambda key: step(without_loop(split(fold_in(key, 3), 2)[1])))


def test_keys_are_made_once_for_all_who_read_them():
    """Fused into its readers the cipher would run anew for each of them, at every level."""

    def instructions(levels):
        def draw(key):
            for level in range(levels):
                key = without_loop(split(fold_in(key, level), 2)[0])
            return jax.random.normal(key, (3,))

        return jax.jit(draw).lower(KEY).compile(FOR_USERS).as_text().count(" = ")

    assert instructions(8) - instructions(4) < 1.5 * (instructions(4) - instructions(0))


@pytest.mark.parametrize("key", [jax.random.key(0, impl="rbg"), without_loop(KEY)])
def test_keys_of_another_kind_stay_what_they_are(key):
    assert without_loop(key).dtype == key.dtype
    assert fold_in(key, 3).dtype == key.dtype


def test_where_bits_are_numbered_otherwise_keys_stay_what_they_are():
    with jax.threefry_partitionable(False):
        assert without_loop(KEY).dtype == KEY.dtype


def test_too_many_numbers_at_once_are_refused():
    with pytest.raises(ValueError, match="less than 2\\^32"):
        jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16))).lower(without_loop(KEY))
