"""What is drawn without a loop is what JAX draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.exploration.threefry import written_out

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
    np.testing.assert_array_equal(draw(written_out(KEY)), draw(KEY))
    many = jax.random.split(KEY, 6)
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(written_out(many)), jax.vmap(draw)(many))


def test_words_of_64_bits_are_jaxs_own():
    with jax.enable_x64(True):
        key = jax.random.key(7)
        mine, theirs = (jax.random.bits(x, (5,), "uint64") for x in (written_out(key), key))
        assert mine.dtype == jnp.uint64
        np.testing.assert_array_equal(mine, theirs)


def test_it_may_be_said_twice():
    twice = written_out(written_out(KEY))
    assert twice.dtype == written_out(KEY).dtype
    np.testing.assert_array_equal(jax.random.key_data(twice), jax.random.key_data(KEY))


def test_no_loop_is_compiled():
    def step(key):
        return jax.random.categorical(jax.random.fold_in(key, 3), jnp.zeros((4, 3)))

    assert "while" in jax.jit(step).lower(KEY).compile().as_text()  # or JAX no longer needs this
    assert "while" not in jax.jit(step).lower(written_out(KEY)).compile().as_text()


def test_keys_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="'rbg' was given; expected 'threefry2x32'"):
        written_out(jax.random.key(0, impl="rbg"))


def test_too_many_numbers_at_once_are_refused():
    with pytest.raises(ValueError, match="less than 2\\^32"):
        jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16))).lower(written_out(KEY))
