"""The chains against plain descriptions of them, and what is known of their best returns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from expedition.environments.chains import bipolar_chain, parallel_chains
from expedition.environments.interface import FIRST, LAST, MID
from expedition.exploration.planning import MDP, value_iteration

DRAWS = 20_000


def bipolar_step(vertices, step_cost, theta, vertex, action):
    """(vertex, reward): vertices in a row, of which the ends are left no more."""
    if vertex in (0, vertices - 1):
        return vertex, 0.0
    after = vertex + (1 if action else -1)
    if after == 0:
        return after, -theta[0]
    return after, theta[0] if after == vertices - 1 else -step_cost


def parallel_step(chains, length, theta, vertex, action):
    """(vertex, reward): vertex 0 is the source, then one chain's vertices after the other's."""
    if vertex == 0:
        return 1 + action * length, 0.0
    chain, place = divmod(vertex - 1, length)
    if place == length - 1:
        return vertex, 0.0
    return vertex + 1, theta[chain] if place == length - 2 else 0.0


BIPOLAR = [(4, 4.0, 0.1), (6, 9.0, 0.5), (50, 50.0, 0.1)]
PARALLEL = [(2, 2), (3, 5), (4, 4)]
PROBLEMS = [
    (bipolar_chain(n, scale, cost), partial(bipolar_step, n, cost), [scale], {0, n - 1})
    for n, scale, cost in BIPOLAR
] + [
    (
        parallel_chains(chains, length),
        partial(parallel_step, chains, length),
        list(10.0 - np.arange(chains) * 7),
        {(chain + 1) * length for chain in range(chains)},
    )
    for chains, length in PARALLEL
]
EVERY = pytest.mark.parametrize(("problem", "describe", "theta", "ends"), PROBLEMS)


def true_mdp(problem, theta):
    successor = problem.graph.successor[..., None]
    return MDP(problem.graph.rewards(theta), successor, np.ones(successor.shape, np.float32))


def draw_many(problem):
    return np.asarray(jax.jit(jax.vmap(problem.draw))(jax.random.split(jax.random.key(0), DRAWS)))


@EVERY
def test_every_edge_is_the_described_one(problem, describe, theta, ends):
    states, actions = problem.graph.successor.shape
    vertex, action = (x.ravel() for x in np.indices((states, actions)))
    step = jax.jit(jax.vmap(problem.step, in_axes=(None, 0, 0)))
    state, timestep = step(jnp.array(theta, jnp.float32), vertex, action)
    after, reward = np.array([describe(theta, s, a) for s, a in zip(vertex, action, strict=True)]).T
    np.testing.assert_array_equal(state, after)
    np.testing.assert_array_equal(timestep.observation, after)
    np.testing.assert_allclose(timestep.reward, reward, rtol=1e-6)
    has_ended = np.isin(after, list(ends))
    np.testing.assert_array_equal(timestep.step_type, np.where(has_ended, LAST, MID))
    np.testing.assert_array_equal(timestep.discount, np.where(has_ended, 0, 1))
    assert timestep.reward.dtype == timestep.discount.dtype == jnp.float32
    assert state.dtype == timestep.observation.dtype == jnp.int32


@EVERY
def test_sizes(problem, describe, theta, ends):
    states, actions = problem.graph.successor.shape
    assert len(problem.graph.loading) == len(theta)
    np.testing.assert_array_equal(np.flatnonzero(problem.is_terminal), sorted(ends))
    assert (problem.spec.observation.num_values, problem.spec.action.num_values) == (
        states,
        actions,
    )


@pytest.mark.parametrize("vertices", [4, 6, 50])
def test_the_bipolar_chain_starts_in_the_middle_and_its_edges_pay_the_number_of_vertices(vertices):
    problem = bipolar_chain(vertices)
    vertex, timestep = problem.reset(jnp.ones(1), jax.random.key(0))
    assert (vertex, timestep.observation, timestep.step_type) == (vertices // 2,) * 2 + (FIRST,)
    assert problem.graph.successor.shape == (vertices, 2)
    assert problem.max_steps is None  # it may walk back and forth
    assert set(draw_many(problem).ravel()) == {-vertices, vertices}


@pytest.mark.parametrize(("chains", "length"), PARALLEL)
def test_an_agent_leaves_the_source_once_and_ends_after_as_many_edges_as_a_chain_has(
    chains, length
):
    problem = parallel_chains(chains, length)
    assert problem.graph.successor.shape == (1 + chains * length, chains)
    assert problem.max_steps == length
    theta = jnp.arange(1.0, chains + 1)
    for chain in range(chains):
        vertex, timestep = problem.reset(theta, jax.random.key(0))
        assert (vertex, timestep.observation, timestep.step_type) == (0, 0, FIRST)
        rewards = []
        for step in range(length):
            assert timestep.step_type != LAST
            action = chain if step == 0 else step % chains  # on the chain, any
            vertex, timestep = problem.step(theta, vertex, action)
            rewards.append(float(timestep.reward))
        assert timestep.step_type == LAST
        assert rewards == [0.0] * (length - 1) + [chain + 1.0]


@pytest.mark.parametrize(("theta", "best"), [(50.0, 50 - 23 * 0.1), (-50.0, 50 - 24 * 0.1)])
def test_the_best_returns_of_the_bipolar_chain_are_the_papers(theta, best):
    problem = bipolar_chain()
    q = value_iteration(true_mdp(problem, jnp.array([theta])), sweeps=50)[problem.start]
    np.testing.assert_allclose(q.max(), best, rtol=1e-6)
    assert int(q.argmax()) == (theta > 0)
    assert best in (47.7, 47.6)


def test_the_best_return_of_the_parallel_chains_is_the_largest_number():
    problem = parallel_chains()
    theta = jnp.array([[-3.0, 2.0, -7.0, 1.0], [-9.0, -8.0, -30.0, -40.0], [0.5, 0.1, 0.2, 3.0]])
    for world in theta:
        q = value_iteration(true_mdp(problem, world), sweeps=4)
        np.testing.assert_allclose(q[0], world, rtol=1e-6)


def test_the_largest_number_of_the_parallel_chains_is_the_papers_on_average():
    deviation = np.sqrt(100.0 + np.arange(1, 5))

    def survival(x):  # of the largest, minus that of the largest below zero
        below = np.prod(scipy.stats.norm.cdf(np.array([x, -x])[:, None] / deviation), axis=1)
        return 1 - below.sum()

    expected, _ = scipy.integrate.quad(survival, 0, 100)
    assert round(expected, 1) == 10.4
    largest = draw_many(parallel_chains()).max(axis=1)
    assert abs(largest.mean() - expected) < 4 * largest.std() / DRAWS**0.5


def test_worlds_have_the_prior_that_the_graph_tells():
    bipolar = draw_many(bipolar_chain())
    assert abs((bipolar > 0).mean() - 0.5) < 4 * 0.5 / DRAWS**0.5
    np.testing.assert_array_equal(bipolar_chain().graph.mean, [0])
    np.testing.assert_array_equal(bipolar_chain().graph.deviation, [50])
    for variance in (100.0, 2.0):
        problem = parallel_chains(3, 4, variance)
        theta = draw_many(problem)
        deviation = np.sqrt(variance + np.array([1, 2, 3]))
        np.testing.assert_allclose(problem.graph.deviation, deviation, rtol=1e-6)
        np.testing.assert_array_equal(problem.graph.mean, [0, 0, 0])
        assert np.abs(theta.mean(axis=0) / deviation).max() < 4 / DRAWS**0.5
        np.testing.assert_allclose(theta.var(axis=0), deviation**2, rtol=4 * (2 / DRAWS) ** 0.5)


@pytest.mark.parametrize("vertices", [5, 2, 0, -4])
def test_a_bipolar_chain_without_a_middle_is_refused(vertices):
    with pytest.raises(ValueError, match=f"^{vertices} vertices were given; expected an even"):
        bipolar_chain(vertices)


@pytest.mark.parametrize(("chains", "length"), [(1, 4), (4, 1), (0, 0)])
def test_parallel_chains_without_a_choice_or_an_edge_are_refused(chains, length):
    with pytest.raises(ValueError, match=f"^{chains} chains of {length} edges were given"):
        parallel_chains(chains, length)
