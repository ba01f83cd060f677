"""Linear seed TD: what its steps are, and where they lead."""

from functools import cache

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regression_oracle as oracle
from expedition.agents.agent import Trajectory
from expedition.agents.seed_td import linear_seed_td
from expedition.environments.interface import LAST, MID
from expedition.exploration.regression import (
    RegressionConfig,
    linear_regression,
    one_hot_regression,
)

CONFIG = RegressionConfig(noise_variance=0.3, prior_variance=2.5, discount=0.9)
KEY = jax.random.key(31)
AGENTS = 4
DATA = oracle.random_transitions(24, seed=11)
TABLES = {"cells": oracle.one_hot_table(), "features": oracle.random_table(3)}
KINDS = pytest.mark.parametrize("kind", TABLES)
SEEN = oracle.numbered(DATA)


@cache
def make(kind, steps=1, learning_rate=1.0, evaluation_steps=1000):
    if kind == "cells":
        family = one_hot_regression(CONFIG, oracle.STATES, 2, AGENTS, max_successors=2)
    else:
        table = jnp.asarray(TABLES[kind], jnp.float32)
        family = linear_regression(CONFIG, lambda s: table[s], table.shape[-1], 2, 32)
    agent = linear_seed_td(
        family, steps=steps, learning_rate=learning_rate, evaluation_steps=evaluation_steps
    )
    return agent._replace(
        act=jax.jit(agent.act),
        act_greedily=jax.jit(agent.act_greedily),
        update=jax.jit(agent.update),
    )


@cache
def learnt(kind):
    """What the team knows after all data; steps and learning rate do not matter for it."""
    agent = make(kind)
    batch = Trajectory(
        observation=np.stack([DATA.observation, DATA.next_observation]),
        step_type=np.stack([np.where(DATA.is_valid, MID, LAST), np.full(24, MID)]).astype(np.int8),
        action=DATA.action[None],
        extras=(),
        reward=DATA.reward[None],
        discount=DATA.discount[None],
        actor_state=(),
    )
    return agent.update(agent.init(KEY), batch)[0].params


def at(states):
    states = jnp.asarray(states)
    zeros = jnp.zeros(states.shape)
    return dm_env.TimeStep(jnp.full(states.shape, MID, jnp.int8), zeros, zeros + 1, states)


def priors(kind):
    """[K, d], each agent's own sample of the prior."""
    return np.stack([oracle.prior(KEY, k, TABLES[kind].shape[-1], CONFIG) for k in range(AGENTS)])


def thetas(kind, actor):
    """[K, d], what the agents have learnt of the weights."""
    learnt = np.asarray(actor.learnt, np.float64).reshape(AGENTS, -1)
    return learnt + priors(kind)[actor.agent]


def actor_at(kind, agent, theta):
    """Agents whose estimates are these."""
    actor = agent.initial_actor_state(AGENTS)
    learnt = jnp.asarray(theta - priors(kind), jnp.float32).reshape(actor.learnt.shape)
    return actor._replace(learnt=learnt)


def act(kind, agent, actor, times=1, states=(0, 1, 2, 3)):
    for _ in range(times):
        action, _, actor = agent.act(learnt(kind), actor, at(states), KEY)
    return action, actor


def definition(kind, agent):
    return oracle.operator(SEEN, TABLES[kind], CONFIG, KEY, agent)


@KINDS
def test_an_agent_starts_from_its_own_sample_of_the_prior(kind):
    actor = make(kind).initial_actor_state(AGENTS)
    np.testing.assert_array_equal(actor.agent, np.arange(AGENTS))
    np.testing.assert_array_equal(actor.learnt, 0)
    _, after = act(kind, make(kind), actor)
    expected = [definition(kind, k)(priors(kind)[k]) for k in range(AGENTS)]
    np.testing.assert_allclose(thetas(kind, after), expected, rtol=1e-4, atol=1e-4)


@KINDS
def test_a_whole_step_from_zero_is_seed_lsvi(kind):
    """With learning rate 1, N steps are the operator N times."""
    agent, steps = make(kind, steps=3), 3
    start = np.zeros_like(priors(kind))
    action, after = act(kind, agent, actor_at(kind, agent, start))
    expected = np.stack([oracle.iterate(definition(kind, k), steps, start[k]) for k in range(4)])
    np.testing.assert_allclose(thetas(kind, after), expected, rtol=1e-4, atol=1e-4)
    values = np.einsum("sad,sd->sa", TABLES[kind], expected)  # agent k is in state k
    oracle.assert_gaps(values)
    np.testing.assert_array_equal(action, values.argmax(axis=-1))


@KINDS
def test_a_step_is_the_preconditioned_gradient_of_the_written_loss(kind):
    rate = 0.25
    agent = make(kind, learning_rate=rate)
    theta = np.random.default_rng(0).normal(size=priors(kind).shape)
    _, after = act(kind, agent, actor_at(kind, agent, theta))
    phi = TABLES[kind][SEEN.observation, SEEN.action]

    @jax.jit
    def slope_and_curvature(weights, targets, prior):
        def loss(weights):
            errors, pull = targets - phi @ weights, weights - prior
            return errors @ errors / CONFIG.noise_variance + pull @ pull / CONFIG.prior_variance

        return jax.grad(loss)(weights), jax.hessian(loss)(weights)

    for k, prior in enumerate(priors(kind)):
        targets = oracle.targets(SEEN, TABLES[kind], theta[k], CONFIG)  # of the last iterate
        targets = targets + oracle.noise(KEY, k, np.arange(len(targets)), CONFIG)
        with jax.enable_x64(True):
            slope, curvature = map(np.asarray, slope_and_curvature(theta[k], targets, prior))
        expected = theta[k] - rate * np.linalg.solve(curvature / 2, slope) / 2
        np.testing.assert_allclose(thetas(kind, after)[k], expected, rtol=1e-4, atol=1e-4)
        assert np.abs(expected - theta[k]).max() > 0.1


@KINDS
def test_steps_compose_and_what_is_learnt_is_kept(kind):
    once, fours = make(kind, learning_rate=0.25), make(kind, steps=4, learning_rate=0.25)
    start = once.initial_actor_state(AGENTS)
    _, singly = act(kind, once, start, times=8)
    _, together = act(kind, fours, start, times=2)
    np.testing.assert_allclose(singly.learnt, together.learnt, rtol=1e-4, atol=1e-5)
    _, fewer = act(kind, fours, start)
    assert np.abs(fewer.learnt - together.learnt).max() > 0.01


@KINDS
def test_many_steps_lead_to_the_fixed_point(kind):
    agent = make(kind, steps=4, learning_rate=0.25)
    _, after = act(kind, agent, agent.initial_actor_state(AGENTS), times=60)
    for k, theta in enumerate(thetas(kind, after)):
        np.testing.assert_allclose(definition(kind, k)(theta), theta, rtol=1e-3, atol=1e-3)


@KINDS
def test_agents_in_another_order_learn_the_same(kind):
    agent, order = make(kind, learning_rate=0.25), np.array([2, 0, 3, 1])
    states = np.array([3, 1, 0, 2])
    actor = agent.initial_actor_state(AGENTS)
    action, after = act(kind, agent, actor, 3, states)
    shuffled, moved = act(kind, agent, jax.tree.map(lambda x: x[order], actor), 3, states[order])
    np.testing.assert_array_equal(shuffled, action[order])
    np.testing.assert_array_equal(moved.agent, order)
    np.testing.assert_allclose(moved.learnt, after.learnt[order], rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.round(after.learnt, 3), axis=0)) == AGENTS


@KINDS
def test_evaluation_is_greedy_for_what_steps_without_noise_and_prior_lead_to(kind):
    agent = make(kind, steps=1, learning_rate=0.25, evaluation_steps=20)
    theta = np.zeros(TABLES[kind].shape[-1])
    for _ in range(20):
        theta = definition(kind, None)(theta)
    oracle.assert_gaps(TABLES[kind] @ theta)
    actor = agent.initial_actor_state(AGENTS)
    chosen, after = agent.act_greedily(learnt(kind), actor, at(np.arange(oracle.STATES)))
    np.testing.assert_array_equal(chosen, (TABLES[kind] @ theta).argmax(axis=-1))
    jax.tree.map(np.testing.assert_array_equal, after, actor)


def test_a_team_larger_than_its_seeds_is_refused():
    with pytest.raises(ValueError, match=f"^{AGENTS + 1} agents were asked for, of .* {AGENTS};"):
        make("cells").initial_actor_state(AGENTS + 1)


@pytest.mark.parametrize(
    ("steps", "evaluation_steps", "rate"),
    [(0, 9, 0.5), (1, 9, 0.0), (1, 9, 1.1), (-1, 9, -0.1), (1, 0, 0.5)],
)
def test_arguments_out_of_range_are_named(steps, evaluation_steps, rate):
    message = f"^steps is {steps}, evaluation_steps {evaluation_steps} and learning_rate {rate};"
    with pytest.raises(ValueError, match=message):
        linear_seed_td(None, steps=steps, learning_rate=rate, evaluation_steps=evaluation_steps)
