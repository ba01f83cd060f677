"""Batches whose state can be saved go on as if nothing had been."""

import jax
import numpy as np
import pytest

from expedition import environments
from expedition.environments import Swingup, SwingupBatch
from expedition.environments.interface import LAST, Restorable
from expedition.runtime.unroll import Position, pack, unpack

MAKE = {
    "catch": lambda key: environments.make("catch", 3, key),
    "deep_sea": lambda key: environments.make("deep_sea_stochastic:5", 3, key),
    "probe": lambda key: environments.make("probe:discounting", 3, key),
    "cartpole": lambda key: environments.make(
        "dm_control:cartpole-swingup", 3, key, action_bins=3, action_repeat=100
    ),
    "balance": lambda key: environments.make(
        "dm_control:cartpole-balance", 3, key, action_bins=3, action_repeat=100
    ),
    "swingup": lambda key: SwingupBatch(Swingup(max_steps=12), 3, key),
}


def steps(batch, count, seed):
    """Time steps after random actions."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(batch.spec.action.num_values, size=(count, batch.num_environments))
    return [jax.tree.map(np.asarray, batch.step(action)) for action in actions]


def as_saved(state, like):
    """What a checkpoint gives back of it."""
    return unpack(pack(position(state)), position(like)).environment


def position(state):
    return Position(np.zeros(3, np.int64), state, (), (), ())


def test_plain_numbers_may_be_part_of_a_state():
    found = as_saved({"step": 3, "x": np.arange(2.0)}, {"step": 0, "x": np.zeros(2)})
    assert (int(found["step"]), found["x"].tolist()) == (3, [0.0, 1.0])


@pytest.mark.parametrize("name", MAKE)
def test_another_batch_goes_on_from_a_state(name):
    """Through ends of episodes and the starts after them, with another key of its own."""
    pytest.importorskip("dm_control")
    batch, other = (MAKE[name](jax.random.key(i)) for i in (0, 1))
    assert isinstance(batch, Restorable)
    batch.reset()
    steps(batch, 7, seed=0)
    state = batch.get_state()
    expected = steps(batch, 30, seed=1)
    other.reset()
    steps(other, 3, seed=2)
    for _ in range(2):  # as a run that goes on twice
        other.set_state(as_saved(state, other.get_state()))
        state = other.get_state()
    found = steps(other, 30, seed=1)
    assert any((step.step_type == LAST).any() for step in expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_state_is_not_changed_by_later_steps():
    pytest.importorskip("dm_control")
    for make in MAKE.values():
        batch = make(jax.random.key(0))
        batch.reset()
        state = batch.get_state()
        before = [np.array(jax.random.key_data(x) if is_key(x) else x) for x in leaves(state)]
        steps(batch, 5, seed=0)
        after = [np.array(jax.random.key_data(x) if is_key(x) else x) for x in leaves(state)]
        jax.tree.map(np.testing.assert_array_equal, after, before)


def leaves(state):
    return jax.tree.leaves(state)


def is_key(x):
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
