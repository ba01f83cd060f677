"""IMPALA and A2C: their terms, signs, masks and reductions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vtrace_oracle import Rows, Thresholds, random_rows, vtrace_from_definition

from expedition.losses import a2c_loss, categorical, impala_loss

SHAPE = (6, 4)


def policy_rows(seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    log_prob, log_prob_of_mu = -rng.exponential(size=(2, *shape))
    return log_prob, log_prob_of_mu, rng.random(shape)


def impala(policy, rows, **settings):
    return impala_loss(*policy, *rows[:4], continuation_t=rows.continuation_t, **settings)


def without_row(t, tree):
    return jax.tree.map(lambda x: np.delete(x, t, axis=0), tree)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("masked", [False, True])
def test_impala_equals_its_closed_form(masked, reduction):
    log_prob, log_prob_of_mu, entropy = policy_rows(0)
    rows = random_rows(7, SHAPE)._replace(log_rho_tm1=log_prob - log_prob_of_mu)
    weight = (np.random.default_rng(1).random(SHAPE) < 0.7) if masked else np.ones(SHAPE)
    targets, advantages = vtrace_from_definition(rows, Thresholds())

    reduce = getattr(np, reduction)
    policy = reduce(weight * -log_prob * advantages)
    value = reduce(weight * 0.5 * (targets - rows.v_tm1) ** 2)
    bonus = reduce(weight * entropy)
    with jax.enable_x64(True):
        loss = impala(
            (log_prob, log_prob_of_mu, entropy),
            rows,
            **Thresholds()._asdict(),
            baseline_cost=0.7,
            entropy_cost=0.2,
            weight_tm1=weight if masked else None,
            reduction=reduction,
        )
    np.testing.assert_allclose(loss.policy, policy, rtol=1e-10)
    np.testing.assert_allclose(loss.value, value, rtol=1e-10)
    np.testing.assert_allclose(loss.entropy, bonus, rtol=1e-10)
    np.testing.assert_allclose(loss.total, policy + 0.7 * value - 0.2 * bonus, rtol=1e-10)
    np.testing.assert_allclose(loss.vtrace.targets, targets, rtol=1e-10)


def test_gradient_equals_its_closed_form():
    policy, rows = policy_rows(0), random_rows(7, SHAPE)
    targets, advantages = vtrace_from_definition(
        rows._replace(log_rho_tm1=policy[0] - policy[1]), Thresholds(1.0, 1.0, 1.0, 1.0)
    )

    def total(log_prob, log_prob_of_mu, entropy, *arrays):
        return impala((log_prob, log_prob_of_mu, entropy), Rows(*arrays)).total

    with jax.enable_x64(True):
        of_log_prob, of_mu, of_entropy, *of_rows = jax.grad(total, argnums=range(9))(*policy, *rows)
    np.testing.assert_allclose(of_log_prob, -advantages, rtol=1e-10)
    np.testing.assert_allclose(of_entropy, np.full(SHAPE, -0.01), rtol=1e-10)
    np.testing.assert_allclose(of_rows[0], -0.5 * (targets - rows.v_tm1), rtol=1e-10, atol=1e-12)
    for gradient in (of_mu, *of_rows[1:]):  # v_t among them: only a bootstrap
        np.testing.assert_array_equal(gradient, np.zeros(SHAPE))


def test_auto_reset_row_changes_nothing():
    reset = 2
    policy, rows = policy_rows(2), random_rows(8, SHAPE, boundaries=0)
    rows.continuation_t[reset - 1, :2] = 0
    rows.discount_t[reset - 1, 2:] = 0
    weight = np.ones(SHAPE)
    weight[reset] = 0
    expected = impala(without_row(reset, policy), without_row(reset, rows))
    for nonsense in (9999.0, np.inf, np.nan):
        for array in (*policy, rows.r_t, rows.v_t):
            array[reset] = nonsense

        def total(log_prob, v_tm1, rows=rows):
            rows = rows._replace(v_tm1=v_tm1)
            return impala((log_prob, *policy[1:]), rows, weight_tm1=weight).total

        loss, gradients = jax.value_and_grad(total, argnums=(0, 1))(policy[0], rows.v_tm1)
        np.testing.assert_allclose(loss, expected.total, rtol=1e-5)
        assert np.isfinite(gradients).all()
        np.testing.assert_array_equal(np.array(gradients)[:, reset], 0)


def test_mean_of_shards_is_the_mean_of_the_batch():
    policy, rows = policy_rows(3), random_rows(9, SHAPE)
    weight = np.random.default_rng(2).random(SHAPE) < 0.5
    whole = impala(policy, rows, weight_tm1=weight, reduction="mean").total

    def of_shard(columns):
        shard = jax.tree.map(lambda x: x[:, columns], (policy, rows, weight))
        return impala(*shard[:2], weight_tm1=shard[2], reduction="mean").total

    mean = (of_shard(slice(0, 2)) + of_shard(slice(2, 4))) / 2
    np.testing.assert_allclose(mean, whole, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a2c_is_impala_on_policy(reduction):
    log_prob, _, entropy = policy_rows(4)
    rows = random_rows(10, SHAPE)
    options = {"continuation_t": rows.continuation_t, "reduction": reduction}
    options["weight_tm1"] = np.random.default_rng(3).random(SHAPE) < 0.5
    expected = impala_loss(log_prob, log_prob, entropy, *rows[:4], **options)
    ours = a2c_loss(log_prob, entropy, *rows[:4], **options)
    np.testing.assert_allclose(ours, expected[:4], rtol=1e-5)


def _after_one_step(logits, action, r_t, entropy_cost):
    zeros = jnp.zeros(action.shape)

    def total(logits):
        log_prob, entropy = categorical.log_prob(logits, action), categorical.entropy(logits)
        costs = {"baseline_cost": 0.0, "entropy_cost": entropy_cost}
        return impala_loss(log_prob, log_prob, entropy, zeros, zeros, r_t, zeros, **costs).total

    return logits - 0.1 * jax.grad(total)(logits)


def test_a_step_on_the_entropy_term_raises_entropy():
    logits, action = jnp.array([[0.0, 1.0, 3.0]]), jnp.array([0])
    stepped = _after_one_step(logits, action, r_t=jnp.zeros(1), entropy_cost=1.0)
    assert categorical.entropy(stepped) > categorical.entropy(logits)


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_a_step_on_the_policy_term_follows_the_reward(reward):
    logits, action = jnp.array([[0.0, 1.0, 3.0]]), jnp.array([0])
    stepped = _after_one_step(logits, action, r_t=jnp.array([reward]), entropy_cost=0.0)
    change = categorical.log_prob(stepped, action) - categorical.log_prob(logits, action)
    assert change[0] * reward > 0


@pytest.mark.parametrize("gap", [0.0, 2.0, 10.0])
def test_what_a_stale_policy_did_pushes_without_end_unless_weighted(gap):
    """A uniform policy mu acts, one action earns 1, the other -1, and V is mu's: d loss / d logits.

    Without weights the push is mu(a) A(a) however sure the policy is of the better action already;
    V-trace's push min(mu, pi)(a) A(a) ends with the probability of the worse one.
    """
    reward, mu = jnp.array([[1.0, -1.0]]), jnp.log(jnp.full((1, 2), 0.5))
    zero, actions = jnp.zeros((1, 2)), jnp.array([[0, 1]])

    def loss(logits, weighted):
        both = jnp.broadcast_to(logits, (1, 2, 2))
        log_prob = categorical.log_prob(both, actions)
        behaviour = mu if weighted else jax.lax.stop_gradient(log_prob)
        return impala_loss(
            log_prob, behaviour, zero, zero, zero, reward, zero, reduction="mean"
        ).total

    logits = jnp.array([gap / 2, -gap / 2])
    pi = jax.nn.softmax(logits)
    clipped = jnp.minimum(0.5, pi) * reward[0]
    for weighted, push in ((False, 0.5 * reward[0]), (True, clipped - pi * clipped.sum())):
        np.testing.assert_allclose(jax.grad(loss)(logits, weighted), -push, atol=1e-6)
    assert abs(jax.grad(loss)(logits, True)).max() <= 1.5 * pi[1] + 1e-6
