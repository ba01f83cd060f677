"""Randomised regressions against their definition, and their law over seeds against Bayes' rule."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import regression_oracle as oracle
from expedition.exploration.regression import (
    RegressionConfig,
    linear_regression,
    one_hot_regression,
)

S, A = oracle.STATES, oracle.ACTIONS
CONFIG = RegressionConfig(noise_variance=0.3, prior_variance=2.5, discount=0.9)
KEY = jax.random.key(11)
AGENTS, MANY, CAPACITY, HORIZON = 5, 4096, 32, 6
DATA = oracle.random_transitions(24, seed=11)
TABLES = {
    "cells": oracle.one_hot_table(),
    "features": oracle.random_table(3),
    "one-hot features": oracle.one_hot_table(),
}
KINDS = pytest.mark.parametrize("kind", TABLES)
TWO_KINDS = pytest.mark.parametrize("kind", ["cells", "features"])


@cache
def regression(kind, num_agents=AGENTS, capacity=CAPACITY, max_successors=2):
    if kind == "cells":
        bundle = one_hot_regression(CONFIG, S, A, num_agents, max_successors=max_successors)
    else:
        table = jnp.asarray(TABLES[kind], jnp.float32)
        bundle = linear_regression(CONFIG, lambda s: table[s], table.shape[-1], A, capacity)
    return oracle.jitted(bundle)


@cache
def learnt(kind, count=24, **size):
    """Statistics of the first rows of the data."""
    bundle = regression(kind, **size)
    statistics = bundle.init(KEY)
    return bundle.update(statistics, oracle.rows(DATA, slice(count))) if count else statistics


def as_theta(kind, theta):
    return jnp.asarray(theta, jnp.float32).reshape((S, A) if kind == "cells" else -1)


@cache
def compiled(kind, horizon, num_agents=AGENTS):
    """(statistics, agents, theta) -> theta after so many regressions, flat, of each agent."""

    def of_one(statistics, agent, theta):
        iterate = regression(kind, num_agents=num_agents).iterate
        return iterate(statistics, agent, theta, steps=horizon).ravel()

    return jax.jit(jax.vmap(of_one, in_axes=(None, 0, None)))


def iterated(kind, statistics, agents, theta, horizon=1, num_agents=AGENTS):
    thetas = compiled(kind, horizon, num_agents)(statistics, agents, as_theta(kind, theta))
    return np.asarray(thetas, np.float64)


def some_theta(kind, seed=5):
    return np.random.default_rng(seed).normal(size=TABLES[kind].shape[-1])


@cache
def samples(kind, count):
    """[MANY, d]: each agent's regression of the first rows, bootstrapped from one θ."""
    statistics = learnt(kind, count, num_agents=MANY)
    return iterated(kind, statistics, jnp.arange(MANY), some_theta(kind), num_agents=MANY)


def exact(kind, count):
    data = oracle.numbered(oracle.rows(DATA, slice(count)))
    return oracle.posterior(data, TABLES[kind], some_theta(kind), CONFIG)


def assert_covariance(x, y, expected, variance_x, variance_y):
    """Of two jointly normal samples, within 4.5 standard errors in each entry."""
    error = np.sqrt((np.outer(np.diag(variance_x), np.diag(variance_y)) + expected**2) / len(x))
    found = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / len(x)
    assert np.abs((found - expected) / error).max() < 4.5


def test_the_data_have_repeated_visits_two_successors_ends_and_rows_that_are_none():
    data = oracle.numbered(DATA)
    assert 0 < len(data.action) < len(DATA.action)
    assert set(data.discount) == {0, 1}
    cells = np.stack([data.observation, data.action], axis=1)
    visited, visits = np.unique(cells, axis=0, return_counts=True)
    assert visits.max() > 2
    assert len(visits) < S * A
    of_cells = [data.next_observation[(cells == cell).all(axis=1)] for cell in visited]
    assert max(len(set(successors)) for successors in of_cells) == 2


@TWO_KINDS
@pytest.mark.parametrize("count", [0, 6, 24])
def test_over_the_seeds_a_regression_is_a_sample_of_the_posterior(kind, count):
    """Mean, covariance and normality, for a target that θ bootstraps and several visits a cell."""
    mean, covariance = exact(kind, count)
    theta = samples(kind, count)
    standardised = (theta - mean) / np.sqrt(np.diag(covariance))
    assert np.abs(standardised.mean(axis=0)).max() < 4 / MANY**0.5
    assert_covariance(theta, theta, covariance, covariance, covariance)
    for weight in standardised.T:
        assert scipy.stats.kstest(weight, "norm").pvalue > 0.002


@TWO_KINDS
def test_between_two_times_a_regression_keeps_its_seed(kind):
    """Then the covariance of earlier and later samples is the later posterior's."""
    (_, early), (_, late) = exact(kind, 6), exact(kind, 24)
    assert_covariance(samples(kind, 6), samples(kind, 24), late, early, late)


@TWO_KINDS
def test_agents_are_independent(kind):
    mean, covariance = exact(kind, 24)
    theta = samples(kind, 24) - mean
    for lag in (1, 2, MANY // 2):
        assert_covariance(
            theta, np.roll(theta, lag, axis=0), np.zeros_like(covariance), covariance, covariance
        )


@KINDS
@pytest.mark.parametrize("horizon", [1, HORIZON])
def test_every_agent_equals_the_definition(kind, horizon):
    start = some_theta(kind)
    thetas = iterated(kind, learnt(kind), jnp.arange(AGENTS), start, horizon)
    for agent, theta in enumerate(thetas):
        operator = oracle.operator(oracle.numbered(DATA), TABLES[kind], CONFIG, KEY, agent)
        expected = oracle.iterate(operator, horizon, start)
        np.testing.assert_allclose(theta, expected, rtol=1e-4, atol=1e-4)


@KINDS
def test_no_agent_is_the_posterior_mean(kind):
    operator = jax.jit(partial(regression(kind).iterate, learnt(kind), None, steps=1))
    theta = np.ravel(operator(as_theta(kind, some_theta(kind))))
    np.testing.assert_allclose(theta, exact(kind, 24)[0], rtol=1e-4, atol=1e-5)


def test_cells_equal_their_features():
    agents, start = jnp.arange(AGENTS), np.zeros(S * A)
    cells, features = (
        iterated(kind, learnt(kind), agents, start, HORIZON)
        for kind in ("cells", "one-hot features")
    )
    assert np.abs(cells).max() > 1
    np.testing.assert_allclose(cells, features, rtol=1e-5, atol=1e-5)


@TWO_KINDS
def test_the_gradient_of_the_written_loss_is_zero(kind):
    """The argmin, with z_j and the prior's sample read from the seeds by datum and agent."""
    data, agent = oracle.numbered(DATA), 2
    start = some_theta(kind)
    z = oracle.noise(KEY, agent, np.arange(len(data.action)), CONFIG)
    pull = oracle.prior(KEY, agent, len(start), CONFIG)

    def loss(theta):
        total = jnp.sum((theta - pull) ** 2) / CONFIG.prior_variance
        for j, (s, a, r, discount, after, _) in enumerate(zip(*data, strict=True)):
            best = max(start @ phi for phi in TABLES[kind][after])
            y = r + CONFIG.discount * discount * best + z[j]
            total += (y - theta @ TABLES[kind][s, a]) ** 2 / CONFIG.noise_variance
        return total

    theta = iterated(kind, learnt(kind), jnp.arange(AGENTS), start)[agent]
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(loss))
        off = min(np.abs(slope(theta + 0.01 * e)).max() for e in np.eye(len(theta)))
        assert np.abs(slope(theta)).max() < 1e-3 * off


@TWO_KINDS
def test_without_data_it_is_the_agents_own_sample_of_the_prior(kind):
    bundle, statistics = regression(kind), regression(kind).init(KEY)
    thetas = iterated(kind, statistics, jnp.arange(AGENTS), some_theta(kind))
    expected = [oracle.prior(KEY, k, thetas.shape[1], CONFIG) for k in range(AGENTS)]
    np.testing.assert_allclose(thetas, expected, rtol=1e-5, atol=1e-6)
    own = [np.ravel(bundle.prior(statistics, jnp.int32(agent))) for agent in range(AGENTS)]
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)


@TWO_KINDS
def test_another_key_draws_other_seeds(kind):
    bundle = regression(kind)
    other = bundle.update(bundle.init(jax.random.key(12)), DATA)
    agents = jnp.arange(AGENTS)
    first, second = (
        iterated(kind, statistics, agents, some_theta(kind)) for statistics in (learnt(kind), other)
    )
    assert np.abs(first - second).max(axis=1).min() > 0.01


@TWO_KINDS
def test_agents_may_come_in_any_order_and_more_than_once(kind):
    together = iterated(kind, learnt(kind), jnp.arange(AGENTS), some_theta(kind))
    order = np.array([3, 0, 3, 4, 1])
    shuffled = iterated(kind, learnt(kind), order, some_theta(kind))
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-6, atol=1e-6)
    assert np.unique(together.round(3), axis=0).shape == together.shape


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_later_datum_changes_only_the_noise_of_its_own_cell(is_valid):
    bundle, before = regression("cells"), learnt("cells")
    one = oracle.rows(DATA, slice(1))._replace(
        reward=np.float32([1]), discount=np.float32([1]), is_valid=np.array([is_valid])
    )
    after = bundle.update(before, one)
    changed = np.argwhere((after.noise != before.noise).any(axis=-1))
    np.testing.assert_array_equal(changed, np.stack(one[:2], axis=1)[: int(is_valid)])
    assert (after.size - before.size, np.sum(after.visits - before.visits)) == (is_valid,) * 2
    at = one.observation[0], one.action[0]
    added = (after.noise - before.noise)[at]
    expected = [oracle.noise(KEY, k, [before.size], CONFIG)[0] for k in range(AGENTS)]
    np.testing.assert_allclose(added, is_valid * np.array(expected), rtol=1e-4, atol=1e-6)


@TWO_KINDS
def test_data_are_numbered_as_they_come_however_they_are_batched(kind):
    bundle, data = regression(kind), oracle.numbered(DATA)
    whole = learnt(kind)

    def assert_equal(statistics):
        assert statistics.size == whole.size == len(data.action)
        assert statistics._fields == whole._fields
        for name in set(whole._fields) - {"seeds"}:
            one, other = getattr(statistics, name), getattr(whole, name)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)

    singly = bundle.init(KEY)
    for j in range(len(data.action)):
        singly = bundle.update(singly, oracle.rows(data, slice(j, j + 1)))
    assert_equal(singly)

    in_fours = bundle.init(KEY)
    for j in range(0, len(DATA.action), 4):
        in_fours = bundle.update(in_fours, oracle.rows(DATA, slice(j, j + 4)))
    assert_equal(in_fours)

    none = oracle.rows(DATA, slice(4))._replace(is_valid=np.zeros(4, bool))
    assert_equal(bundle.update(in_fours, none))


def branching(*successors):
    """Visits of state 1, action 0 that led to these states."""
    count = len(successors)
    return oracle.Transitions(
        observation=np.full(count, 1, np.int32),
        action=np.zeros(count, np.int32),
        reward=np.ones(count, np.float32),
        discount=np.ones(count, np.float32),
        next_observation=np.array(successors, np.int32),
        is_valid=np.ones(count, bool),
    )


@pytest.mark.parametrize("batched", [True, False])
def test_one_successor_more_than_there_are_places_for_is_not_a_number(batched):
    bundle = regression("cells", max_successors=2)
    for successors, overflows in (((3, 0, 3, 0), False), ((3, 0, 3, 2), True)):
        visits = branching(*successors)
        parts = [visits] if batched else [oracle.rows(visits, slice(j, j + 1)) for j in range(4)]
        statistics = bundle.init(KEY)
        for part in parts:
            statistics = bundle.update(statistics, part)
        for agent in (None, 1):
            theta = np.asarray(bundle.iterate(statistics, agent, jnp.ones((S, A)), steps=1))
            expected = np.zeros((S, A), bool)
            expected[1, 0] = overflows
            np.testing.assert_array_equal(np.isnan(theta), expected)


def test_a_full_ring_is_the_regression_of_the_newest_data():
    """With the numbers that they had from the start, and a Gram matrix that lost the others."""
    kind, capacity = "features", 5
    bundle, data = regression(kind, capacity=capacity), oracle.numbered(DATA)
    operator = jax.jit(partial(bundle.iterate, steps=1))
    statistics, added = bundle.init(KEY), 0
    for j in range(0, len(DATA.action), 4):
        new = oracle.rows(DATA, slice(j, j + 4))
        statistics, added = bundle.update(statistics, new), added + new.is_valid.sum()
        newest = oracle.rows(data, slice(max(0, added - capacity), added))
        for agent in (0, 3):
            expected = oracle.operator(
                newest, TABLES[kind], CONFIG, KEY, agent, max(0, added - capacity)
            )(some_theta(kind))
            theta = operator(statistics, agent, as_theta(kind, some_theta(kind)))
            np.testing.assert_allclose(theta, expected, rtol=1e-4, atol=1e-4)
    assert added > 3 * capacity


def test_more_data_at_once_than_the_ring_holds_are_refused():
    bundle = regression("features", capacity=5)
    with pytest.raises(ValueError, match="6 transitions were given; expected at most the capacity"):
        bundle.update(bundle.init(KEY), oracle.rows(DATA, slice(6)))


def test_an_agent_beyond_the_last_gets_nobodys_noise():
    theta = iterated("cells", learnt("cells"), jnp.array([AGENTS - 1, AGENTS]), np.zeros(S * A))
    assert np.isfinite(theta[0]).all()
    assert np.isnan(theta[1]).all()


@KINDS
def test_values_are_those_of_every_action(kind):
    theta = some_theta(kind)
    for state in range(S):
        found = regression(kind).values(as_theta(kind, theta), jnp.int32(state))
        np.testing.assert_allclose(found, TABLES[kind][state] @ theta, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise_variance", 0.0),
        ("prior_variance", -1.0),
        ("discount", 1.01),
        ("discount", -0.1),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} is {value}; expected"):
        RegressionConfig(**{name: value})
