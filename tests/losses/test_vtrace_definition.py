"""V-trace is the sum that the paper defines."""

import jax
import numpy as np
import pytest
from vtrace_oracle import Rows, Thresholds, random_rows, vtrace_from_definition

from expedition.losses import vtrace


@jax.jit
def compiled_vtrace(rows, thresholds):
    *arrays, continuation_t = rows
    return vtrace(*arrays, continuation_t=continuation_t, **thresholds._asdict())


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("length", [1, 2, 20])
@pytest.mark.parametrize("batch", [(), (3,), (3, 2)], ids=str)
def test_equals_the_definition(batch, length, gamma):
    rows = random_rows(length, (length, *batch), gamma)
    for thresholds in (
        Thresholds(),
        Thresholds(1.0, 1.0, 1.0, 1.0),
        Thresholds(0.5, 2.0, 1.5, 0.6),
    ):
        targets, advantages = vtrace_from_definition(rows, thresholds)
        with jax.enable_x64(True):
            output = compiled_vtrace(rows, thresholds)
        assert output.targets.dtype == np.float64
        np.testing.assert_allclose(output.targets, targets, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(output.advantages, advantages, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(output.errors, targets - rows.v_tm1, atol=1e-10)
        ratio = np.minimum(thresholds.rho_bar_pg, np.exp(rows.log_rho_tm1))
        np.testing.assert_allclose(output.action_values, advantages / ratio + rows.v_tm1, rtol=1e-9)


def test_rows_have_every_kind_of_boundary():
    rows = random_rows(20, (20, 3))
    terminated, truncated = rows.discount_t == 0, rows.continuation_t == 0
    assert (terminated & ~truncated)[:-1].any()
    assert (truncated & ~terminated)[:-1].any()


def test_defaults_are_all_one_and_no_truncation():
    rows = random_rows(0, (5, 2))
    with jax.enable_x64(True):
        given = compiled_vtrace(
            Rows(*rows[:5], np.ones_like(rows.v_t)), Thresholds(1.0, 1.0, 1.0, 1.0)
        )
        default = vtrace(*rows[:5])
    np.testing.assert_allclose(default.targets, given.targets, rtol=1e-12)
    np.testing.assert_allclose(default.advantages, given.advantages, rtol=1e-12)
