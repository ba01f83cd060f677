"""The policy gradient against exact gradients, and the returns against their sums."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vtrace_oracle import random_rows

from expedition.losses import categorical, discounted_return, policy_gradient_loss, value_loss


def return_from_definition(rows, v_t):
    """Σ_t (Π γ) r_t up to the end of the episode or of the rows, plus the discounted bootstrap."""
    returns = np.zeros_like(rows.r_t)
    for s, column in np.ndindex(*rows.r_t.shape):
        discount = 1.0
        for t in range(s, len(rows.r_t)):
            returns[s, column] += discount * rows.r_t[t, column]
            discount *= rows.discount_t[t, column]
            if rows.continuation_t[t, column] == 0:
                break
        returns[s, column] += discount * v_t[t, column]
    return returns


@pytest.mark.parametrize("bootstrap", [False, True])
def test_return_equals_its_definition(bootstrap):
    rows = random_rows(11, (8, 3))
    v_t = rows.v_t if bootstrap else None
    ours = discounted_return(rows.r_t, rows.discount_t, v_t=v_t, continuation_t=rows.continuation_t)
    expected = return_from_definition(rows, rows.v_t if bootstrap else np.zeros_like(rows.v_t))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


class TwoStepMDP:
    """Two states, two actions, two steps: eight trajectories, and their exact expectations."""

    transition = np.array([[[0.3, 0.7], [0.6, 0.4]], [[0.5, 0.5], [0.5, 0.5]]])
    reward = np.array([[1.0, -0.5], [2.0, 0.7]])
    logits = np.array([[0.3, -0.2], [0.1, 0.9]])
    baseline = np.array([0.8, -1.3])

    a_0, x_1, a_1 = np.array(list(itertools.product(range(2), repeat=3))).T
    observation = np.stack([np.zeros(8, int), x_1])
    action = np.stack([a_0, a_1])
    taken = observation, action

    @classmethod
    def probability(cls, logits):
        policy = jax.nn.softmax(logits)[cls.taken]
        return policy[0] * cls.transition[0, cls.a_0, cls.x_1] * policy[1]

    @classmethod
    def objective(cls, logits, gamma):
        returns = cls.reward[cls.taken][0] + gamma * cls.reward[cls.taken][1]
        return jnp.sum(cls.probability(logits) * returns)

    @classmethod
    def expected_loss(cls, logits, gamma, baseline, **options):
        """The loss of all trajectories, each row weighed by its trajectory's probability."""
        probability = jax.lax.stop_gradient(cls.probability(logits))
        return policy_gradient_loss(
            categorical.log_prob(logits[cls.observation], cls.action),
            cls.reward[cls.taken],
            jnp.full((2, 8), gamma),
            baseline_tm1=cls.baseline[cls.observation] if baseline else None,
            weight_tm1=jnp.stack([probability, probability]),
            **options,
        )


# At gamma < 1 the reward-to-go estimates another gradient, without the factor gamma^t.
@pytest.mark.parametrize(("reward_to_go", "gamma"), [(True, 1.0), (False, 1.0), (False, 0.8)])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", 1 / 16)])
def test_expected_gradient_is_exact(reward_to_go, gamma, baseline, reduction, scale):
    with jax.enable_x64(True):
        logits = jnp.asarray(TwoStepMDP.logits)
        ours = jax.grad(TwoStepMDP.expected_loss)(
            logits, gamma, baseline, reward_to_go=reward_to_go, reduction=reduction
        )
        expected = np.asarray(jax.grad(TwoStepMDP.objective)(logits, gamma))
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(ours, -scale * expected, rtol=1e-9)


def test_whole_return_of_two_episodes_is_each_ones_own():
    rows = random_rows(12, (7, 2), boundaries=0)
    rows.discount_t[2, 0] = 0
    rows.continuation_t[2, 1] = 0
    log_prob = rows.log_rho_tm1

    def per_row(part):
        def loss(log_prob):
            options = {"continuation_t": rows.continuation_t[part], "reward_to_go": False}
            return policy_gradient_loss(
                log_prob, rows.r_t[part], rows.discount_t[part], reduction="sum", **options
            )

        return jax.grad(loss)(log_prob[part])

    pieces = np.concatenate([per_row(slice(0, 3)), per_row(slice(3, 7))])
    np.testing.assert_allclose(per_row(slice(0, 7)), pieces, rtol=1e-6)
    np.testing.assert_array_equal(pieces[0], pieces[2])


def test_no_gradient_through_returns_and_baseline():
    rows = random_rows(13, (4, 2))

    def loss(r_t, discount_t, baseline):
        return policy_gradient_loss(rows.log_rho_tm1, r_t, discount_t, baseline_tm1=baseline)

    for gradient in jax.grad(loss, argnums=(0, 1, 2))(rows.r_t, rows.discount_t, rows.v_tm1):
        np.testing.assert_array_equal(gradient, np.zeros((4, 2)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_value_loss(reduction):
    v, target, weight = np.random.default_rng(4).normal(size=(3, 5, 2))
    weight = (weight > 0).astype(float)

    def loss(v, target):
        return value_loss(v, target, weight_tm1=weight, reduction=reduction)

    ours, (of_v, of_target) = jax.value_and_grad(loss, argnums=(0, 1))(v, target)
    reduce = getattr(np, reduction)
    np.testing.assert_allclose(ours, reduce(weight * 0.5 * (target - v) ** 2), rtol=1e-5)
    scale = 1 if reduction == "sum" else 1 / v.size
    np.testing.assert_allclose(of_v, scale * weight * (v - target), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(of_target, np.zeros_like(target))
