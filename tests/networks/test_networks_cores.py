"""The LSTM core: resets inside the unroll, splits, gradients."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.networks import LSTMCore

T, B, INPUTS, FEATURES = 6, 3, 4, 5
CORE = LSTMCore(FEATURES)
NO_RESET = np.zeros((T, B), bool)


@pytest.fixture(scope="module")
def params(x, state):
    return jax.jit(CORE.init)(jax.random.key(0), x, NO_RESET, state)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(T, B, INPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    cell, hidden = np.random.default_rng(1).normal(size=(2, B, FEATURES)).astype(np.float32)
    return cell, hidden


unroll = jax.jit(CORE.apply)


def assert_close(left, right):
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def concatenate(*outputs):
    return np.concatenate(outputs, axis=0)


def test_it_is_an_lstm_cell_stepped_by_hand(params, x, state):
    weights = params["params"]
    while "hi" not in weights:  # a gate of the cell
        (weights,) = weights.values()
    cell = nn.OptimizedLSTMCell(FEATURES)
    outputs, after = [], state
    for x_t in x:
        after, output = cell.apply({"params": weights}, after, x_t)
        outputs.append(output)
    assert_close(unroll(params, x, NO_RESET, state), (np.stack(outputs), after))


@pytest.mark.parametrize("t", [0, 1, 4, T - 1])
def test_a_reset_starts_anew_from_zeros(params, x, state, t):
    reset = NO_RESET.copy()
    reset[t, 1] = True
    outputs, after = unroll(params, x, reset, state)
    continued, continued_after = unroll(params, x, NO_RESET, state)
    anew, anew_after = unroll(params, x[t:], NO_RESET[t:], CORE.initial_state(B))

    assert_close(outputs[:t], continued[:t])
    assert_close(outputs[t:, 1], anew[:, 1])
    assert_close([s[1] for s in after], [s[1] for s in anew_after])
    others = np.array([0, 2])  # a reset is one environment's alone
    assert_close(outputs[:, others], continued[:, others])
    assert_close([s[others] for s in after], [s[others] for s in continued_after])
    assert np.abs(outputs[t, 1] - continued[t, 1]).max() > 1e-3


@pytest.mark.parametrize("t", [1, 3, T - 1])
def test_two_unrolls_that_hand_the_state_on_are_one(params, x, state, t):
    reset = np.random.default_rng(2).random((T, B)) < 0.3
    first, between = unroll(params, x[:t], reset[:t], state)
    second, after = unroll(params, x[t:], reset[t:], between)
    assert_close((concatenate(first, second), after), unroll(params, x, reset, state))


def test_no_gradient_crosses_a_reset(params, x, state):
    t, reset = 3, NO_RESET.copy()
    reset[t, 1] = True

    @partial(jax.grad, argnums=(0, 1))
    def gradient_of_late_outputs(x, state):
        outputs, after = CORE.apply(params, x, reset, state)
        return jnp.sum(outputs[t:]) + sum(map(jnp.sum, after))

    before, of_state = jax.device_get(jax.jit(gradient_of_late_outputs)(x, state))
    assert (before[:t, 1] == 0).all()
    assert (before[t:, 1] != 0).all()
    assert (before[:t, [0, 2]] != 0).all()
    for gradient in of_state:
        assert (gradient[1] == 0).all()
        assert (gradient[np.array([0, 2])] != 0).all()


def test_an_episode_starts_from_zeros():
    cell, hidden = CORE.initial_state(B)
    np.testing.assert_array_equal(cell, np.zeros((B, FEATURES)))
    np.testing.assert_array_equal(hidden, np.zeros((B, FEATURES)))


def test_one_set_of_parameters_serves_every_step(params, x, state):
    longer = np.tile(x, (3, 1, 1)), np.tile(NO_RESET, (3, 1)), state
    shapes = jax.eval_shape(CORE.init, jax.random.key(0), *longer)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
