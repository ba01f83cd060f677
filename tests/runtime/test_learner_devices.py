"""One global batch gives one gradient, on any number of devices."""

import jax
import numpy as np
import pytest

from actors import make_actor
from expedition.agents import ImpalaConfig, impala
from expedition.environments import Catch, FunctionalBatch
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime.learner import Learner
from expedition.runtime.prefetch import AXIS, make_batch


@pytest.fixture(scope="module")
def unrolls():
    agent = make_agent("sum")
    params = agent.init(jax.random.key(5)).params
    environment = FunctionalBatch(Catch(), 16, jax.random.key(1))
    actor = make_actor(agent, environment, params, 20)
    return [actor.unroll(), actor.unroll()]


def make_agent(reduction):
    config = ImpalaConfig(reduction=reduction, learning_rate=1.0, global_norm_clip=1e9)
    network = ActorCritic(MLPTorso((16,)), policy_head(Catch().spec.action))
    return impala(config, Catch().spec, network, num_updates=10, axis_name=AXIS)


def updated(reduction, unrolls, num_devices):
    devices = jax.devices()[:num_devices]
    learner = Learner(make_agent(reduction), jax.random.key(0), devices)
    before = jax.device_get(learner.params())
    metrics, _ = learner.update(make_batch(unrolls, devices).content)
    return before, jax.device_get(learner.params()), metrics


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_update_is_the_same_on_1_2_4_and_8_devices(unrolls, reduction):
    before, expected, expected_metrics = updated(reduction, unrolls, 1)
    moved = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), before, expected)
    assert max(jax.tree.leaves(moved)) > 1e-3
    atol = 1e-6 * max(1.0, float(expected_metrics["gradient_norm"]))
    for num_devices in (2, 4, 8):
        _, params, metrics = updated(reduction, unrolls, num_devices)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), params, expected
        )
        for name, value in expected_metrics.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_sum_is_the_mean_times_the_rows(unrolls):
    _, _, total = updated("sum", unrolls, 2)
    _, _, mean = updated("mean", unrolls, 2)
    rows = 20 * 32
    np.testing.assert_allclose(total["gradient_norm"], rows * mean["gradient_norm"], rtol=1e-4)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_params_survive_the_donation_of_the_state(unrolls, num_devices):
    """Those of the start, of an update, and of one that was compiled before."""
    devices = jax.devices()[:num_devices]
    learner = Learner(make_agent("mean"), jax.random.key(0), devices)
    batch = make_batch(unrolls, devices).content
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch)
    held, copies = [], []
    for step in (None, learner.update, learner.compile, learner.update, learner.update):
        if step is not None:
            step(like if step == learner.compile else batch)
        newest = jax.tree.map(lambda x: x[0], jax.device_get(learner.state.params))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(learner.params()), newest)
        held.append(learner.params())
        copies.append(newest)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(held), copies)
