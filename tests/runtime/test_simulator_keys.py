"""The simulator wants one key a world, and says so."""

import re

import jax
import numpy as np
import pytest

from expedition.agents import linear_seed_td
from expedition.environments import bipolar_chain
from expedition.exploration import RegressionConfig, one_hot_regression
from expedition.runtime import simulate, simulation

PROBLEM = bipolar_chain(6)
AGENT = linear_seed_td(one_hot_regression(RegressionConfig(), 6, 2, 2), steps=1, learning_rate=0.5)
SETTINGS = {"num_agents": 2, "horizon": 2.0}


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_keys_that_are_no_row_are_refused(make_key, shape):
    key = make_key(0)
    keys = jax.random.split(key, shape) if shape else key
    text = f"keys of shape {shape} were given; expected [W], one a world: jax.random.split(key, W)"
    with pytest.raises(ValueError, match=re.escape(text)):
        simulate(AGENT, PROBLEM, keys, **SETTINGS)
    with pytest.raises(ValueError, match=re.escape(text)):
        jax.jit(simulation(AGENT, PROBLEM, **SETTINGS).start)(keys)


def test_a_list_of_keys_is_refused():
    with pytest.raises(ValueError, match="a list of keys was given"):
        simulate(AGENT, PROBLEM, [jax.random.key(0)], **SETTINGS)


def test_keys_of_both_kinds_start_the_same_worlds():
    start = jax.jit(simulation(AGENT, PROBLEM, **SETTINGS).start)
    worlds = [
        start(jax.random.split(make_key(0), 3)).worlds.world
        for make_key in (jax.random.key, jax.random.PRNGKey)
    ]
    jax.tree.map(np.testing.assert_array_equal, *worlds)
