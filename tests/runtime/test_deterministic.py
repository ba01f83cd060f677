"""A deterministic run is a function of its seed."""

import jax
import numpy as np
import pytest
from small_runs import KINDS, config, curve, impala_agent, run


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("unrolls_per_batch", [2, 4, 8], ids=lambda u: f"{u}_unrolls_a_batch")
@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_are_bit_equal_whatever_the_timing(kind, unrolls_per_batch):
    """Four actors that sleep at random; 200 updates."""
    updates = 200 if unrolls_per_batch == 2 else 30
    settings = config(kind, updates, unrolls_per_batch=unrolls_per_batch)
    (one, first), (other, second) = (run(kind, settings) for _ in range(2))
    assert one.counters["updates"] == updates
    assert_equal(one.params, other.params)
    assert_equal(curve(first), curve(second))
    lags = np.array([[row["policy_lag_min"], row["policy_lag_max"]] for row in first])
    np.testing.assert_array_equal(lags[1:], 1)
    np.testing.assert_array_equal(lags[0], 0)


def test_free_running_is_not():
    """Or the test before would show nothing."""
    settings = config("impala", 30, deterministic=False)
    (one, _), (other, _) = (run("impala", settings) for _ in range(2))
    with pytest.raises(AssertionError):
        assert_equal(one.params, other.params)


@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_does_not_depend_on_the_number_of_devices(kind):
    updates, found = 20, []
    for devices in (1, 2, 4):
        settings = config(kind, updates, learner_devices=tuple(range(devices)))
        found.append(run(kind, settings)[1])
    for rows in found[1:]:
        for row, expected in zip(curve(rows), curve(found[0]), strict=True):
            for name, value in expected.items():
                np.testing.assert_allclose(row[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_another_seed_is_another_run():
    settings = config("impala", 5)
    one, other = (run("impala", settings, key=jax.random.key(i))[0] for i in range(2))
    with pytest.raises(AssertionError):
        assert_equal(one.params, other.params)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_the_lag_is_as_it_is_set(lag):
    settings = config("impala", 12, policy_lag=lag)
    (one, rows), (other, _) = (run("impala", settings) for _ in range(2))
    lags = [(row["policy_lag_min"], row["policy_lag_max"]) for row in rows]
    assert lags == [(min(lag, update), min(lag, update)) for update in range(12)]
    assert_equal(one.params, other.params)


def test_data_without_a_lag_are_on_policy():
    agent = impala_agent(optimizer="adam", learning_rate=0.01)
    _, rows = run("impala", config("impala", 5, policy_lag=0), agent=agent)
    _, stale = run("impala", config("impala", 5, policy_lag=3), agent=agent)
    assert max(row["behaviour_kl"] for row in rows) < 1e-10
    assert stale[-1]["behaviour_kl"] > 1e-7


def test_a_free_run_has_no_lag_to_set():
    with pytest.raises(ValueError, match="policy_lag is 3; expected"):
        config("impala", 5, policy_lag=3, deterministic=False)
