"""A model for each episode: drawn at its start, kept to its end, by each agent for itself."""

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.agents import Agent, model_per_episode
from expedition.environments import FIRST, LAST, MID

MODELS, AGENTS = 5, 3


def shows_its_model():
    """An agent whose action is the number of its model."""

    def act(params, model, timestep, key):
        return model, {"key": jnp.broadcast_to(jax.random.key_data(key), (AGENTS, 2))}, model

    def act_greedily(params, model, timestep):
        return model, model

    return Agent(lambda key: None, jnp.arange, act, act_greedily, lambda state, batch: (state, {}))


def play(step_types, seed=0):
    """Actions [T, K] after these step types [T, K]."""
    agent = model_per_episode(shows_its_model(), MODELS)

    def step(actor, row):
        step_type, key = row
        timestep = dm_env.TimeStep(step_type, jnp.zeros(AGENTS), jnp.ones(AGENTS), ())
        action, extras, actor = agent.act((), actor, timestep, key)
        greedy, _ = agent.act_greedily((), actor, timestep)
        return actor, (action, greedy, extras["key"])

    keys = jax.random.split(jax.random.key(seed), len(step_types))
    start = agent.initial_actor_state(AGENTS)
    _, rows = jax.jit(lambda: jax.lax.scan(step, start, (jnp.asarray(step_types), keys)))()
    return jax.device_get(rows)


def test_a_model_lasts_an_episode():
    lengths = [4, 5, 7]
    types = np.stack([np.tile([FIRST, *[MID] * (n - 2), LAST], 140)[:560] for n in lengths], 1)
    actions, greedy, _ = play(types)
    np.testing.assert_array_equal(actions, greedy)
    drawn = []
    for k, n in enumerate(lengths):
        episodes = actions[: 560 // n * n, k].reshape(-1, n)
        assert (episodes == episodes[:, :1]).all()
        drawn.append(episodes[:80, 0])
    counts = np.bincount(np.concatenate(drawn), minlength=MODELS)
    assert len(counts) == MODELS
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert (drawn[0] != drawn[1]).any()


def test_agents_draw_each_their_own():
    actions, _, keys = play(np.full((300, AGENTS), FIRST))
    pairs = np.bincount(MODELS * actions[:, 0] + actions[:, 1], minlength=MODELS**2)
    assert scipy.stats.chisquare(pairs).pvalue > 1e-3
    assert len(np.unique(keys[:, 0], axis=0)) == 300  # what the agent draws is another key each


def test_without_models_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="num_models is 0"):
        model_per_episode(shows_its_model(), 0)
