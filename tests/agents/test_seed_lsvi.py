"""Seed LSVI's actions against regressions from the definition, over the whole horizon."""

import itertools
from functools import cache

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regression_oracle as oracle
from expedition.agents.agent import Trajectory
from expedition.agents.seed_lsvi import seed_lsvi
from expedition.environments.chains import bipolar_chain
from expedition.environments.interface import LAST, MID
from expedition.exploration.regression import (
    RegressionConfig,
    linear_regression,
    one_hot_regression,
)

CONFIG = RegressionConfig(noise_variance=2.0, prior_variance=5.0, discount=0.9)
KEY = jax.random.key(22)
AGENTS = 6
DATA = oracle.random_transitions(24, seed=11)
TABLES = {"cells": oracle.one_hot_table(), "features": oracle.random_table(3)}
KINDS = pytest.mark.parametrize("kind", TABLES)
HORIZONS = (1, 2, 12)


def regression(kind, config=CONFIG):
    if kind == "cells":
        return one_hot_regression(config, oracle.STATES, 2, AGENTS, max_successors=2)
    table = jnp.asarray(TABLES[kind], jnp.float32)
    return linear_regression(config, lambda s: table[s], table.shape[-1], 2, 32)


@cache
def make(kind, horizon):
    agent = seed_lsvi(regression(kind), horizon=horizon)
    return agent._replace(
        act=jax.jit(agent.act),
        act_greedily=jax.jit(agent.act_greedily),
        update=jax.jit(agent.update),
    )


def as_trajectory(data):
    """Data as an unroll of 1 in as many environments."""
    step_type = jnp.where(data.is_valid, jnp.int8(MID), jnp.int8(LAST))
    return Trajectory(
        observation=jnp.stack([data.observation, data.next_observation]),
        step_type=jnp.stack([step_type, jnp.full_like(step_type, MID)]),
        action=data.action[None],
        extras=(),
        reward=data.reward[None],
        discount=data.discount[None],
        actor_state=(),
    )


@cache
def learnt(kind):
    """What the team knows after all data, in two batches; the horizon does not matter for it."""
    agent = make(kind, 1)
    state = agent.init(KEY)
    for half in (slice(12), slice(12, 24)):
        state = agent.update(state, as_trajectory(oracle.rows(DATA, half)))[0]
    return state.params


@cache
def values(kind, horizon):
    """[agents + mean, S, A] of the definition; of no agent last."""
    operators = [
        oracle.operator(oracle.numbered(DATA), TABLES[kind], CONFIG, KEY, agent)
        for agent in (*range(AGENTS), None)
    ]
    zero = np.zeros(TABLES[kind].shape[-1])
    return np.stack([TABLES[kind] @ oracle.iterate(t, horizon, zero) for t in operators])


def at(vertices):
    vertices = jnp.asarray(vertices)
    zeros = jnp.zeros(vertices.shape)
    return dm_env.TimeStep(jnp.full(vertices.shape, MID, jnp.int8), zeros, zeros + 1, vertices)


@KINDS
@pytest.mark.parametrize("horizon", HORIZONS)
def test_every_agent_acts_greedily_for_its_own_regressions(kind, horizon):
    expected = values(kind, horizon)
    oracle.assert_gaps(expected)
    agent = make(kind, horizon)
    for state in range(oracle.STATES):
        actor = agent.initial_actor_state(AGENTS)
        action, _, after = agent.act(learnt(kind), actor, at([state] * AGENTS), KEY)
        np.testing.assert_array_equal(action, expected[:-1, state].argmax(axis=-1))
        np.testing.assert_array_equal(after, np.arange(AGENTS))


@KINDS
def test_evaluation_is_greedy_for_the_regressions_without_noise_and_prior(kind):
    agent, states = make(kind, 12), np.arange(oracle.STATES)
    chosen, after = agent.act_greedily(learnt(kind), agent.initial_actor_state(4), at(states))
    np.testing.assert_array_equal(chosen, values(kind, 12)[-1].argmax(axis=-1))
    np.testing.assert_array_equal(after, states)


@KINDS
def test_agents_horizons_and_the_mean_choose_differently(kind):
    """Or the tests above would not tell them from each other."""
    chosen = [values(kind, horizon).argmax(axis=-1) for horizon in HORIZONS]
    assert all((one != other).any() for one, other in itertools.combinations(chosen, 2))
    for of_agents in chosen:
        assert len(np.unique(of_agents[:-1], axis=0)) >= 3
        assert (of_agents[:-1] != of_agents[-1]).any(axis=1).sum() >= 2


@KINDS
def test_an_agents_number_is_all_that_it_is(kind):
    agent, order, states = make(kind, 2), np.array([4, 0, 4, 5, 2, 1]), np.array([3, 1, 0, 2, 1, 0])
    action, _, after = agent.act(learnt(kind), jnp.asarray(order), at(states), KEY)
    np.testing.assert_array_equal(action, values(kind, 2)[order, states].argmax(axis=-1))
    np.testing.assert_array_equal(after, order)


def test_after_enough_data_all_is_optimal():
    """Each edge of a small chain a few times: from everywhere to the good end."""
    problem = bipolar_chain(6)
    config = RegressionConfig(noise_variance=0.01, prior_variance=100.0)
    agent = seed_lsvi(one_hot_regression(config, 6, 2, AGENTS), horizon=6)
    vertex, action = (np.tile(x.ravel(), 3) for x in np.mgrid[1:5, :2])

    @jax.jit
    def chosen(theta):
        step = jax.vmap(problem.step, in_axes=(None, 0, 0))
        state, after = step(theta, vertex, action)
        data = (vertex, action, after.reward, after.discount, state, np.ones(len(vertex), bool))
        batch = as_trajectory(oracle.Transitions(*data))
        params = agent.update(agent.init(KEY), batch)[0].params
        inside = at(np.arange(1, 5))
        evaluated, _ = agent.act_greedily(params, jnp.arange(4), inside)
        return evaluated, agent.act(params, jnp.arange(4), inside, KEY)[0]

    for theta in (-6.0, 6.0):
        for action_of_all in chosen(jnp.array([theta])):
            np.testing.assert_array_equal(action_of_all, theta > 0)


def test_a_team_larger_than_its_seeds_is_refused():
    agent = make("cells", 1)
    with pytest.raises(ValueError, match=f"^{AGENTS + 1} agents were asked for, of .* {AGENTS};"):
        agent.initial_actor_state(AGENTS + 1)
    assert len(make("features", 1).initial_actor_state(AGENTS + 1)) == AGENTS + 1


@pytest.mark.parametrize("horizon", [0, -1])
def test_no_horizon_is_refused(horizon):
    with pytest.raises(ValueError, match=f"^horizon is {horizon}; expected at least 1"):
        seed_lsvi(regression("cells"), horizon=horizon)
