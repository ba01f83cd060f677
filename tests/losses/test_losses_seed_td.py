"""The seed TD loss against its definition, and the agent's step against the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.agents import linear_seed_td
from expedition.environments.interface import first
from expedition.exploration import RegressionConfig, Transitions, one_hot_regression
from expedition.exploration.seeds import gaussian
from expedition.losses import prior_penalty, seed_td_loss

N, A = 7, 3


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "q_tm1": rng.normal(size=(N, A)),
        "a_tm1": rng.integers(0, A, N),
        "r_t": rng.normal(size=N),
        "discount_t": rng.uniform(size=N),
        "q_t": rng.normal(size=(N, A)),
        "noise_t": rng.normal(size=N),
    }


def as_jax(given):
    return {
        name: jnp.asarray(x, None if x.dtype == int else jnp.float32) for name, x in given.items()
    }


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_equals_its_definition(reduction):
    x = inputs()
    errors = np.array(
        [
            x["r_t"][j]
            + x["discount_t"][j] * max(x["q_t"][j])
            + x["noise_t"][j]
            - x["q_tm1"][j, x["a_tm1"][j]]
            for j in range(N)
        ]
    )
    got = seed_td_loss(**as_jax(x), noise_variance=0.25, reduction=reduction)
    expected = sum(errors**2) / 0.25 / (1 if reduction == "sum" else N)
    np.testing.assert_allclose(got.td_errors, errors, rtol=1e-5)
    np.testing.assert_allclose(got.loss, expected, rtol=1e-5)


def test_weights_count_and_leave_out():
    x, weight = as_jax(inputs()), jnp.array([0.0, 2, 1, 1, 0, 1, 0.5])
    errors = seed_td_loss(**x).td_errors
    x["r_t"] = x["r_t"].at[0].set(jnp.nan)
    got = seed_td_loss(**x, weight_tm1=weight, reduction="mean")
    np.testing.assert_allclose(got.loss, jnp.sum(weight * errors**2) / N, rtol=1e-5)
    with pytest.raises(AssertionError, match="weight_tm1 has shape"):
        seed_td_loss(**x, weight_tm1=weight[:, None])


def test_no_gradient_through_the_target_nor_the_errors():
    x = as_jax(inputs())

    def loss(q_t, q_tm1):
        return seed_td_loss(**x | {"q_t": q_t, "q_tm1": q_tm1}).loss

    def errors(q_tm1):
        return seed_td_loss(**x | {"q_tm1": q_tm1}).td_errors.sum()

    target, value = jax.grad(loss, argnums=(0, 1))(x["q_t"], x["q_tm1"])
    assert not target.any()
    assert value.any(axis=1).all()
    assert not jax.grad(errors)(x["q_tm1"]).any()


@pytest.mark.parametrize("name", ["a_tm1", "r_t", "q_t", "noise_t"])
def test_a_wrong_shape_is_told(name):
    x = as_jax(inputs())
    with pytest.raises(AssertionError):
        seed_td_loss(**x | {name: x[name][:-1]})


def test_prior_penalty_equals_its_definition():
    tree = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[3.0]])}
    prior = {"a": jnp.array([0.0, 4.0]), "b": jnp.array([[1.0]])}
    assert prior_penalty(tree, prior, prior_variance=0.5) == (1 + 4 + 4) / 0.5
    with pytest.raises(AssertionError):
        prior_penalty(tree, {"a": prior["a"]})


def test_a_step_of_linear_seed_td_is_a_preconditioned_gradient_of_the_loss():
    """θ - α A⁻¹ ∇L(θ) / 2 with L summed over the raw data, the noise by (agent, datum)."""
    states, actions, agents, agent, alpha = 4, 2, 3, 1, 0.3
    config = RegressionConfig(noise_variance=0.5, prior_variance=2.0, discount=0.9)
    regression = one_hot_regression(config, states, actions, agents)
    s, a = jnp.array([0, 1, 0, 2, 0]), jnp.array([1, 0, 1, 1, 0])
    r, goes_on = jnp.array([1.0, -1.0, 0.5, 2.0, 0.0]), jnp.array([1.0, 1.0, 1.0, 0.0, 1.0])
    after = jnp.array([1, 2, 1, 3, 0])
    data = Transitions(s, a, r, goes_on, after, jnp.ones(5, bool))
    statistics = regression.update(regression.init(jax.random.key(0)), data)
    prior = regression.prior(statistics, jnp.int32(agent))
    theta = prior + jax.random.normal(jax.random.key(1), prior.shape)
    noise = config.noise_variance**0.5 * gaussian(statistics.seeds.noise, agent, jnp.arange(5))

    def loss(theta):
        data_loss = seed_td_loss(
            theta[s], a, r, config.discount * goes_on, theta[after], noise, noise_variance=0.5
        ).loss
        return data_loss + prior_penalty(theta, prior, prior_variance=config.prior_variance)

    visits = jnp.zeros_like(prior).at[s, a].add(1.0)
    half_hessian = visits / config.noise_variance + 1 / config.prior_variance
    expected = theta - alpha * jax.grad(loss)(theta) / (2 * half_hessian)
    td = linear_seed_td(regression, steps=1, learning_rate=alpha)
    actor = td.initial_actor_state(agents)
    actor = jax.tree.map(lambda x: x[agent][None], actor)._replace(learnt=(theta - prior)[None])
    _, _, moved = td.act(statistics, actor, first_step(), jax.random.key(2))
    np.testing.assert_allclose(prior + moved.learnt[0], expected, rtol=1e-5, atol=1e-5)


def first_step():
    return jax.tree.map(lambda x: jnp.asarray(x)[None], first(jnp.int32(0)))
