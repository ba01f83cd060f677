"""The loss of a Boltzmann policy: against its definition in float64, and IMPALA's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vtrace_oracle import Thresholds, random_rows, vtrace_from_definition

from expedition.losses import boltzmann_loss, boltzmann_targets, categorical, impala_loss
from expedition.losses.boltzmann import boltzmann

TAU = 0.3


def test_its_policy_and_value_are_those_of_the_action_values():
    q = np.random.default_rng(0).normal(size=(5, 2, 3))
    logits, value = boltzmann(q, TAU)
    weight = np.exp(q / TAU)
    policy = weight / weight.sum(-1, keepdims=True)
    np.testing.assert_allclose(jax.nn.softmax(logits), policy, rtol=1e-5)
    np.testing.assert_allclose(value, (policy * q).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_it_regresses_the_values_of_the_actions_taken_on_vtraces_targets(reduction):
    """From one member's policy to another's: the targets are the oracle's, for any ratio."""
    rows, thresholds = random_rows(3, (9, 4)), Thresholds()
    rng = np.random.default_rng(1)
    q = rng.normal(size=(9, 4, 3))
    action = rng.integers(3, size=(9, 4))
    weight = np.exp(q / TAU)
    policy = weight / weight.sum(-1, keepdims=True)
    value = (policy * q).sum(-1)
    v_t = np.where(
        (rows.discount_t == 0) | (rows.continuation_t == 0),
        rows.v_t,
        np.concatenate([value[1:], rows.v_t[-1:]]),
    )
    rows = rows._replace(v_tm1=value, v_t=v_t)
    _, advantages = vtrace_from_definition(rows, thresholds)
    ratio = np.minimum(thresholds.rho_bar_pg, np.exp(rows.log_rho_tm1))
    target = advantages / ratio + value
    taken = np.take_along_axis(q, action[..., None], -1)[..., 0]
    used = rng.random((9, 4)) < 0.8
    expected = np.sum(used * 0.5 * (target - taken) ** 2)

    with jax.enable_x64(True):
        logits, v_tm1 = boltzmann(q, TAU)
        log_prob = categorical.log_prob(logits, action)
        found = boltzmann_loss(
            log_prob,
            log_prob - rows.log_rho_tm1,
            categorical.entropy(logits),
            v_tm1,
            v_t,
            rows.r_t,
            rows.discount_t,
            temperature=TAU,
            lambda_=thresholds.lambda_,
            rho_bar=thresholds.rho_bar,
            c_bar=thresholds.c_bar,
            continuation_t=rows.continuation_t,
            weight_tm1=used,
            reduction=reduction,
        )
    scale = 36 if reduction == "mean" else 1
    np.testing.assert_allclose(found.total, expected / scale, rtol=1e-9)
    entropy = -np.sum(used * np.sum(policy * np.log(policy), -1))
    np.testing.assert_allclose(found.entropy, entropy / scale, rtol=1e-9)


def test_targets_are_vtraces_for_the_policy_of_other_action_values():
    rows, thresholds = random_rows(4, (9, 4)), Thresholds()
    rng = np.random.default_rng(2)
    q, action = rng.normal(size=(10, 4, 3)), rng.integers(3, size=(9, 4))
    weight = np.exp(q / TAU)
    policy = weight / weight.sum(-1, keepdims=True)
    value = (policy * q).sum(-1)
    rows = rows._replace(v_tm1=value[:-1], v_t=value[1:])
    _, advantages = vtrace_from_definition(rows, thresholds)
    ratio = np.minimum(thresholds.rho_bar_pg, np.exp(rows.log_rho_tm1))
    log_prob = np.log(np.take_along_axis(policy[:-1], action[..., None], -1)[..., 0])

    def targets(q, temperature=TAU):
        return boltzmann_targets(
            q,
            action,
            log_prob - rows.log_rho_tm1,
            rows.r_t,
            rows.discount_t,
            temperature=temperature,
            lambda_=thresholds.lambda_,
            rho_bar=thresholds.rho_bar,
            c_bar=thresholds.c_bar,
            continuation_t=rows.continuation_t,
        )

    with jax.enable_x64(True):
        found = targets(jnp.asarray(q))
        gradient = jax.grad(lambda q: sum(jnp.sum(x) for x in targets(q)))(jnp.asarray(q))
    np.testing.assert_allclose(found.action_values, advantages / ratio + value[:-1], rtol=1e-9)
    np.testing.assert_allclose(found.log_rho, rows.log_rho_tm1, rtol=1e-9)
    np.testing.assert_allclose(found.entropy, -np.sum(policy * np.log(policy), -1)[:-1], rtol=1e-9)
    np.testing.assert_array_equal(gradient, 0)
    with pytest.raises(AssertionError):
        targets(q[:-1])
    with pytest.raises(AssertionError, match="temperature"):
        targets(q, temperature=np.ones(3))
    half = jnp.asarray(q, jnp.bfloat16)
    widened = targets(half.astype(jnp.float32))
    jax.tree.map(np.testing.assert_array_equal, targets(half), widened)  # nor is τ rounded


def one_step(loss, q, action, reward, behaviour, **settings):
    logits, value = boltzmann(q, TAU)
    log_prob = categorical.log_prob(logits, action)
    rows = (log_prob, behaviour, categorical.entropy(logits), value)
    return loss(*rows, jnp.zeros(1), reward, jnp.zeros(1), **settings).total


def test_on_policy_its_gradient_is_impalas_in_expectation():
    with jax.enable_x64(True):
        q = jnp.array([[0.4, -0.2, 0.1]])
        logits, value = boltzmann(q, TAU)
        policy = jax.nn.softmax(logits)[0]
        reward = np.array([1.0, -2.0, 0.5])
        reward += value[0] - policy @ reward  # the value is right on average
        ours = theirs = 0.0
        for a in range(3):
            action = np.array([a])
            arguments = q, action, reward[a : a + 1], categorical.log_prob(logits, action)
            ours += policy[a] * jax.grad(
                lambda q, *rest: one_step(boltzmann_loss, q, *rest, temperature=TAU)
            )(*arguments)
            theirs += policy[a] * jax.grad(
                lambda q, *rest: one_step(
                    impala_loss, q, *rest, baseline_cost=1 / TAU, entropy_cost=TAU
                )
            )(*arguments)
    assert np.abs(ours).max() > 0.01
    np.testing.assert_allclose(ours, TAU * np.asarray(theirs), rtol=1e-9, atol=1e-12)


def test_an_action_that_the_policy_would_hardly_take_is_learnt_like_any_other():
    """IMPALA's gradient of it vanishes with its importance weight."""
    q, action, reward = jnp.array([[0.0, -3.0]]), np.array([1]), np.ones(1)
    behaviour = np.log([0.5])
    ours = jax.grad(
        lambda q: one_step(boltzmann_loss, q, action, reward, behaviour, temperature=TAU)
    )
    theirs = jax.grad(lambda q: one_step(impala_loss, q, action, reward, behaviour))
    np.testing.assert_allclose(ours(q), [[0.0, -4.0]], atol=1e-4)
    assert np.abs(theirs(q)).max() < 1e-2
