"""The two policies against SciPy, and against each other's interface."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from expedition.losses import categorical, diagonal_gaussian
from expedition.losses.diagonal_gaussian import GaussianParameters

NAMES = ("sample", "log_prob", "entropy", "mode")


def logits(shape=(4, 3), actions=5):
    return np.random.default_rng(0).normal(scale=2, size=(*shape, actions)).astype(np.float32)


def gaussian(shape=(4, 3), actions=2):
    mean, log_std = np.random.default_rng(1).normal(size=(2, *shape, actions)).astype(np.float32)
    return GaussianParameters(mean, 0.5 * log_std)


POLICIES = pytest.mark.parametrize(
    ("policy", "parameters"), [(categorical, logits()), (diagonal_gaussian, gaussian())]
)


def test_the_interfaces_are_the_same():
    for name in NAMES:
        ours, others = (
            list(inspect.signature(getattr(policy, name)).parameters)
            for policy in (categorical, diagonal_gaussian)
        )
        assert ours == others


@POLICIES
def test_batched_equals_vmapped(policy, parameters):
    action = policy.sample(parameters, jax.random.key(0))
    for function, arguments in (
        (policy.log_prob, (parameters, action)),
        (policy.entropy, (parameters,)),
    ):
        batched = function(*arguments)
        assert batched.shape == (4, 3)
        np.testing.assert_allclose(jax.vmap(jax.vmap(function))(*arguments), batched, rtol=1e-6)
    assert policy.mode(parameters).shape == action.shape


@POLICIES
def test_half_precision_is_computed_in_float32(policy, parameters):
    narrow = jax.tree.map(jnp.bfloat16, parameters)
    widened = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    action = policy.sample(narrow, jax.random.key(0))
    assert policy.entropy(narrow).dtype == jnp.float32
    np.testing.assert_array_equal(policy.log_prob(narrow, action), policy.log_prob(widened, action))


@POLICIES
def test_mode_is_the_most_probable(policy, parameters):
    best = policy.log_prob(parameters, policy.mode(parameters))
    for seed in range(5):
        action = policy.sample(parameters, jax.random.key(seed))
        assert (policy.log_prob(parameters, action) <= best).all()


class TestCategorical:
    def test_log_prob_and_entropy_equal_scipy(self):
        parameters = logits()
        probs = scipy.special.softmax(parameters.astype(np.float64), axis=-1)
        np.testing.assert_allclose(
            categorical.entropy(parameters), scipy.stats.entropy(probs, axis=-1), rtol=1e-5
        )
        for action in range(5):
            expected = scipy.stats.multinomial.logpmf(np.eye(5)[action], 1, probs)
            actions = np.full((4, 3), action)
            np.testing.assert_allclose(
                categorical.log_prob(parameters, actions), expected, rtol=1e-5
            )

    def test_sampling_frequencies(self):
        parameters = logits(shape=())
        draws = categorical.sample(jnp.tile(parameters, (20_000, 1)), jax.random.key(0))
        expected = 20_000 * scipy.special.softmax(parameters.astype(np.float64))
        counts = np.bincount(draws, minlength=5)
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3

    def test_forbidden_action(self):
        parameters = jnp.array([0.0, -jnp.inf, 1.0])
        allowed = parameters[jnp.array([0, 2])]
        np.testing.assert_allclose(
            categorical.entropy(parameters), categorical.entropy(allowed), rtol=1e-6
        )
        assert categorical.log_prob(parameters, jnp.array(1)) == -jnp.inf
        gradient = jax.grad(categorical.entropy)(parameters)
        assert np.isfinite(gradient).all()

    def test_action_out_of_range_is_not_silent(self):
        assert np.isnan(categorical.log_prob(logits(shape=()), jnp.array(5)))


class TestDiagonalGaussian:
    def test_log_prob_and_entropy_equal_scipy(self):
        parameters = gaussian()
        action = np.random.default_rng(2).normal(scale=3, size=(4, 3, 2)).astype(np.float32)
        normal = scipy.stats.norm(parameters.mean, np.exp(parameters.log_std))
        np.testing.assert_allclose(
            diagonal_gaussian.log_prob(parameters, action),
            normal.logpdf(action).sum(axis=-1),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            diagonal_gaussian.entropy(parameters), normal.entropy().sum(axis=-1), rtol=1e-5
        )

    def test_samples_have_the_distribution(self):
        parameters = gaussian(shape=())
        tiled = GaussianParameters(*(jnp.tile(x, (20_000, 1)) for x in parameters))
        draws = diagonal_gaussian.sample(tiled, jax.random.key(0))
        for i in range(2):
            normal = scipy.stats.norm(parameters.mean[i], np.exp(parameters.log_std[i]))
            assert scipy.stats.kstest(draws[:, i], normal.cdf).pvalue > 1e-3
        assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def naive_log_prob(logits, action):
    return logits[action] - jnp.log(jnp.sum(jnp.exp(logits)))


def naive_entropy(logits):
    probs = jnp.exp(logits) / jnp.sum(jnp.exp(logits))
    return -jnp.sum(probs * jnp.log(probs))


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd, jax.hessian])
def test_derivatives_of_a_categorical_are_those_of_the_definition(derivative):
    with jax.enable_x64(True):
        x = jnp.asarray(logits((), 5), jnp.float64)
        for ours, naive in (
            (lambda x: categorical.log_prob(x, jnp.int32(3)), lambda x: naive_log_prob(x, 3)),
            (categorical.entropy, naive_entropy),
        ):
            np.testing.assert_allclose(derivative(ours)(x), derivative(naive)(x), atol=1e-12)


def test_a_forbidden_action_has_no_gradient():
    x = jnp.array([0.5, -jnp.inf, 1.0])
    slope = jax.grad(lambda x: categorical.log_prob(x, jnp.int32(0)) + categorical.entropy(x))(x)
    assert slope[1] == 0
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_numpys_way_to_count_from_the_end_has_its_own_derivative(kind):
    x = jnp.zeros(3) if kind is np.int32 else jnp.zeros(300)
    action = kind(-1) if kind is np.int32 else kind(3)
    slope = jax.grad(categorical.log_prob)(x, action)
    assert np.argmax(slope) == int(action) % len(x)
    assert np.sum(slope > 0) == 1
