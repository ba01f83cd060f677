"""Normalized observations: the statistics against numpy, the agent against itself on such ones."""

from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_env import specs

from expedition.agents import ImpalaConfig, Trajectory, a3c, normalize_observations
from expedition.agents.agent import Agent
from expedition.agents.normalization import BOUND, NormalizedState
from expedition.environments.interface import MID, EnvironmentSpec
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime import AXIS

SPEC = EnvironmentSpec(specs.Array((3,), "float32"), specs.DiscreteArray(2))
SCALE, SHIFT = np.array([0.01, 1.0, 50.0]), np.array([0.0, -3.0, 1000.0])
KEY = jax.random.key(0)


def echo():
    """An agent that acts by, and learns, what it sees."""
    return Agent(
        init=lambda key: EchoState(jnp.zeros((6, 4, 3))),
        initial_actor_state=lambda size: (),
        act=lambda params, state, timestep, key: (timestep.observation, params, state),
        act_greedily=lambda params, state, timestep: (timestep.observation, state),
        update=lambda state, batch: (EchoState(batch.observation), {}),
    )


class EchoState(NamedTuple):
    """What it saw last."""

    params: Any


def batches(count):
    rng = np.random.default_rng(0)
    for i in range(count):
        observation = (SHIFT + (1 + i) * SCALE * rng.normal(size=(6, 4, 3))).astype(np.float32)
        step_type = np.full((6, 4), MID, np.int8)
        yield Trajectory(observation, step_type, None, None, None, None, ())


def learnt(agent, count=5):
    state = agent.init(KEY)
    for batch in batches(count):
        state, _ = agent.update(state, batch)
    return state


def expected(count=5):
    """Mean and deviation of all there was and of one zero of variance 1, and the last batch."""
    every = [batch.observation.reshape(-1, 3).astype(np.float64) for batch in batches(count)]
    data = np.concatenate(every)
    mean = data.sum(0) / (len(data) + 1)
    variance = (1 + mean**2 + np.square(data - mean).sum(0)) / (len(data) + 1)
    return mean, np.sqrt(variance), every[-1].reshape(6, 4, 3)


def test_the_agent_sees_deviations_from_the_mean_of_all_there_was():
    agent = normalize_observations(echo(), SPEC)
    state = learnt(agent)
    mean, deviation, last = expected()
    np.testing.assert_allclose(state.params.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(state.params.deviation, deviation, rtol=1e-4)
    seen = np.clip((last - mean) / (deviation + 1e-6), -BOUND, BOUND)
    np.testing.assert_allclose(state.agent.params, seen, rtol=1e-3, atol=1e-3)
    timestep = dm_env.TimeStep(jnp.full(4, MID), None, None, last[0])
    for action in (
        agent.act(state.params, (), timestep, KEY)[0],
        agent.act_greedily(state.params, (), timestep)[0],
    ):
        np.testing.assert_allclose(action, seen[0], rtol=1e-3, atol=1e-3)


def test_before_anything_was_seen_nothing_is_changed():
    agent = normalize_observations(echo(), SPEC)
    timestep = dm_env.TimeStep(jnp.full(4, MID), None, None, np.full((4, 3), 0.5, np.float32))
    action, _ = agent.act_greedily(agent.init(KEY).params, (), timestep)
    np.testing.assert_allclose(action, 0.5, rtol=1e-5)


def test_an_observation_far_off_is_clipped():
    agent = normalize_observations(echo(), SPEC)
    timestep = dm_env.TimeStep(jnp.full(1, MID), None, None, np.full((1, 3), 1e6, np.float32))
    action, _ = agent.act_greedily(learnt(agent).params, (), timestep)
    np.testing.assert_array_equal(action, np.full((1, 3), BOUND))


def test_devices_count_what_all_of_them_see():
    whole = learnt(normalize_observations(echo(), SPEC))
    agent = normalize_observations(echo(), SPEC, axis_name=AXIS)
    devices = {"axis_name": AXIS, "devices": jax.local_devices()[:2]}
    state = jax.pmap(agent.init, **devices)(jnp.stack([KEY, KEY]))
    update = jax.pmap(
        lambda statistics, x: (
            agent.update(
                NormalizedState(EchoState(jnp.zeros(())), statistics),
                Trajectory(x, None, None, None, None, None, ()),
            )[0].statistics
        ),
        **devices,
    )
    statistics = state.statistics
    for batch in batches(5):
        statistics = update(statistics, np.stack(np.split(batch.observation, 2, axis=1)))
    for found, one in zip(statistics, whole.statistics, strict=True):
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_allclose(found[0], one, rtol=1e-4)


def test_actors_that_send_gradients_are_refused():
    network = ActorCritic(MLPTorso((8,)), policy_head(SPEC.action))
    agent = a3c(ImpalaConfig(), SPEC, network, num_updates=1)
    with pytest.raises(ValueError, match="send no trajectories"):
        normalize_observations(agent, SPEC)


def test_an_image_has_one_deviation():
    """The root of its pixels' mean variance: a pixel that hardly ever changes is not blown up."""
    shape = (4, 4, 2)
    image = EnvironmentSpec(specs.Array(shape, "uint8"), specs.DiscreteArray(2))
    agent = normalize_observations(echo(), image)
    data = np.random.default_rng(0).integers(0, 256, (6, 5, *shape)).astype(np.uint8)
    data[..., 0, 0, 0] = 87
    batch = Trajectory(data, np.full((6, 5), MID, np.int8), None, None, None, None, ())
    # As the runtime has it: states have a leading axis, actors get the first one's parameters.
    state = jax.vmap(agent.update, in_axes=(0, None))(jax.vmap(agent.init)(KEY[None]), batch)[0]
    params = jax.tree.map(lambda x: x[0], state.params)
    pixels = data.reshape(-1, *shape).astype(np.float64)
    mean = pixels.sum(0) / (len(pixels) + 1)
    variance = (1 + mean**2 + np.square(pixels - mean).sum(0)) / (len(pixels) + 1)
    expected = (data - mean) / np.sqrt(variance.mean())
    np.testing.assert_allclose(state.agent.params[0], expected, rtol=1e-3, atol=1e-4)
    timestep = dm_env.TimeStep(jnp.full(5, MID), None, None, data[0])
    action, _ = agent.act_greedily(params, (), timestep)
    np.testing.assert_allclose(action, expected[0], rtol=1e-3, atol=1e-4)
