"""What minibatches are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.exploration.experience import (
    Minibatch,
    draw_minibatches,
    make_experience,
    record,
)
from expedition.exploration.seeds import make_seeds
from expedition.exploration.transitions import Transitions

SEEDS = make_seeds(jax.random.key(0))
EXAMPLE = Transitions(jnp.zeros(2), jnp.int32(0), jnp.float32(0), jnp.float32(0), jnp.zeros(2), ())
MIXED = Minibatch(size=16, recent_part=0.375, recent_data=10, rewarded_part=0.25, rewarded_data=5)
COUNT = 500


add = jax.jit(record)


def seen(numbers, rewarded):
    """Transitions that tell their number."""
    x = np.asarray(numbers, np.float32)
    two = np.stack([x, -x], axis=1)
    reward = np.where(np.isin(numbers, rewarded), 0.9, -0.1).astype(np.float32)
    return Transitions(two, x.astype(np.int32), reward, np.ones_like(x), two + 1, ())


def after(minibatch, rewarded, *, last=60, capacity=100):
    """What is there after the data 0 to last, with an invalid row after each third."""
    experience = make_experience(EXAMPLE, capacity, minibatch)
    for start in range(0, last, 3):
        numbers = [start, start + 1, start + 2, rewarded[0] if rewarded else -1]
        data = seen(numbers, rewarded)
        experience = add(experience, data, np.array([True] * 3 + [False]), data.reward > 0)
    return experience


@partial(jax.jit, static_argnames=("minibatch", "count"))
def draw(experience, key, minibatch, count=COUNT):
    return draw_minibatches(experience, minibatch, SEEDS.replacement, 1, key, count)


def drawn_numbers(minibatch, rewarded):
    data, number = draw(after(minibatch, rewarded), jax.random.key(1), minibatch)
    assert number.shape == (COUNT, minibatch.size)
    assert data.observation.shape == (COUNT, minibatch.size, 2)
    np.testing.assert_array_equal(data.action, number)  # a datum's own number came with it
    np.testing.assert_array_equal(data.next_observation[..., 1], 1 - number)
    np.testing.assert_array_equal(data.reward > 0, np.isin(number, rewarded))
    return np.asarray(number)


def assert_uniform(numbers, expected):
    counts = np.bincount(numbers.ravel(), minlength=60)
    np.testing.assert_array_equal(np.flatnonzero(counts), expected)
    mean = numbers.size / len(expected)
    assert np.abs(counts[expected] - mean).max() < 5 * mean**0.5


def test_parts_are_drawn_from_all_the_newest_and_the_rewarded():
    numbers = drawn_numbers(MIXED, [4, 8, 9, 22, 23, 40, 41])
    assert_uniform(numbers[:, :6], np.arange(60))
    assert_uniform(numbers[:, 6:12], np.arange(50, 60))
    assert_uniform(numbers[:, 12:], [9, 22, 23, 40, 41])  # the newest five


def test_all_data_take_the_place_of_the_rewarded_while_there_are_none():
    assert_uniform(drawn_numbers(MIXED, [])[:, 12:], np.arange(60))


def test_a_minibatch_is_uniform_unless_told_otherwise():
    assert_uniform(drawn_numbers(Minibatch(8), [3]), np.arange(60))


def test_rewarded_data_outlive_the_buffer():
    data, number = draw(after(MIXED, [1], capacity=10), jax.random.key(0), MIXED)
    assert set(np.unique(number[:, 12:])) == {1}
    assert set(np.unique(data.action[:, 12:])) == {1}
    assert number[:, :6].min() >= 60 - 2 * 10


def test_minibatches_differ_between_keys_only():
    experience = after(MIXED, [4, 9])
    numbers = [draw(experience, jax.random.key(i), MIXED).number for i in (1, 1, 2)]
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert np.mean(numbers[0] == numbers[2]) < 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"recent_data": 0},
        {"rewarded_data": 0},
        {"recent_part": -0.1},
        {"recent_part": 0.6, "rewarded_part": 0.5},
        {"size": 2, "rewarded_part": 0.25},
    ],
    ids=str,
)
def test_wrong_minibatches_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Minibatch(**wrong)
