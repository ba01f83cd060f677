"""A3C: the gradients are the actors', by the parameters that they acted by."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import KEY, config, run

from actors import make_actor
from expedition.agents import ImpalaConfig, a3c, impala
from expedition.environments import Catch, FunctionalBatch
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, policy_head
from expedition.runtime import AXIS
from expedition.runtime.prefetch import join


@cache
def make(algorithm, axis_name=None, **settings):
    network = ActorCritic(MLPTorso((16,)), policy_head(Catch().spec.action), LSTMCore(8))
    settings = ImpalaConfig(**{"reduction": "mean"} | settings)
    agent = algorithm(settings, Catch().spec, network, num_updates=20, axis_name=axis_name)
    return agent if axis_name else agent._replace(update=jax.jit(agent.update))


def assert_close(one, other, tolerance=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), one, other)


def distance(one, other):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_an_update_is_a_step_by_the_stale_gradient(reduction):
    """Gradient at the actor's parameters, step from the learner's."""
    settings = {"reduction": reduction, "learning_rate": 0.1, "global_norm_clip": 1e9}
    agent, corrected = make(a3c, **settings), make(impala, **settings)
    state = agent.init(jax.random.key(0))
    stale = jax.tree.map(lambda x: 0.9 * x + 0.01, state.params)
    unrolls = []
    for seed in range(2):
        environment = FunctionalBatch(Catch(), 4, jax.random.key(seed))
        unrolls.append(make_actor(corrected, environment, stale, 12, seed).unroll().content)
    digests = [jax.jit(agent.digest)(stale, trajectory) for trajectory in unrolls]
    found, metrics = agent.update(state, jax.tree.map(lambda *x: jnp.stack(x), *digests))

    # IMPALA's step where the actors were: on one's own data V-trace corrects nothing.
    moved, expected = corrected.update(state._replace(params=stale), join(unrolls))
    steps = jax.tree.map(lambda new, old: new - old, moved.params, stale)
    assert_close(jax.tree.map(lambda new, old: new - old, found.params, state.params), steps)
    for name in ("loss", "entropy", "gradient_norm"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)
    assert abs(metrics["behaviour_kl"]) < 1e-10


def both(lag, **settings):
    """A3C and A2C, of as old data."""
    return [
        run(
            "impala",
            config("impala", 12, policy_lag=lag),
            agent=make(algorithm, AXIS, correction="none", **settings),
        )
        for algorithm in (a3c, impala)
    ]


def test_with_fresh_parameters_it_is_a2c():
    (one, _), (other, _) = both(lag=0)
    assert_close(one.params, other.params, 1e-5)


def test_with_old_ones_it_is_not():
    (one, rows), (other, _) = both(lag=3, optimizer="adam", learning_rate=0.01)
    assert distance(one.params, other.params) > 1e-4
    assert rows[-1]["policy_lag_max"] == 3
    # An actor's gradient is at what it acted by, although there are newer parameters by then.
    assert max(abs(row["behaviour_kl"]) for row in rows) < 1e-10
    assert rows[-1]["learner_steps"] == one.counters["learner_steps"] > 0


def test_two_devices_apply_what_one_does():
    runs = [
        run("impala", config("impala", 12, learner_devices=devices), agent=make(a3c, AXIS))[0]
        for devices in ((0,), (0, 1))
    ]
    assert_close(runs[0].params, runs[1].params)


def test_a_gradient_cannot_be_shared_out():
    settings = config("impala", 12, unrolls_per_batch=1, learner_devices=(0, 1))
    with pytest.raises(ValueError, match="2 learner devices share batches of 1 unrolls"):
        run("impala", settings, agent=make(a3c, AXIS), key=KEY)


def test_without_correction_what_the_behaviour_was_does_not_matter():
    agent, plain = make(impala), make(impala, correction="none")
    state = agent.init(jax.random.key(0))
    environment = FunctionalBatch(Catch(), 4, jax.random.key(0))
    own = make_actor(agent, environment, state.params, 12).unroll().content
    strange = own._replace(extras=own.extras._replace(log_prob=own.extras.log_prob + 1))

    def learnt(agent, batch):
        return agent.update(state, batch)[0].params

    assert_close(learnt(plain, own), learnt(agent, own))
    assert distance(learnt(plain, strange), learnt(plain, own)) == 0
    assert distance(learnt(agent, strange), learnt(agent, own)) > 1e-6
    with pytest.raises(ValueError, match="correction is 'all'; expected vtrace or none"):
        ImpalaConfig(correction="all")
