"""What V-trace must equal in special cases, and where it must converge."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from vtrace_oracle import random_rows

from expedition.losses import discounted_return, vtrace


def test_on_policy_equals_the_n_step_return():
    rows = random_rows(3, (6, 2))
    on_policy = np.zeros_like(rows.v_t)
    output = vtrace(
        *rows[:4], on_policy, rho_bar=1.7, c_bar=1.2, continuation_t=rows.continuation_t
    )
    returns = discounted_return(
        rows.r_t, rows.discount_t, v_t=rows.v_t, continuation_t=rows.continuation_t
    )
    np.testing.assert_allclose(output.targets, returns, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.advantages, output.errors, rtol=1e-5, atol=1e-6)


def test_fixed_point_is_the_value_of_the_clipped_policy():
    """Iterates v ← E[v_s | x_s], the expectation exact over all two-step trajectories."""
    states, actions, gamma, rho_bar = 3, 2, 0.9, 1.2
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(states), size=(states, actions))
    reward = rng.normal(size=(states, actions))
    mu, pi = rng.dirichlet(np.ones(actions), size=(2, states))

    ranges = [range(states), range(actions)] * 2 + [range(states)]
    x_0, a_0, x_1, a_1, x_2 = np.array(list(itertools.product(*ranges))).T
    observation, action = np.stack([x_0, x_1, x_2]), np.stack([a_0, a_1])
    taken = observation[:-1], action
    probability = (mu[taken] * transition[*taken, observation[1:]]).prod(axis=0)
    of_state = (np.arange(states)[:, None] == x_0) * probability

    @jax.jit
    def expected_targets(v):
        v_of = v[observation]
        log_rho = jnp.log(pi[taken]) - jnp.log(mu[taken])
        discount = jnp.full(action.shape, gamma)
        output = vtrace(
            v_of[:-1], v_of[1:], reward[taken], discount, log_rho, rho_bar=rho_bar, c_bar=0.9
        )
        return of_state @ output.targets[0]

    with jax.enable_x64(True):
        v = jnp.zeros(states)
        for _ in range(300):
            v = expected_targets(v)

    clipped = np.minimum(rho_bar * mu, pi)
    clipped /= clipped.sum(axis=1, keepdims=True)
    assert np.abs(clipped - pi).max() > 0.05  # else it would not tell π from its clipped form
    transition_of_clipped = np.einsum("xa,xay->xy", clipped, transition)
    reward_of_clipped = (clipped * reward).sum(axis=1)
    expected = np.linalg.solve(np.eye(states) - gamma * transition_of_clipped, reward_of_clipped)
    np.testing.assert_allclose(v, expected, rtol=1e-8)
