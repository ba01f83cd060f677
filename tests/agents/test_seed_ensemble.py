"""Seed TD with an ensemble: against plain Q-learning, a gradient by hand, and probe problems."""

import dataclasses
import warnings
from functools import partial

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dm_env import specs

from expedition.agents import SeedEnsembleConfig, seed_ensemble
from expedition.agents.agent import Trajectory
from expedition.agents.dqn import DqnConfig, dqn, without_seeds
from expedition.environments.interface import LAST, MID, EnvironmentSpec
from expedition.exploration.experience import Minibatch, draw_minibatches
from expedition.exploration.regression import RegressionConfig, one_hot_regression
from expedition.exploration.seeds import bernoulli, gaussian
from expedition.exploration.transitions import Transitions
from expedition.networks import SkipMLP

with warnings.catch_warnings():  # of a library that it imports
    warnings.simplefilter("ignore")
    import rlax

FEATURES, ACTIONS, ROWS = 4, 3, 5
SPEC = EnvironmentSpec(
    specs.Array((FEATURES,), np.float32, "features"), specs.DiscreteArray(ACTIONS, name="action")
)
NETWORK = SkipMLP(ACTIONS, (8,))
KEY = jax.random.key(0)
MIXED = Minibatch(size=8, recent_part=0.25, recent_data=3, rewarded_part=0.5, rewarded_data=4)


def trajectory(seed=0, rows=ROWS):
    """One step of several agents, one of them at the end of its episode."""
    rng = np.random.default_rng(seed)
    ended = np.arange(rows) == 1
    return Trajectory(
        observation=rng.normal(size=(2, rows, FEATURES)).astype(np.float32),
        step_type=np.stack([np.where(np.arange(rows) == 3, LAST, MID), np.full(rows, MID)]).astype(
            np.int8
        ),
        action=rng.integers(ACTIONS, size=(1, rows)).astype(np.int32),
        extras=(),
        reward=rng.normal(size=(1, rows)).astype(np.float32),
        discount=(1.0 - ended[None]).astype(np.float32),
        actor_state=np.arange(rows),
    )


def make(**settings):
    settings = {"num_models": 3, "capacity": 100, "steps": 4} | settings
    return seed_ensemble(SeedEnsembleConfig(**settings), SPEC, NETWORK)


def updated(agent, updates=3):
    state, update = agent.init(KEY), jax.jit(agent.update)
    for seed in range(updates):
        state, metrics = update(state, trajectory(seed))
    return state, metrics


def member(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def by_hand(agent, config, updates, index):
    """One model's parameters after updates, in a loop over its gradient steps, with rlax's errors.

    It draws the same data; what it does with them is written anew.
    """
    low, high = config.value_range or (-np.inf, np.inf)
    state, update_agent = agent.init(KEY), jax.jit(agent.update)
    optimizer = optax.adam(config.learning_rate)
    prior = member(state.params.prior, index)
    newest = networks(member(state.online, index))
    targets, moments = list(newest), [optimizer.init(theta) for theta in newest]

    def q(theta, x):
        return NETWORK.apply(theta, x) + config.prior_scale * NETWORK.apply(prior, x)

    def loss(theta, rows, target, selector):
        (seen, _), noise, used = rows
        error = jax.vmap(rlax.double_q_learning)(
            q(theta, seen.observation),
            seen.action,
            seen.reward + noise,
            config.discount * seen.discount,
            jax.lax.stop_gradient(jnp.clip(q(target, seen.next_observation), low, high)),
            jax.lax.stop_gradient(q(selector, seen.next_observation)),
        )
        return jnp.mean(used * error**2)

    gradient = jax.jit(jax.grad(loss))
    draw = jax.jit(draw_minibatches, static_argnums=(1, 5))
    for update in range(updates):
        state, _ = update_agent(state, trajectory(update))
        of_all = jax.random.fold_in(jax.random.fold_in(state.draw_key, update), index)
        before = list(newest)
        for h, key in enumerate(jax.random.split(of_all, config.networks)):
            target = targets[(h + 1) % config.networks]
            drawn = draw(
                state.experience,
                config.minibatch,
                state.seeds.replacement,
                index,
                key,
                config.steps,
            )
            noise = config.noise_variance**0.5 * gaussian(state.seeds.noise, index, drawn.number)
            used = bernoulli(state.seeds.mask, index, drawn.number, config.mask_probability)
            for i in range(config.steps):
                rows = member((drawn, noise, used), i)
                selector = before[h] if config.double else target
                change, moments[h] = optimizer.update(
                    gradient(newest[h], rows, target, selector), moments[h]
                )
                newest[h] = optax.apply_updates(newest[h], change)
        if (update + 1) % config.target_period == 0:
            targets = [
                jax.tree.map(lambda x, y: x + config.target_rate * (y - x), *both)
                for both in zip(targets, newest, strict=True)
            ]

    def stacked(networks):
        return jax.tree.map(lambda *x: jnp.stack(x), *networks)

    return stacked(targets if config.act_by_target else newest), stacked(newest)


VARIANTS = {
    "q_learning": {"num_models": 1, "prior_scale": 0.0, "noise_variance": 0.0},
    "plain": {},
    "noisy": {"noise_variance": 4.0, "target_period": 2},
    "double": {"double": True, "target_period": 2},
    "bootstrap": {"mask_probability": 0.5},
    "bounded": {"value_range": (-0.2, 0.1)},
    "averaged": {"target_rate": 0.3, "act_by_target": True},
    "mixed": {"networks": 2, "target_rate": 0.3, "double": True, "minibatch": MIXED},
    "three": {"networks": 3},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_equal_a_loop_over_gradient_steps(variant):
    settings = {"num_models": 3, "capacity": 100, "steps": 4} | VARIANTS[variant]
    config = SeedEnsembleConfig(**settings)
    agent = seed_ensemble(config, SPEC, NETWORK)
    state, metrics = updated(agent)
    index = config.num_models - 1
    expected = by_hand(agent, config, 3, index)
    found = member(state.params.acting, index), member(state.online, index)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, expected)
    start = member(agent.init(KEY).online, index)
    assert optax.tree.norm(optax.tree.sub(expected[1], start)) > 1e-3
    assert metrics["data"] == 3 * (ROWS - 1)  # one row of each was no transition


def test_a_prior_stays_and_is_its_models_alone():
    agent = make()
    before, after = agent.init(KEY).params.prior, updated(agent)[0].params.prior
    jax.tree.map(np.testing.assert_array_equal, before, after)
    kernels = before["params"]["skip"]["kernel"]
    assert len(np.unique(np.asarray(kernels).reshape(3, -1), axis=0)) == 3
    more = make(num_models=5).init(KEY).params.prior["params"]["skip"]["kernel"]
    np.testing.assert_array_equal(more[:3], kernels)  # whatever their number


def values(params, index, x):
    own = [NETWORK.apply(theta, x) for theta in networks(member(params.acting, index))]
    return sum(own) / len(own) + 3.0 * NETWORK.apply(member(params.prior, index), x)


def networks(tree):
    return [member(tree, h) for h in range(len(jax.tree.leaves(tree)[0]))]


@pytest.mark.parametrize("number", [1, 2])
def test_an_agent_is_greedy_for_the_mean_of_its_models_networks(number):
    agent, batch = make(networks=number), trajectory(rows=7)
    params = agent.init(KEY).params
    timestep = mid(batch.observation[0])
    agents = agent.initial_actor_state(7)
    action, _, after = agent.act(params, agents, timestep, KEY)
    expected = [np.argmax(values(params, k % 3, batch.observation[0, k][None])) for k in range(7)]
    np.testing.assert_array_equal(action, expected)
    np.testing.assert_array_equal(after, agents)
    mean = np.mean([values(params, e, batch.observation[0]) for e in range(3)], axis=0)
    np.testing.assert_array_equal(
        agent.act_greedily(params, agents, timestep)[0], mean.argmax(axis=1)
    )


def mid(observation):
    rows = len(observation)
    return dm_env.TimeStep(np.full(rows, MID, np.int8), np.zeros(rows), np.ones(rows), observation)


@pytest.mark.parametrize("devices", [1, 4])
def test_results_do_not_depend_on_the_number_of_devices(devices):
    settings = {"num_models": 4, "networks": 2, "capacity": 100, "steps": 4, "double": True}
    config = SeedEnsembleConfig(**settings)
    alone = seed_ensemble(config, SPEC, NETWORK)
    shared = seed_ensemble(config, SPEC, NETWORK, axis_name="devices")
    mesh = {"axis_name": "devices", "devices": jax.devices()[:devices]}
    state = jax.pmap(shared.init, **mesh)(jnp.broadcast_to(KEY, devices))
    expected = alone.init(KEY)
    update, updates = jax.jit(alone.update), jax.pmap(shared.update, **mesh)
    for seed in range(3):
        batch = trajectory(seed, rows=8)
        expected, metrics = update(expected, batch)
        parts = jax.tree.map(
            lambda x: np.stack(np.split(x, devices, axis=1)), batch._replace(actor_state=())
        )
        state, found = updates(state, parts)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for device in range(devices):
        jax.tree.map(close, member(state.params, device), expected.params)
        jax.tree.map(close, member(found, device), metrics)
        jax.tree.map(
            np.testing.assert_array_equal, member(state.experience, device), expected.experience
        )
    own = state.optimizer_state[0].mu["params"]["skip"]["kernel"]
    assert own.shape[:3] == (devices, 4 // devices, 2)
    close(
        own.reshape(-1, *own.shape[2:]), expected.optimizer_state[0].mu["params"]["skip"]["kernel"]
    )


def test_priors_may_have_a_network_of_their_own():
    other = NETWORK.clone(input_scale=-3.0)
    agent = seed_ensemble(SeedEnsembleConfig(num_models=9), SPEC, NETWORK, prior_network=other)
    params, x = agent.init(KEY).params, trajectory(rows=9).observation[0]
    action, _, _ = agent.act(params, agent.initial_actor_state(9), mid(x), KEY)
    for k in range(9):
        own = NETWORK.apply(networks(member(params.acting, k))[0], x[k][None])
        prior = other.apply(member(params.prior, k), x[k][None])
        assert action[k] == np.argmax(own + 3.0 * prior)


def test_models_that_devices_cannot_share_are_refused():
    agent = seed_ensemble(SeedEnsembleConfig(num_models=3), SPEC, NETWORK, axis_name="devices")
    with pytest.raises(ValueError, match="3 models were given for 2 devices"):
        jax.pmap(agent.init, axis_name="devices", devices=jax.devices()[:2])(
            jnp.broadcast_to(KEY, 2)
        )


class Linear(nn.Module):
    """A weight for each state and action."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(ACTIONS, use_bias=False)(x)


def test_linear_values_are_those_of_part_twos_regression():
    """Both end at `Q(s, a) = mean_j (r_j + z_j + γ max_a' Q(s'_j, a'))` over what was seen.

    The regression's prior is so wide that data alone decide; the ensemble's is frozen and additive.
    """
    v, discount, models, rows = 3.0, 0.5, 2, 60
    rng = np.random.default_rng(0)
    cell = np.tile(np.arange(FEATURES * ACTIONS), 5)
    state, action = np.divmod(cell, ACTIONS)
    successor = rng.integers(FEATURES, size=FEATURES * ACTIONS)[cell]
    reward = rng.normal(size=rows).astype(np.float32)
    seen = Transitions(state, action, reward, np.ones(rows), successor, np.ones(rows, bool))
    regression = one_hot_regression(
        RegressionConfig(noise_variance=v, prior_variance=1e8, discount=discount),
        FEATURES,
        ACTIONS,
        models,
    )
    one_hot = np.eye(FEATURES, dtype=np.float32)
    batch = Trajectory(
        observation=np.stack([one_hot[state], one_hot[successor]]),
        step_type=np.full((2, rows), MID, np.int8),
        action=action[None],
        extras=(),
        reward=reward[None],
        discount=np.ones((1, rows), np.float32),
        actor_state=(),
    )
    updates = 40
    config = SeedEnsembleConfig(
        num_models=models,
        noise_variance=v,
        discount=discount,
        steps=200,
        minibatch=Minibatch(512),
        capacity=updates * rows,
        learning_rate=3e-3,
    )
    agent = seed_ensemble(config, SPEC, Linear())
    state, update = agent.init(KEY), jax.jit(agent.update)
    statistics = regression.init(KEY)._replace(seeds=state.seeds)
    for _ in range(updates):
        state, _ = update(state, batch)
        statistics = regression.update(statistics, seen)
    found = [
        Linear().apply(networks(member(state.online, e))[0], one_hot)
        + config.prior_scale * Linear().apply(member(state.params.prior, e), one_hot)
        for e in range(models)
    ]
    for e in range(models):
        expected = regression.iterate(statistics, e, jnp.zeros((FEATURES, ACTIONS)), steps=100)
        np.testing.assert_allclose(found[e], expected, atol=0.1)
    assert np.abs(found[0] - found[1]).max() > 0.2


def test_dqn_is_random_as_often_as_epsilon_says():
    rows = 4000
    batch = trajectory(rows=rows)
    for epsilon in (0.0, 0.3, 1.0):
        learner = dataclasses.replace(DqnConfig().learner, capacity=10)
        agent = dqn(DqnConfig(epsilon, learner), SPEC, NETWORK)
        params = agent.init(KEY).params
        timestep, agents = mid(batch.observation[0]), agent.initial_actor_state(rows)
        action, _, _ = jax.jit(agent.act)(params, agents, timestep, KEY)
        greedy, _ = agent.act_greedily(params, agents, timestep)
        expected = epsilon * (1 - 1 / ACTIONS)
        spread = 4 * (expected * (1 - expected) / rows) ** 0.5
        assert abs(np.mean(action != greedy) - expected) <= spread
        if epsilon == 1.0:
            assert np.bincount(action, minlength=ACTIONS).min() > 0.9 * rows / ACTIONS


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_models": 0},
        {"networks": 0},
        {"prior_scale": -1.0},
        {"noise_variance": -0.1},
        {"mask_probability": 0.0},
        {"discount": 1.1},
        {"learning_rate": 0.0},
        {"steps": 0},
        {"target_period": 0},
        {"capacity": 0},
        {"target_rate": 0.0},
        {"value_range": (1.0, 0.0)},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        SeedEnsembleConfig(**wrong)


def test_a_wrong_epsilon_is_refused():
    with pytest.raises(ValueError, match=r"epsilon is 1.5; expected a number in \[0, 1\]"):
        DqnConfig(epsilon=1.5)


@pytest.mark.parametrize(
    "seeds",
    [
        {"num_models": 2},
        {"networks": 2},
        {"prior_scale": 1.0},
        {"noise_variance": 0.1},
        {"mask_probability": 0.5},
    ],
    ids=str,
)
def test_dqn_with_seeds_is_refused(seeds):
    learner = dataclasses.replace(DqnConfig().learner, **seeds, steps=7)
    (name,) = seeds
    with pytest.raises(ValueError, match=f"the learner's {name} is .*give without_seeds"):
        DqnConfig(learner=learner)
    assert without_seeds(learner) == dataclasses.replace(DqnConfig().learner, steps=7)
    DqnConfig(learner=without_seeds(learner))


def test_an_update_without_data_changes_nothing():
    agent = make(noise_variance=1.0)
    state, _ = updated(agent, updates=1)
    ended = trajectory(1)._replace(step_type=np.full((2, ROWS), LAST, np.int8))
    after, _ = jax.jit(agent.update)(state, ended)
    before, after = (s._replace(seeds=(), draw_key=()) for s in (state, after))
    jax.tree.map(np.testing.assert_array_equal, after, before)
