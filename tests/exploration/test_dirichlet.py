"""Dirichlet beliefs: exact samples, seeds that are fixed, and the plain sums of a slow oracle."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.exploration.dirichlet import dirichlet_beliefs
from expedition.exploration.planning import MDP, value_iteration
from expedition.exploration.seeds import exponential, gaussian
from expedition.exploration.transitions import Transitions

STATES, ACTIONS = 3, 2
PRIOR = {"reward_mean": 0.7, "reward_variance": 2.5, "noise_variance": 0.4}
REWARDS = pytest.mark.parametrize("rewards", ["standard", "martingalean"])
AGENTS = 20_000  # where laws are tested


def random_data(count=12, states=STATES, actions=ACTIONS, seed=0):
    """Rows in which every fourth is none, and full of what must then count for nothing."""
    rng = np.random.default_rng(seed)
    is_valid = np.arange(count) % 4 != 1
    return Transitions(
        observation=rng.integers(states, size=count),
        action=rng.integers(actions, size=count),
        reward=np.where(is_valid, rng.normal(1, 2, count), np.nan).astype(np.float32),
        discount=rng.integers(2, size=count).astype(np.float32),
        next_observation=rng.integers(states, size=count),
        is_valid=is_valid,
    )


def rows(data, chosen):
    return Transitions(*(np.asarray(x)[chosen] for x in data))


@cache
def believed(num_agents, batches=((0, 12),), states=STATES, count=12, **options):
    """The beliefs and the belief after these batches of the random data."""
    beliefs = dirichlet_beliefs(states, ACTIONS, **PRIOR, **options)
    belief = beliefs.init(jax.random.key(3), num_agents)
    for start, end in batches:
        new = rows(random_data(count, states), slice(start, end))
        belief = jax.jit(beliefs.update)(belief, new)
    return beliefs, belief


def models(beliefs, belief, agents):
    """Every agent's sampled model, float64."""
    sampled = jax.jit(jax.vmap(beliefs.sampled, in_axes=(None, 0)))(belief, jnp.arange(agents))
    assert sampled.successor is None
    return sampled._replace(
        reward=np.asarray(sampled.reward, np.float64),
        probability=np.asarray(sampled.probability, np.float64),
    )


def alpha_of(data, concentration, states=STATES):
    alpha = np.full((states, ACTIONS, states), float(concentration))
    for s, a, _, _, s_, is_valid in zip(*data, strict=True):
        alpha[s, a, s_] += is_valid
    return alpha


def reward_moments(data):
    """μ_t and σ_t, by one datum after the other."""
    precision = np.full((STATES, ACTIONS), 1 / PRIOR["reward_variance"])
    mean = np.full((STATES, ACTIONS), PRIOR["reward_mean"])
    for s, a, reward, _, _, is_valid in zip(*data, strict=True):
        if is_valid:
            after = precision[s, a] + 1 / PRIOR["noise_variance"]
            mean[s, a] += (reward - mean[s, a]) / PRIOR["noise_variance"] / after
            precision[s, a] = after
    return mean, precision**-0.5


def assert_dirichlet(samples, alpha):
    """Samples `[N, ..., S]` of Dirichlet(α `[..., S]`): mean, covariance and each component."""
    total = alpha.sum(-1, keepdims=True)
    mean = alpha / total
    np.testing.assert_allclose(samples.sum(-1), 1, atol=1e-5)
    for index in np.ndindex(alpha.shape[:-1]):
        p, m = samples[(slice(None), *index)], mean[index]
        covariance = (np.diag(m) - np.outer(m, m)) / (total[index] + 1)
        error = 5 / len(samples) ** 0.5
        np.testing.assert_allclose(p.mean(0), m, atol=error * covariance.max() ** 0.5)
        np.testing.assert_allclose(np.cov(p.T), covariance, atol=error * covariance.max() * 2)
        for place, a in enumerate(alpha[index]):
            law = scipy.stats.beta(a, total[index][0] - a)
            assert scipy.stats.kstest(p[:, place], law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("concentration", [1, 3])
def test_seeds_sample_the_dirichlet_posterior(concentration):
    beliefs, belief = believed(AGENTS, concentration=concentration)
    alpha = alpha_of(random_data(), concentration)
    assert_dirichlet(models(beliefs, belief, AGENTS).probability, alpha)


@REWARDS
def test_seeds_sample_the_gaussian_posterior_of_rewards(rewards):
    beliefs, belief = believed(AGENTS, rewards=rewards)
    samples = models(beliefs, belief, AGENTS).reward
    assert_gaussian(samples, *reward_moments(random_data()))


def assert_gaussian(samples, mean, deviation):
    """Independent normals `[N, S, A]`."""
    error = 5 * deviation.max() / len(samples) ** 0.5
    np.testing.assert_allclose(samples.mean(0), mean, atol=error)
    covariance = np.cov(samples.reshape(len(samples), -1).T)
    expected = np.diag(deviation.ravel() ** 2)
    np.testing.assert_allclose(covariance, expected, atol=error * 2)
    for index in np.ndindex(mean.shape):
        law = scipy.stats.norm(mean[index], deviation[index])
        assert scipy.stats.kstest(samples[(slice(None), *index)], law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("concentration", [1, 3])
def test_transition_seeds_are_sums_of_exponentials_of_agent_and_datum(concentration):
    """A slow oracle: number by number, agent by agent."""
    beliefs, belief = believed(4, concentration=concentration)
    data, seeds = random_data(), belief.transition_seeds
    size = STATES * ACTIONS * STATES
    weight = np.zeros((4, STATES, ACTIONS, STATES))
    for agent in range(4):
        for term in range(concentration):
            number = term * size + np.arange(size)
            weight[agent].ravel()[:] += exponential(seeds.prior, agent, number)
        for number, row in enumerate(np.flatnonzero(data.is_valid)):
            cell = data.observation[row], data.action[row], data.next_observation[row]
            weight[(agent, *cell)] += exponential(seeds.noise, agent, number)
    expected = weight / weight.sum(-1, keepdims=True)
    np.testing.assert_allclose(models(beliefs, belief, 4).probability, expected, rtol=1e-5)


def test_martingalean_seeds_are_regressions_on_noisy_rewards():
    beliefs, belief = believed(4, rewards="martingalean")
    data, seeds = random_data(), belief.reward_seeds
    lambda_, v = PRIOR["reward_variance"], PRIOR["noise_variance"]
    cells = np.arange(STATES * ACTIONS).reshape(STATES, ACTIONS)
    expected = np.zeros((4, STATES, ACTIONS))
    for agent in range(4):
        prior = PRIOR["reward_mean"] + lambda_**0.5 * gaussian(seeds.prior, agent, cells)
        numerator, precision = np.array(prior) / lambda_, np.full(cells.shape, 1 / lambda_)
        for number, row in enumerate(np.flatnonzero(data.is_valid)):
            cell = data.observation[row], data.action[row]
            noise = v**0.5 * float(gaussian(seeds.noise, agent, number))
            numerator[cell] += (data.reward[row] + noise) / v
            precision[cell] += 1 / v
        expected[agent] = numerator / precision
    np.testing.assert_allclose(models(beliefs, belief, 4).reward, expected, rtol=1e-5, atol=1e-6)


def test_standard_seeds_keep_their_quantile_for_all_time():
    """(r_k - μ_t) / σ_t is the same at every t, and another for every agent, state and action."""
    zetas = []
    for end in range(0, 13, 4):
        beliefs, belief = believed(50, batches=((0, end),))
        mean, deviation = reward_moments(rows(random_data(), slice(0, end)))
        zetas.append((models(beliefs, belief, 50).reward - mean) / deviation)
    np.testing.assert_allclose(zetas[1:], np.broadcast_to(zetas[0], (3, 50, 3, 2)), atol=1e-4)
    assert len(np.unique(np.round(zetas[0], 6))) == 50 * STATES * ACTIONS


@REWARDS
def test_seeds_are_independent_of_one_another(rewards):
    """Over agents: increments of two data, prior and data, transitions and rewards."""
    beliefs, belief = believed(AGENTS, rewards=rewards)
    before = belief.weight, models(beliefs, belief, AGENTS).reward
    one = Transitions(*(np.array([x]) for x in (2, 1, 0.3, 1.0, 0, True)))
    columns = [np.asarray(before[0])[:, 2, 1, 0], before[1][:, 2, 1]]
    for _ in range(2):
        old, belief = belief, beliefs.update(belief, one)
        columns.append(np.asarray(belief.weight - old.weight)[:, 2, 1, 0])
        if rewards == "martingalean":
            columns.append(np.asarray(belief.noise - old.noise)[:, 2, 1])
    correlation = np.corrcoef(columns)
    np.testing.assert_allclose(correlation, np.eye(len(columns)), atol=5 / AGENTS**0.5)
    increments = columns[-1]
    assert len(np.unique(increments)) > 0.9 * AGENTS  # no two agents share theirs
    neighbours = np.corrcoef(increments[1:], increments[:-1])[0, 1]
    assert abs(neighbours) < 5 / AGENTS**0.5


@REWARDS
def test_an_agent_depends_not_on_how_many_there_are(rewards):
    few, many = (models(*believed(k, rewards=rewards), 3) for k in (3, 5))
    np.testing.assert_allclose(few.probability, many.probability, rtol=1e-6)
    np.testing.assert_allclose(few.reward, many.reward, rtol=1e-6)


@REWARDS
@pytest.mark.parametrize("batches", [tuple((i, i + 1) for i in range(12)), ((0, 5), (5, 12))])
def test_batching_means_nothing(rewards, batches):
    _, together = believed(3, rewards=rewards)
    _, apart = believed(3, rewards=rewards, batches=batches)
    jax.tree.map(assert_close, together._replace(**NO_KEYS), apart._replace(**NO_KEYS))


NO_KEYS = {"transition_seeds": (), "reward_seeds": ()}


def assert_close(x, y):
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@REWARDS
def test_invalid_rows_count_for_nothing(rewards):
    beliefs, with_them = believed(3, rewards=rewards)
    data = random_data()
    start = beliefs.init(jax.random.key(3), 3)
    without = jax.jit(beliefs.update)(start, rows(data, data.is_valid))
    jax.tree.map(assert_close, with_them._replace(**NO_KEYS), without._replace(**NO_KEYS))
    none = jax.jit(beliefs.update)(start, rows(data, ~data.is_valid))
    jax.tree.map(np.testing.assert_array_equal, none._replace(**NO_KEYS), start._replace(**NO_KEYS))


def test_sums_are_those_of_a_slow_oracle():
    beliefs, belief = believed(2, concentration=2)
    data = random_data()
    np.testing.assert_array_equal(belief.alpha, alpha_of(data, 2))
    assert belief.size == data.is_valid.sum()
    mean, deviation = reward_moments(data)
    model = beliefs.mean(belief)
    np.testing.assert_allclose(model.reward, mean, rtol=1e-5)
    alpha = alpha_of(data, 2)
    np.testing.assert_allclose(model.probability, alpha / alpha.sum(-1, keepdims=True), rtol=1e-5)
    optimistic = beliefs.optimistic(belief, 1.5)
    np.testing.assert_allclose(optimistic.reward, mean + 1.5 * deviation, rtol=1e-5)
    np.testing.assert_array_equal(optimistic.probability, model.probability)


def test_those_seen_are_listed_once_and_in_order():
    _, belief = believed(1)
    data = rows(random_data(), random_data().is_valid)
    flat = (data.observation * ACTIONS + data.action) * STATES + data.next_observation
    expected = list(dict.fromkeys(flat.tolist()))
    assert len(expected) < len(flat)  # else this tests little
    np.testing.assert_array_equal(belief.seen[: belief.num_seen], expected)


@pytest.mark.parametrize("concentration", [1, 3])
def test_fresh_samples_are_of_the_posterior(concentration):
    beliefs, belief = believed(2, concentration=concentration)
    samples = fresh(beliefs, belief, AGENTS)
    assert_dirichlet(samples.probability, alpha_of(random_data(), concentration))
    assert_gaussian(samples.reward, *reward_moments(random_data()))


def fresh(beliefs, belief, count):
    keys = jax.random.split(jax.random.key(5), count)
    draw = jax.jit(jax.vmap(beliefs.resampled, in_axes=(None, 0)))
    return MDP(*(None if x is None else np.asarray(x, np.float64) for x in draw(belief, keys)))


def test_fresh_samples_are_of_the_posterior_where_much_is_seen():
    """More kinds of transitions than are drawn together, and some seen very often."""
    states, count = 18, 4000
    beliefs, belief = believed(1, batches=((0, count),), states=states, count=count)
    assert belief.num_seen > 500
    once = rows(random_data(count, states), [0])
    often = Transitions(*(np.repeat(x, 2000) for x in once))
    belief = beliefs.update(belief, often)
    alpha = alpha_of(random_data(count, states), 1, states)
    alpha[once.observation[0], once.action[0], once.next_observation[0]] += 2000
    samples = fresh(beliefs, belief, 2000).probability
    total = alpha.sum(-1, keepdims=True)
    mean = alpha / total
    deviation = np.sqrt(mean * (1 - mean) / (total + 1))
    z = (samples.mean(0) - mean) / deviation * len(samples) ** 0.5
    assert np.abs(z).max() < 5
    ratio = samples.std(0) / deviation
    assert 0.85 < ratio.min() < ratio.max() < 1.15
    pvalues = [
        scipy.stats.kstest(samples[:, *i], scipy.stats.beta(alpha[i], total[i[:2]] - alpha[i]).cdf)
        for i in np.ndindex(alpha.shape)
    ]
    pvalues = np.ravel([test.pvalue for test in pvalues])
    assert scipy.stats.kstest(pvalues, "uniform").pvalue > 1e-3


def test_fresh_samples_are_exact():
    """So many that two in a hundred of another law would show."""
    beliefs = dirichlet_beliefs(2, 1)
    belief = beliefs.init(jax.random.key(0), 1)
    once = Transitions(*(np.array([x]) for x in (0, 0, 0.0, 1.0, 0, True)))
    samples = fresh(beliefs, beliefs.update(belief, once), 500_000).probability[:, 0, 0, 0]
    assert scipy.stats.kstest(samples, scipy.stats.beta(2, 1).cdf).pvalue > 1e-3


def test_fresh_samples_are_independent_over_cells():
    beliefs, belief = believed(2)
    samples = fresh(beliefs, belief, AGENTS)
    # One probability of each (s, a): those of one (s, a) depend on each other.
    columns = [*samples.probability[..., 0].reshape(AGENTS, -1).T]
    columns += [*samples.reward.reshape(AGENTS, -1).T]
    np.testing.assert_allclose(np.corrcoef(columns), np.eye(len(columns)), atol=5 / AGENTS**0.5)


def test_a_sampled_model_can_be_planned_in():
    """As a model that names its successors one by one."""
    beliefs, belief = believed(2)
    model = beliefs.sampled(belief, 1)
    successor = np.broadcast_to(np.arange(STATES), model.probability.shape)
    plan = partial(value_iteration, sweeps=30, discount=0.9)
    expected = plan(model._replace(successor=successor))
    np.testing.assert_allclose(plan(model), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concentration": 0.5}, "concentration is 0.5; expected an integer"),
        ({"concentration": 0}, "concentration is 0; expected an integer"),
        ({"reward_variance": 0.0}, "reward_variance is 0.0 .* expected positive"),
        ({"noise_variance": -1.0}, "noise_variance -1.0; expected positive"),
        ({"rewards": "gaussian"}, "rewards is 'gaussian'; expected one of"),
        ({"num_states": 0}, "0 states and 2 actions were given; expected at least 1"),
        ({"num_actions": 0}, "2 states and 0 actions were given; expected at least 1"),
    ],
)
def test_impossible_beliefs_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dirichlet_beliefs(**{"num_states": 2, "num_actions": 2} | options)
