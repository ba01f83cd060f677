"""V-trace equals rlax's where the two define the same thing: λ = 1, no truncation."""

import functools
import warnings

import jax
import numpy as np
import pytest
from vtrace_oracle import random_rows

from expedition.losses import vtrace


@pytest.fixture(scope="module")
def rlax():
    with warnings.catch_warnings():  # its dependencies use deprecated names
        warnings.simplefilter("ignore")
        import rlax
    return rlax


def test_equals_rlax(rlax):
    rows = random_rows(4, (12, 3))
    v_t = np.concatenate([rows.v_tm1[1:], rows.v_t[-1:]])
    arrays = [np.asarray(x, np.float32) for x in (rows.v_tm1, v_t, rows.r_t, rows.discount_t)]
    log_rho = np.asarray(rows.log_rho_tm1, np.float32)
    ours = vtrace(*arrays, log_rho, rho_bar=1.3, rho_bar_pg=1.1)

    theirs = functools.partial(
        rlax.vtrace_td_error_and_advantage, clip_rho_threshold=1.3, clip_pg_rho_threshold=1.1
    )
    theirs = jax.jit(jax.vmap(theirs, in_axes=1, out_axes=1))(*arrays, np.exp(log_rho))
    np.testing.assert_allclose(ours.errors, theirs.errors, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.advantages, theirs.pg_advantage, rtol=1e-5, atol=1e-6)

    errors = functools.partial(rlax.vtrace, clip_rho_threshold=1.3)
    errors = jax.jit(jax.vmap(errors, in_axes=1, out_axes=1))(*arrays, np.exp(log_rho))
    np.testing.assert_allclose(ours.errors, errors, rtol=1e-5, atol=1e-6)
