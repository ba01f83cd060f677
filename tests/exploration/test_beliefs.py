"""Beliefs of a known graph: what is revealed is shared, the rest is each agent's own sample."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.environments.chains import bipolar_chain, parallel_chains
from expedition.exploration.beliefs import KnownGraph, graph_beliefs
from expedition.exploration.transitions import Transitions

KEY = jax.random.key(3)
MANY = 20_000
MEAN, DEVIATION = np.float32([2.0, -1.0]), np.float32([3.0, 0.5])
THETA = np.float32([7.0, -4.0])  # the truth
MAGNITUDE = 50.0


def two_unknowns():
    """Four vertices; θ_0 shows on two edges with different loadings, θ_1 on one."""
    known = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    loading = np.zeros((2, 4, 2), np.float32)
    loading[0, 1, 0], loading[0, 2, 1], loading[1, 2, 0] = 2.0, -0.5, 4.0
    successor = np.array([[1, 2], [3, 0], [3, 1], [3, 3]], np.int32)

    def draw(key):
        return jnp.asarray(MEAN) + DEVIATION * jax.random.normal(key, (2,))

    return KnownGraph(successor, known, loading, MEAN, DEVIATION, draw)


GRAPH = two_unknowns()
BELIEFS = graph_beliefs(GRAPH)
update = jax.jit(BELIEFS.update)


def rewards_of(theta):
    return GRAPH.known + np.einsum("u,usa->sa", np.asarray(theta, np.float64), GRAPH.loading)


def seen(*edges, is_valid=None, theta=THETA):
    """Transitions along edges (vertex, action) of the graph."""
    vertex, action = np.array(edges, np.int32).T
    return Transitions(
        observation=vertex,
        action=action,
        reward=rewards_of(theta)[vertex, action].astype(np.float32),
        discount=np.ones(len(vertex), np.float32),
        next_observation=GRAPH.successor[vertex, action],
        is_valid=np.ones(len(vertex), bool) if is_valid is None else np.array(is_valid),
    )


def prior():
    return BELIEFS.init(KEY, 5)


@cache
def samples(kind, name):
    """[MANY, U] of θ: what each agent's sample or each key's draw says before any data."""
    problem = {"parallel": parallel_chains, "bipolar": bipolar_chain}[kind]()
    beliefs = graph_beliefs(problem.graph)
    unknown = len(problem.graph.loading)
    pays = [tuple(np.argwhere(problem.graph.loading[u])[0]) for u in range(unknown)]
    scale = [problem.graph.loading[(u, *pays[u])] for u in range(unknown)]

    def theta(agent_or_key):
        reward = getattr(beliefs, name)(beliefs.init(KEY, MANY), agent_or_key).reward
        return jnp.stack([reward[at] / x for at, x in zip(pays, scale, strict=True)])

    which = jnp.arange(MANY) if name == "sampled" else jax.random.split(jax.random.key(5), MANY)
    return np.asarray(jax.jit(jax.vmap(theta))(which), np.float64)


def test_before_any_data_nothing_is_known():
    belief = prior()
    np.testing.assert_array_equal(belief.is_known, [False, False])
    np.testing.assert_allclose(BELIEFS.mean(belief).reward, rewards_of(MEAN), rtol=1e-6)


@pytest.mark.parametrize(
    ("edges", "is_valid", "known"),
    [
        ([(1, 0)], None, [True, False]),
        ([(2, 1)], None, [True, False]),
        ([(2, 0)], None, [False, True]),
        ([(0, 0), (0, 1), (1, 1), (2, 0)], None, [False, True]),
        ([(1, 0), (2, 0)], None, [True, True]),
        ([(2, 0), (2, 1), (1, 0), (2, 0)], None, [True, True]),
        ([(0, 0), (1, 1), (3, 0)], None, [False, False]),
        ([(1, 0), (2, 0)], [False, True], [False, True]),
        ([(1, 0), (2, 1), (2, 0)], [False, True, False], [True, False]),
        ([(1, 0), (2, 0)], [False, False], [False, False]),
    ],
)
def test_one_traversal_of_a_paying_edge_reveals_its_number(edges, is_valid, known):
    transitions = seen(*edges, is_valid=is_valid)
    garbage = np.where(transitions.is_valid, transitions.reward, np.nan)
    belief = update(prior(), transitions._replace(reward=garbage))
    np.testing.assert_array_equal(belief.is_known, known)
    expected = rewards_of(np.where(known, THETA, MEAN))
    np.testing.assert_allclose(BELIEFS.mean(belief).reward, expected, rtol=1e-6)


def test_what_is_known_stays_known():
    belief = update(prior(), seen((1, 0)))
    for more in (seen((0, 0)), seen((2, 1), (1, 0)), seen((1, 0), is_valid=[False])):
        belief = update(belief, more)
        np.testing.assert_array_equal(belief.is_known, [True, False])
        np.testing.assert_allclose(belief.theta[0], THETA[0], rtol=1e-6)
    belief = update(belief, seen((2, 0)))
    np.testing.assert_allclose(belief.theta, THETA, rtol=1e-6)


def test_a_row_that_is_none_reveals_nothing_whatever_it_says():
    lies = seen((1, 0), (1, 0), (2, 0), is_valid=[False, True, False], theta=[99.0, 99.0])
    lies.reward[1] = rewards_of(THETA)[1, 0]
    belief = update(prior(), lies)
    np.testing.assert_array_equal(belief.is_known, [True, False])
    np.testing.assert_allclose(belief.theta[0], THETA[0], rtol=1e-6)


def test_what_one_agent_reveals_all_agents_hold_and_nothing_else_of_theirs_changes():
    """The seed is not drawn again: what is still unknown keeps each agent's first sample."""
    first, later = prior(), update(prior(), seen((2, 1)))
    before, after = (
        np.stack([BELIEFS.sampled(belief, agent).reward for agent in range(5)])
        for belief in (first, later)
    )
    reveals = GRAPH.loading[0] != 0
    expected = np.broadcast_to(rewards_of(THETA)[reveals], after[:, reveals].shape)
    np.testing.assert_allclose(after[:, reveals], expected, rtol=1e-6)
    np.testing.assert_array_equal(after[:, ~reveals], before[:, ~reveals])
    assert len(set(before[:, 1, 0])) == len(set(after[:, 2, 0])) == 5


def test_an_end_of_the_bipolar_chain_reveals_both():
    graph = bipolar_chain(6, magnitude=MAGNITUDE).graph
    beliefs = graph_beliefs(graph)
    update, sampled = jax.jit(beliefs.update), jax.jit(beliefs.sampled)
    for theta in (-MAGNITUDE, MAGNITUDE):
        for vertex, action, sign in ((1, 0, -1), (4, 1, 1)):
            data = Transitions(
                *(np.array([x]) for x in (vertex, action)),
                np.float32([sign * theta]),
                *(np.array([x]) for x in (0, 0, True)),
            )
            belief = update(beliefs.init(KEY, 3), data)
            for agent in range(4):
                reward = sampled(belief, agent).reward
                assert (reward[1, 0], reward[4, 1]) == (-theta, theta)


def test_a_sample_is_a_function_of_key_and_agent():
    rewards = np.stack([BELIEFS.sampled(prior(), agent).reward for agent in (0, 1, 0)])
    np.testing.assert_array_equal(rewards[0], rewards[2])
    assert (rewards[0] != rewards[1]).sum() == 3  # the edges that pay something unknown
    other = BELIEFS.sampled(BELIEFS.init(jax.random.key(4), 5), 0).reward
    assert (rewards[0] != other).sum() == 3
    of_all = jax.vmap(BELIEFS.sampled, in_axes=(None, 0))(prior(), jnp.array([1, 0]))
    np.testing.assert_array_equal(of_all.reward, rewards[:2][::-1])


def test_a_fresh_sample_is_a_function_of_its_key_and_of_nobodys_seed():
    keys = [jax.random.key(key) for key in (8, 9, 8)]
    rewards = np.stack([BELIEFS.resampled(prior(), key).reward for key in keys])
    np.testing.assert_array_equal(rewards[0], rewards[2])
    assert (rewards[0] != rewards[1]).sum() == 3
    other = BELIEFS.resampled(BELIEFS.init(jax.random.key(4), 5), keys[0]).reward
    np.testing.assert_array_equal(other, rewards[0])
    known = BELIEFS.resampled(update(prior(), seen((2, 0))), keys[0]).reward
    np.testing.assert_allclose(known[2, 0], rewards_of(THETA)[2, 0], rtol=1e-6)
    np.testing.assert_array_equal(known[1, 0], rewards[0][1, 0])


@pytest.mark.parametrize("name", ["sampled", "resampled"])
def test_samples_of_the_parallel_chains_have_the_prior_as_marginal(name):
    theta = samples("parallel", name)
    deviation = np.sqrt(100.0 + np.arange(1, 5))
    assert theta.shape == (MANY, 4)
    whitened = theta / deviation
    assert np.abs(whitened.mean(axis=0)).max() < 4 / MANY**0.5
    assert np.abs(whitened.var(axis=0) - 1).max() < 4 * (2 / MANY) ** 0.5
    for chain in whitened.T:
        assert scipy.stats.kstest(chain, "norm").pvalue > 0.01


@pytest.mark.parametrize("name", ["sampled", "resampled"])
def test_samples_of_the_bipolar_chain_are_both_ends_equally(name):
    theta = samples("bipolar", name)[:, 0]
    assert set(theta) == {-MAGNITUDE, MAGNITUDE}
    assert abs((theta > 0).mean() - 0.5) < 4 * 0.5 / MANY**0.5


@pytest.mark.parametrize("name", ["sampled", "resampled"])
def test_samples_are_independent_across_agents_and_unknowns(name):
    chains, ends = samples("parallel", name), samples("bipolar", name)
    pairs = [(chains[:, i], chains[:, j]) for i in range(4) for j in range(i)]
    for theta in (chains, ends):
        pairs += [(theta[:-lag].ravel(), theta[lag:].ravel()) for lag in (1, 2, 3)]
    for x, y in pairs:
        assert abs(np.corrcoef(x, y)[0, 1]) < 4 / len(x) ** 0.5


def test_an_edge_that_pays_two_unknown_numbers_is_refused():
    loading = GRAPH.loading.copy()
    loading[1, 1, 0] = 1.0
    with pytest.raises(ValueError, match="pays several unknown numbers"):
        graph_beliefs(GRAPH._replace(loading=loading))


@pytest.mark.parametrize("beta", [0.0, 1.5])
def test_optimism_adds_deviations_to_unknown_edges_only(beta):
    bonus = beta * np.einsum("u,usa->usa", DEVIATION, np.abs(GRAPH.loading))
    before = BELIEFS.optimistic(prior(), beta).reward
    np.testing.assert_allclose(before, rewards_of(MEAN) + bonus.sum(axis=0), rtol=1e-6)
    after = BELIEFS.optimistic(update(prior(), seen((1, 0))), beta).reward
    half = rewards_of([THETA[0], MEAN[1]]) + bonus[1]
    np.testing.assert_allclose(after, half, rtol=1e-6)
    known = BELIEFS.optimistic(update(prior(), seen((1, 0), (2, 0))), beta).reward
    np.testing.assert_allclose(known, rewards_of(THETA), rtol=1e-6)


def test_every_hypothesis_is_the_known_graph():
    belief = prior()
    for mdp in (
        BELIEFS.mean(belief),
        BELIEFS.optimistic(belief, 1.0),
        BELIEFS.sampled(belief, 2),
        BELIEFS.resampled(belief, KEY),
    ):
        np.testing.assert_array_equal(mdp.successor, GRAPH.successor[..., None])
        np.testing.assert_array_equal(mdp.probability, np.ones((4, 2, 1)))
        is_certain = (GRAPH.loading == 0).all(axis=0)
        np.testing.assert_array_equal(mdp.reward[is_certain], GRAPH.known[is_certain])
