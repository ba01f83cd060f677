"""Bad arguments are refused at the door, by name, with what was given and what was expected."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.losses import (
    GaussianParameters,
    a2c_loss,
    boltzmann_targets,
    categorical,
    diagonal_gaussian,
    discounted_return,
    impala_loss,
    policy_gradient_loss,
    seed_td_loss,
    value_loss,
    vtrace,
)

TRANSITION = ["v_tm1", "v_t", "r_t", "discount_t", "continuation_t"]
ARRAYS = {
    vtrace: [*TRANSITION, "log_rho_tm1"],
    discounted_return: ["r_t", "discount_t", "v_t", "continuation_t"],
    policy_gradient_loss: [
        *("log_prob_tm1", "r_t", "discount_t", "baseline_tm1", "continuation_t", "weight_tm1"),
    ],
    value_loss: ["v_tm1", "target_tm1", "weight_tm1"],
    a2c_loss: [*TRANSITION, "log_prob_tm1", "entropy_tm1", "weight_tm1"],
    impala_loss: [
        *(*TRANSITION, "log_prob_tm1", "behaviour_log_prob_tm1", "entropy_tm1", "weight_tm1"),
    ],
}
ONE_WRONG = [(function, name) for function, names in ARRAYS.items() for name in names]


def arrays(function, shape):
    return {name: np.zeros(shape, np.float32) for name in ARRAYS[function]}


def id_of(value):
    return getattr(value, "__name__", value)


@pytest.mark.parametrize(("function", "wrong"), ONE_WRONG, ids=id_of)
@pytest.mark.parametrize("shape", [(5, 2), (4, 1), (4,)], ids=str)
def test_one_wrong_shape(function, wrong, shape):
    given = arrays(function, (4, 2)) | {wrong: np.zeros(shape, np.float32)}
    with pytest.raises(AssertionError) as error:
        jax.eval_shape(lambda: function(**given))
    assert str(shape) in str(error.value)
    assert "(4, 2)" in str(error.value)
    assert "has shape" in str(error.value)


@pytest.mark.parametrize("function", ARRAYS, ids=id_of)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3)], ids=str)
def test_no_time_axis_or_no_rows(function, shape):
    with pytest.raises(AssertionError, match=re.escape(f"{shape}, expected [T, ...]")):
        function(**arrays(function, shape))


@pytest.mark.parametrize("name", ["lambda_", "rho_bar", "c_bar", "rho_bar_pg"])
@pytest.mark.parametrize("function", [vtrace, impala_loss], ids=id_of)
def test_threshold_that_is_no_scalar(function, name):
    with pytest.raises(AssertionError, match=rf"{name} has shape \(4,\), expected a scalar"):
        function(**arrays(function, (4, 4)), **{name: jnp.ones(4)})


@pytest.mark.parametrize(
    "function", [policy_gradient_loss, value_loss, a2c_loss, impala_loss], ids=id_of
)
def test_unknown_reduction(function):
    with pytest.raises(ValueError, match='\'average\', expected "sum" or "mean"'):
        function(**arrays(function, (4, 2)), reduction="average")


def test_categorical_arguments():
    logits = jnp.zeros((4, 3))
    with pytest.raises(AssertionError, match=re.escape("(4, 1), expected (4,)")):
        categorical.log_prob(logits, jnp.zeros((4, 1), int))
    with pytest.raises(AssertionError, match="must be an integer"):
        categorical.log_prob(logits, jnp.zeros(4))
    for function in (categorical.entropy, categorical.mode):
        with pytest.raises(AssertionError, match=re.escape("(4, 0), expected [..., A]")):
            function(jnp.zeros((4, 0)))


def test_gaussian_arguments():
    mean = jnp.zeros((4, 3))
    shared = GaussianParameters(mean, jnp.zeros(3))
    for function in (diagonal_gaussian.entropy, diagonal_gaussian.mode):
        with pytest.raises(AssertionError, match=re.escape("(3,), expected (4, 3)")):
            function(shared)
    with pytest.raises(AssertionError, match=re.escape("(4,), expected (4, 3)")):
        diagonal_gaussian.log_prob(GaussianParameters(mean, mean), jnp.zeros(4))
    with pytest.raises(AssertionError, match=re.escape("(), expected [..., A]")):
        diagonal_gaussian.mode(GaussianParameters(jnp.zeros(()), jnp.zeros(())))


@pytest.mark.parametrize("function", ARRAYS, ids=id_of)
def test_lists_of_numbers_are_arrays(function):
    given = {name: np.full(3, 0.5, np.float32) for name in ARRAYS[function]}
    found = function(**given), function(**{name: x.tolist() for name, x in given.items()})
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_lists_of_a_boltzmann_policy_and_of_seed_td():
    q = [[1.0, 2.0], [0.0, 1.0], [2.0, 0.0]]
    given = [0, 1], [-0.5, -0.7], [1.0, 0.0], [0.9, 0.9]
    of_lists = boltzmann_targets(q, *given, temperature=1.0)
    of_arrays = boltzmann_targets(*map(jnp.array, (q, *given)), temperature=1.0)
    jax.tree.map(np.testing.assert_array_equal, of_lists, of_arrays)
    rows = q[:2], [0, 1], [1.0, 0.0], [0.9, 0.9], q[1:], [0.1, 0.2]
    found = seed_td_loss(*rows), seed_td_loss(*map(jnp.array, rows))
    jax.tree.map(np.testing.assert_array_equal, *found)
    mean = seed_td_loss(*rows, reduction="mean")
    np.testing.assert_allclose(found[0].loss, 2 * mean.loss, rtol=1e-6)


@pytest.mark.parametrize(
    "function", [policy_gradient_loss, value_loss, a2c_loss, impala_loss], ids=id_of
)
def test_a_loss_is_a_sum_unless_a_mean_is_asked_for(function):
    rng = np.random.default_rng(0)
    given = {name: rng.uniform(0.1, 1, (3, 2)).astype(np.float32) for name in ARRAYS[function]}
    total, mean = (jax.tree.leaves(function(**given, **x))[0] for x in ({}, {"reduction": "mean"}))
    np.testing.assert_allclose(total, 6 * mean, rtol=1e-5)
    assert abs(mean) > 1e-3
