"""V-trace under JAX's transformations, in every precision, at extreme ratios."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vtrace_oracle import Thresholds, random_rows

from compilation import FOR_USERS
from expedition.losses import categorical, impala_loss, vtrace


def apply(rows, thresholds=None):
    *arrays, continuation_t = rows
    thresholds = thresholds or Thresholds()
    return vtrace(*arrays, continuation_t=continuation_t, **thresholds._asdict())


@pytest.fixture(scope="module")
def rows():
    return jax.tree.map(np.float32, random_rows(5, (7, 3)))


def test_vmap_over_the_batch_equals_the_batch(rows):
    mapped = jax.vmap(apply, in_axes=1, out_axes=1)(rows)
    for ours, expected in zip(mapped, apply(rows), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_vmap_over_the_thresholds(rows):
    thresholds = Thresholds(*(jnp.array([1.0, value]) for value in Thresholds()))
    mapped = jax.jit(jax.vmap(apply, in_axes=(None, 0)))(rows, thresholds)
    expected = apply(rows)
    np.testing.assert_allclose(mapped.targets[1], expected.targets, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mapped.advantages[1], expected.advantages, rtol=1e-5, atol=1e-6)


def test_no_gradient_through_targets_and_advantages(rows):
    def both(rows, thresholds):
        output = apply(rows, thresholds)
        return jnp.sum(output.targets) + jnp.sum(output.advantages)

    gradients = jax.grad(both, argnums=(0, 1))(rows, Thresholds())
    for gradient in jax.tree.leaves(gradients):
        np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def test_value_gradient_reaches_v_tm1_only(rows):
    gradients = jax.grad(lambda rows: jnp.sum(0.5 * apply(rows).errors ** 2))(rows)
    np.testing.assert_allclose(gradients.v_tm1, -apply(rows).errors, rtol=1e-6)
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_is_computed_in_float32(rows, dtype):
    narrow = jax.tree.map(lambda x: jnp.asarray(x, dtype), rows)
    widened = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    for ours, expected in zip(apply(narrow), apply(widened), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_array_equal(ours, expected)


def test_float32_stays_float32_under_x64(rows):
    with jax.enable_x64(True):
        assert {x.dtype for x in vtrace(*rows[:5])} == {np.dtype(np.float32)}


def test_extreme_ratios_are_finite(rows):
    signs = np.where(np.arange(7)[:, None] % 2, 1e3, -1e3) * np.ones((7, 3))

    def loss(log_prob, v_tm1):
        arrays = (rows.v_t, rows.r_t, rows.discount_t)
        return impala_loss(log_prob, np.zeros((7, 3)), np.zeros((7, 3)), v_tm1, *arrays)

    output = loss(signs, rows.v_tm1)
    gradients = jax.grad(lambda *args: loss(*args).total, argnums=(0, 1))(
        jnp.asarray(signs), rows.v_tm1
    )
    for array in jax.tree.leaves((output, gradients)):
        assert np.isfinite(array).all()


def _learner_gradient(length):
    """The lowered gradient of a learner's whole loss, from logits and values on."""

    def loss(logits, v, rows, action):
        return impala_loss(
            categorical.log_prob(logits, action),
            rows.log_rho_tm1,
            categorical.entropy(logits),
            v[:-1],
            v[1:],
            rows.r_t,
            rows.discount_t,
            continuation_t=rows.continuation_t,
        ).total

    rows = jax.tree.map(np.float32, random_rows(6, (length, 4)))
    logits, v = np.zeros((length, 4, 6), np.float32), np.zeros((length + 1, 4), np.float32)
    action = np.zeros((length, 4), np.int32)
    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return gradient.lower(logits, v, rows, action)


def test_gradient_holds_one_scan_and_one_softmax():
    hlo = _learner_gradient(20).compile(FOR_USERS).as_text()
    assert len(re.findall(r" while\(", hlo)) == 1
    assert len(re.findall(r" log\(", hlo)) == 1  # the log-normaliser, shared with the entropy


def test_program_size_does_not_depend_on_the_length():
    short, long = (_learner_gradient(length).as_text().splitlines() for length in (20, 1000))
    assert len(short) == len(long)
