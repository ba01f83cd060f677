"""The actor-critic on whole unrolls: time, first policy, bounds, choice of the head."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_env import specs

from expedition.networks import (
    ActorCritic,
    CategoricalHead,
    DeepTorso,
    GaussianHead,
    LSTMCore,
    MLPTorso,
    policy_head,
)
from expedition.networks.actor_critic import FIRST_LOG_STD, LOG_STD_RANGE

T, B = 5, 3

NETWORKS = {
    "feedforward": ActorCritic(MLPTorso((8,)), CategoricalHead(4)),
    "recurrent": ActorCritic(MLPTorso((8,)), CategoricalHead(4), LSTMCore(6)),
    "continuous": ActorCritic(MLPTorso((8,)), GaussianHead(2), LSTMCore(6)),
    "convolutional": ActorCritic(DeepTorso((2,)), GaussianHead(2)),
}
EACH = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def draw(scale=1.0):
    rng = np.random.default_rng(0)
    observation = scale * rng.normal(size=(T, B, 6, 4, 1)).astype(np.float32)
    return observation, rng.random((T, B)) < 0.3


@cache
def initialised(network):
    return jax.jit(network.init)(jax.random.key(0), *draw(), network.initial_state(B))


def randomised(network):
    """Parameters without the zeros of the first policy."""
    rng = np.random.default_rng(1)

    def noisy(x):
        return np.array(x) + 0.3 * rng.normal(size=x.shape).astype(np.float32)

    return jax.tree.map(noisy, initialised(network))


@cache
def jitted(network):
    return jax.jit(network.apply)


def assert_close(left, right):
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6, rtol=1e-5)


@EACH
def test_an_unroll_equals_its_steps(network):
    params, (observation, reset) = randomised(network), draw()
    apply = jitted(network)
    whole = apply(params, observation, reset, network.initial_state(B))
    state, steps = network.initial_state(B), []
    for t in range(T):
        parameters, value, state = apply(params, observation[t : t + 1], reset[t : t + 1], state)
        steps.append((parameters, value))
    assert_close(whole, (*jax.tree.map(lambda *x: np.concatenate(x), *steps), state))
    assert np.ptp(whole[1]) > 1e-3


@EACH
def test_environments_do_not_mix(network):
    params, (observation, reset) = randomised(network), draw()
    parameters, value, _ = jitted(network)(params, observation, reset, network.initial_state(B))
    alone = jitted(network)(params, observation[:, 1:2], reset[:, 1:2], network.initial_state(1))
    assert_close(jax.tree.map(lambda x: x[:, 1:2], (parameters, value)), alone[:2])


@EACH
def test_outputs_are_time_major(network):
    params, (observation, reset) = initialised(network), draw()
    parameters, value, state = jitted(network)(params, observation, reset, network.initial_state(B))
    assert value.shape == (T, B)
    for leaf in jax.tree.leaves(parameters):
        assert leaf.shape == (T, B, 4 if isinstance(network.head, CategoricalHead) else 2)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, network.initial_state(B))


@EACH
def test_the_first_policy_is_uniform_or_a_normal_around_zero(network):
    observation, reset = draw(scale=100.0)
    parameters, _, _ = jitted(network)(
        initialised(network), observation, reset, network.initial_state(B)
    )
    is_categorical = isinstance(network.head, CategoricalHead)
    first = (0.0,) if is_categorical else (0.0, FIRST_LOG_STD)  # logits, or mean and log-std
    for leaf, expected in zip(jax.tree.leaves(parameters), first, strict=True):
        np.testing.assert_allclose(leaf, np.full(leaf.shape, expected), rtol=1e-6)


def test_a_feedforward_network_has_no_state():
    assert NETWORKS["feedforward"].initial_state(B) == ()


def of_head(log_std, features):
    """A head whose mean is the sum of the features and 1, and which has this parameter."""
    head = GaussianHead(2)
    params = jax.tree.map(jnp.ones_like, head.init(jax.random.key(0), features))
    params["params"]["log_std"] = jnp.full(2, log_std)
    return head.apply(params, features)


def test_the_mean_is_bounded():
    features = np.array([[-1e6], [-1.0], [1.0], [1e6]], np.float32)
    mean = of_head(0.0, features).mean
    np.testing.assert_allclose(mean[:, 0], np.tanh(features[:, 0] + 1), rtol=1e-6)


def test_the_log_standard_deviation_is_bounded_and_no_function_of_the_state():
    low, high = LOG_STD_RANGE
    odds = (FIRST_LOG_STD - low) / (high - FIRST_LOG_STD) * math.exp(2)
    inner = low + (high - low) * odds / (1 + odds)
    for value, expected in zip((-1e6, 0, 2, 1e6), (low, FIRST_LOG_STD, inner, high), strict=True):
        found = of_head(float(value), np.array([[-1.0], [1.0]], np.float32)).log_std
        np.testing.assert_allclose(found, np.full((2, 2), expected), rtol=1e-6)


def test_a_standard_deviation_at_its_bound_can_be_moved_back():
    for value, bound in zip((-6.0, 3.0), LOG_STD_RANGE, strict=True):
        log_std = partial(of_head, features=np.zeros((1, 1), np.float32))
        assert abs(log_std(value).log_std[0, 0] - bound) < 0.05
        assert jax.grad(lambda x, of=log_std: of(x).log_std[0, 0])(value) > 0.01


def test_the_head_follows_from_the_action():
    assert policy_head(specs.DiscreteArray(7)) == CategoricalHead(7)
    assert policy_head(specs.BoundedArray((3,), float, -1.0, 1.0)) == GaussianHead(3)


@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_a_real_action_that_is_no_vector_is_refused(shape):
    with pytest.raises(ValueError, match="were given; expected a vector"):
        policy_head(specs.BoundedArray(shape, float, -1.0, 1.0))


@pytest.mark.parametrize("shape", [(T,), (B, T), (T, B, 1), (T, B + 1), (1, T, B)])
def test_resets_of_a_wrong_shape_are_refused(shape):
    network = NETWORKS["feedforward"]
    with pytest.raises(AssertionError):
        network.apply(initialised(network), draw()[0], np.zeros(shape, bool), ())
