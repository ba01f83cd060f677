"""Seeded IMPALA: against IMPALA, a loop over its members, devices of any number, and probes."""

import dataclasses
from functools import partial

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_env import specs
from test_impala import random_batch

from expedition.agents import ImpalaConfig, SeededImpalaConfig, impala, seeded_impala
from expedition.agents.actor_critic import make_optimizer
from expedition.agents.unroll_memory import minibatches
from expedition.environments import PROBES, FunctionalBatch, Probe
from expedition.environments.interface import LAST, EnvironmentSpec
from expedition.exploration.experience import Minibatch
from expedition.exploration.seeds import gaussian
from expedition.losses import boltzmann_loss, boltzmann_targets, categorical
from expedition.losses.boltzmann import boltzmann
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime import AXIS, RuntimeConfig, evaluate, train

ACTIONS = 3
SPEC = EnvironmentSpec(specs.Array((2,), "float32"), specs.DiscreteArray(ACTIONS))
KEY = jax.random.key(0)
ADAM = ImpalaConfig(
    optimizer="adam", learning_rate=0.01, discount=0.9, lambda_=0.9, reduction="mean"
)
CONFIG = SeededImpalaConfig(num_members=4, noise_variance=0.5, temperature=0.2, impala=ADAM)
REPLAYED = dataclasses.replace(
    CONFIG,
    passes=3,
    replay=20,
    minibatch=Minibatch(5, recent_part=0.4, recent_data=3, rewarded_part=0.4, rewarded_data=4),
    target_rate=0.3,
)
LENGTH = 7  # of the batches' unrolls


def network(outputs=ACTIONS):
    return nn.Sequential([MLPTorso((8,)), nn.Dense(outputs)])


def make(config=CONFIG, **settings):
    outputs = config.num_outputs(ACTIONS)
    return seeded_impala(
        config, SPEC, network(outputs), num_updates=50, unroll_length=LENGTH, **settings
    )


def member(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def updated(agent, updates=3):
    state, update = agent.init(KEY), jax.jit(agent.update)
    for seed in range(updates):
        state, metrics = update(state, random_batch(seed, width=4))
    return state, metrics


class Flat(nn.Module):
    """An actor-critic of one observation, its outputs side by side."""

    actor_critic: ActorCritic

    def __call__(self, observation):
        reset = jnp.zeros((1, len(observation)), bool)
        logits, value, _ = self.actor_critic(observation[None], reset, ())
        return jnp.concatenate([logits[0], value[0][:, None]], axis=-1)


@pytest.mark.parametrize("passes", [1, 2])
def test_one_member_without_a_seed_is_impala(passes):
    """Clipped rewards, off-policy rows and boundaries: the same actions and the same updates."""
    actor_critic = ActorCritic(MLPTorso((8,)), policy_head(SPEC.action))
    settings = ImpalaConfig(
        discount=0.9, lambda_=0.8, rho_bar=1.7, c_bar=0.9, rho_bar_pg=1.2, reward_scale=0.5
    )
    config = SeededImpalaConfig(
        num_members=1,
        prior_scale=0.0,
        noise_variance=0.0,
        temperature=None,
        passes=passes,
        impala=settings,
    )
    alone = impala(settings, SPEC, actor_critic, num_updates=5 * passes)
    seeded = seeded_impala(config, SPEC, Flat(actor_critic), num_updates=5)
    expected, state = alone.init(KEY), seeded.init(KEY)
    params = {"params": {"actor_critic": expected.params["params"]}}
    params = jax.tree.map(lambda x: x[None], params)
    state = state._replace(
        params=state.params._replace(members=params), own=state.own._replace(params=params)
    )
    one, ours = jax.jit(alone.update), jax.jit(seeded.update)
    for seed in range(3):
        batch = random_batch(seed)
        for _ in range(passes):
            expected, metrics = one(expected, batch)
        state, found = ours(state, batch)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    learnt = member(state.params.members, 0)["params"]["actor_critic"]
    jax.tree.map(close, learnt, expected.params["params"])
    jax.tree.map(close, found, metrics)
    batch, key = random_batch(9), jax.random.key(5)
    timestep = dm_env.TimeStep(batch.step_type[0], None, None, batch.observation[0])
    action, behaviour, _ = seeded.act(state.params, jnp.arange(3), timestep, key)
    same, theirs, _ = alone.act(expected.params, (), timestep, key)
    np.testing.assert_array_equal(action, same)
    jax.tree.map(close, behaviour, theirs)
    greedy, _ = seeded.act_greedily(state.params, jnp.arange(3), timestep)
    np.testing.assert_array_equal(greedy, alone.act_greedily(expected.params, (), timestep)[0])


def by_hand(config, start, index, updates=3):
    """One member's parameters, written anew but for the loss and the optimiser."""
    optimizer, f = make_optimizer(config.impala, 50 * config.passes), network()
    prior = member(start.params.prior, index)
    theta = member(start.own.params, index)
    moments, number = optimizer.init(theta), 0

    def loss(theta, batch, reward):
        x = batch.observation
        q = f.apply(theta, x.reshape(-1, 2)) + config.prior_scale * f.apply(prior, x.reshape(-1, 2))
        logits, value = boltzmann(q.reshape(*x.shape[:2], ACTIONS), config.temperature)
        return boltzmann_loss(
            categorical.log_prob(logits[:-1], batch.action),
            batch.extras.log_prob,
            categorical.entropy(logits[:-1]),
            value[:-1],
            value[1:],
            reward,
            config.impala.discount * batch.discount,
            temperature=config.temperature,
            lambda_=config.impala.lambda_,
            continuation_t=batch.step_type[1:] != LAST,
            weight_tm1=batch.step_type[:-1] != LAST,
            reduction="mean",
        ).total

    gradient = jax.jit(jax.grad(loss))
    for seed in range(updates):
        batch = random_batch(seed, width=4)
        reward = np.clip(batch.reward, -1.0, 1.0)  # before the noise
        rows = [row for row in np.ndindex(reward.shape) if batch.step_type[row] != LAST]
        z = gaussian(start.noise_key, index, number + np.arange(len(rows)))
        number += len(rows)
        for row, noise in zip(rows, np.asarray(z), strict=True):
            reward[row] += config.noise_variance**0.5 * noise
        for _ in range(config.passes):
            change, moments = optimizer.update(gradient(theta, batch, reward), moments)
            theta = jax.tree.map(jnp.add, theta, change)
    return theta


@pytest.mark.parametrize("passes", [1, 2])
def test_every_member_learns_from_all_data_under_its_own_seed(passes):
    """Data are numbered as they come, restarts left out, through all updates."""
    config = dataclasses.replace(CONFIG, passes=passes)
    agent = make(config)
    state, _ = updated(agent)
    for index in (0, 3):
        expected = by_hand(config, agent.init(KEY), index)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            member(state.params.members, index),
            expected,
        )
    rows = [random_batch(seed, width=4).is_transition.sum() for seed in range(3)]
    assert state.data == sum(rows) < 3 * 7 * 4


draw = jax.jit(minibatches, static_argnames=("minibatch", "count"))


def fitted_by_hand(config, states, index):
    """A member's parameters that act and that learn, from the minibatches it drew."""
    optimizer, f = make_optimizer(config.impala, 50 * config.passes), network()
    prior = member(states[0].params.prior, index)
    theta = acting = member(states[0].own.params, index)
    moments = optimizer.init(theta)

    def values(theta, x):
        q = f.apply(theta, x.reshape(-1, 2)) + config.prior_scale * f.apply(prior, x.reshape(-1, 2))
        return q.reshape(*x.shape[:-1], ACTIONS)

    def loss(theta, batch, targets):
        q = jnp.take_along_axis(values(theta, batch.observation)[:-1], batch.action[..., None], -1)
        is_transition = batch.step_type[:-1] != LAST
        return 0.5 * jnp.mean(is_transition * (q[..., 0] - targets) ** 2)

    @jax.jit
    def descend(theta, moments, before, batch, number):
        noise = config.noise_variance**0.5 * gaussian(states[0].noise_key, index, number)
        targets = boltzmann_targets(
            values(before, batch.observation),
            batch.action,
            batch.extras.log_prob,
            batch.reward + noise,
            config.impala.discount * batch.discount,
            temperature=config.temperature,
            lambda_=config.impala.lambda_,
            rho_bar=config.impala.rho_bar,
            c_bar=config.impala.c_bar,
            continuation_t=batch.step_type[1:] != LAST,
        ).action_values
        change, moments = optimizer.update(jax.grad(loss)(theta, batch, targets), moments)
        return jax.tree.map(jnp.add, theta, change), moments

    for state in states[1:]:
        drawn = draw(state.memory, config.minibatch, index, config.passes)
        before = acting
        for i in range(config.passes):
            theta, moments = descend(theta, moments, before, *member(drawn, i))
        acting = jax.tree.map(
            lambda new, old: config.target_rate * new + (1 - config.target_rate) * old,
            theta,
            before,
        )
    return acting, theta


def test_with_replay_members_fit_their_values_to_targets_of_those_that_act():
    """Thresholds, clipped rewards, boundaries; what is drawn is what the memory's test is about."""
    impala = dataclasses.replace(ADAM, rho_bar=1.7, c_bar=0.9, reduction="mean")
    config = dataclasses.replace(REPLAYED, impala=impala)
    agent = make(config)
    update = jax.jit(agent.update)
    states = [agent.init(KEY)]
    for seed in range(3):
        states.append(update(states[-1], random_batch(seed, width=4))[0])
    assert np.abs(states[-1].memory.experience.everything.data.batch.reward).max() == 1
    for index in (0, 3):
        acting, learning = fitted_by_hand(config, states, index)
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, member(states[-1].params.members, index), acting)
        jax.tree.map(close, member(states[-1].own.params, index), learning)


def test_members_share_neither_prior_nor_start_nor_noise():
    silent = dataclasses.replace(CONFIG, noise_variance=0.0)
    first = make().init(KEY)
    for part in first.params:
        kernels = np.asarray(jax.tree.leaves(part)[-1]).reshape(4, -1)
        assert len(np.unique(kernels, axis=0)) == 4
    # From one start without priors, the noise alone tells members apart.
    alike = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), first.own)
    for config, distinct in ((CONFIG, 4), (silent, 1)):
        agent = make(dataclasses.replace(config, prior_scale=0.0))
        after, _ = agent.update(first._replace(own=alike), random_batch(width=4))
        found = np.asarray(jax.tree.leaves(after.params.members)[-1]).reshape(4, -1)
        assert len(np.unique(found, axis=0)) == distinct
    jax.tree.map(np.testing.assert_array_equal, updated(make())[0].params.prior, first.params.prior)


def test_an_environment_keeps_its_member():
    agent, batch = make(), random_batch(width=7)
    params, agents = agent.init(KEY).params, agent.initial_actor_state(7)
    timestep = dm_env.TimeStep(batch.step_type[0], None, None, batch.observation[0])
    _, behaviour, after = agent.act(params, agents, timestep, KEY)
    np.testing.assert_array_equal(after, np.arange(7))
    for k in range(7):
        theta, prior = member(params, k % 4)
        x = batch.observation[0, k][None]
        q = network().apply(theta, x) + CONFIG.prior_scale * network().apply(prior, x)
        np.testing.assert_allclose(behaviour.policy[k], q[0] / CONFIG.temperature, rtol=1e-4)


def test_it_is_greedy_for_the_mixture_of_all_members_policies():
    agent, batch = make(), random_batch(width=50)
    params = agent.init(KEY).params
    timestep = dm_env.TimeStep(batch.step_type[0], None, None, batch.observation[0])
    action, _ = agent.act_greedily(params, agent.initial_actor_state(50), timestep)
    policies = []
    for e in range(4):
        theta, prior = member(params, e)
        x = batch.observation[0]
        q = network().apply(theta, x) + CONFIG.prior_scale * network().apply(prior, x)
        policies.append(jax.nn.softmax(q / CONFIG.temperature))
    np.testing.assert_array_equal(action, np.mean(policies, axis=0).argmax(-1))


@pytest.mark.parametrize("config", [CONFIG, REPLAYED], ids=["stream", "replay"])
@pytest.mark.parametrize("devices", [1, 4])
def test_results_do_not_depend_on_the_number_of_devices(devices, config):
    shared = make(config, axis_name="devices")
    mesh = {"axis_name": "devices", "devices": jax.devices()[:devices]}
    state = jax.pmap(shared.init, **mesh)(jnp.broadcast_to(KEY, devices))
    update = jax.pmap(shared.update, **mesh)
    expected, metrics = updated(make(config))
    for seed in range(3):
        batch = random_batch(seed, width=4)._replace(actor_state=())
        parts = jax.tree.map(lambda x: np.stack(np.split(x, devices, axis=1)), batch)
        state, found = update(state, parts)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    for device in range(devices):
        jax.tree.map(close, member(state.params, device), expected.params)
        jax.tree.map(close, member(found, device), metrics)
        assert state.data[device] == expected.data
    moments = state.own.optimizer_state[1][0].mu["params"]["layers_1"]["kernel"]
    assert moments.shape[:2] == (devices, 4 // devices)
    theirs = expected.own.optimizer_state[1][0].mu["params"]["layers_1"]["kernel"]
    close(moments.reshape(theirs.shape), theirs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_members": 0}, "num_members is 0; expected at least 1"),
        ({"passes": 0}, "passes is 0; expected at least 1"),
        ({"prior_scale": -1.0}, "prior_scale is -1.0; expected at least 0"),
        ({"noise_variance": -0.1}, "noise_variance is -0.1; expected at least 0"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a positive number, or None"),
        ({"target_rate": 0.0}, "target_rate is 0.0; expected a number in"),
        ({"replay": 0}, "replay is 0.*expected at least 1 unroll"),
        ({"replay": 9, "temperature": None}, "temperature None .*expected.* action values"),
        ({"replay": 9, "impala": ImpalaConfig(correction="none")}, "'none'; expected.* V-trace"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SeededImpalaConfig(**wrong)


def test_replay_needs_the_length_of_its_unrolls():
    with pytest.raises(ValueError, match="expected the unrolls' length"):
        seeded_impala(REPLAYED, SPEC, network(), num_updates=1)


def test_real_actions_are_refused():
    spec = Probe("constant_value", continuous=True).spec
    with pytest.raises(ValueError, match="expected a discrete one"):
        seeded_impala(CONFIG, spec, network(), num_updates=1)


VALUES = {
    "constant_value": {0.0: 1.0},
    "observation_value": {-1.0: -1.0, 1.0: 1.0},
    "discounting": {0.0: 0.9, 1.0: 1.0},
    "action_reward": {0.0: 1.0},
    "observation_action": {-1.0: 1.0, 1.0: 1.0},
}


@pytest.mark.parametrize("name", PROBES)
def test_every_member_solves_the_probe(name):
    probe = Probe(name)
    runtime = RuntimeConfig(
        total_steps=30_000, unroll_length=8, batch_size=16, environments_per_actor=16, actors=1
    )
    config = SeededImpalaConfig(
        num_members=4,
        prior_scale=1.0,
        temperature=0.02,
        impala=dataclasses.replace(ADAM, max_abs_reward=None),
    )
    agent = seeded_impala(
        config, probe.spec, network(2), num_updates=runtime.num_updates, axis_name=AXIS
    )
    batches = [FunctionalBatch(probe, 16, KEY)]
    params = train(agent, batches, runtime, key=jax.random.key(7)).params
    for shown, expected in VALUES[name].items():
        x = np.full((1, 1), shown, np.float32)
        for e in range(4):
            theta, prior = member(params, e)
            q = network(2).apply(theta, x) + network(2).apply(prior, x)
            assert boltzmann(q, 0.02)[1][0] == pytest.approx(expected, abs=0.1), (shown, e)
    if "action" in name:
        evaluation = evaluate(agent, params, FunctionalBatch(probe, 32, jax.random.key(9)))
        assert np.min(evaluation.returns) > 0.9
