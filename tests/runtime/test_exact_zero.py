"""Alignment: the exact-zero environment through the real actor, queue, prefetch and loss."""

import jax
import numpy as np
import pytest

from actors import make_actor
from exact_zero import ExactZero, ReadsValue
from expedition.agents import ImpalaConfig, impala
from expedition.runtime.channel import BoundedQueue
from expedition.runtime.learner import Learner
from expedition.runtime.prefetch import AXIS, join, prefetch, shard
from expedition.runtime.supervision import Supervisor

NUM_ENVIRONMENTS = 16
DEVICES = jax.devices()[:1]


def make_agent(discount):
    config = ImpalaConfig(discount=discount, max_abs_reward=None, entropy_cost=0.0)
    return impala(config, ExactZero.spec, ReadsValue(), num_updates=10, axis_name=AXIS)


def is_zero(metrics):
    names = ("value_loss", "policy_loss", "behaviour_kl", "gradient_norm")
    return all(abs(float(metrics[name])) < 1e-4 for name in names)


@pytest.mark.parametrize("unroll_length", [1, 2, 20])
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_every_error_is_zero_through_threads_queue_and_learner(discount, unroll_length):
    agent = make_agent(discount)
    learner = Learner(agent, jax.random.key(0), DEVICES)
    actor = make_actor(
        agent, ExactZero(NUM_ENVIRONMENTS, discount), learner.params(), unroll_length
    )
    unrolls, batches = BoundedQueue(2), BoundedQueue(1)
    with Supervisor(unrolls.close, batches.close) as supervisor:
        supervisor.spawn("actor", lambda: actor.run(unrolls, DEVICES[0]))
        supervisor.spawn("prefetch", lambda: prefetch(unrolls, batches, 2, DEVICES))
        for _ in range(max(3, 30 // unroll_length)):
            assert is_zero(learner.update(batches.get(timeout=60).content)[0])


@pytest.mark.parametrize("off_policy", [False, True])
def test_values_are_exact_whatever_the_importance_weights(off_policy):
    agent = make_agent(0.9)
    other = agent.init(jax.random.key(7)).params if off_policy else None
    learner = Learner(agent, jax.random.key(0), DEVICES)
    actor = make_actor(agent, ExactZero(NUM_ENVIRONMENTS, 0.9), other or learner.params(), 20)
    metrics, _ = learner.update(shard(actor.unroll().content, DEVICES))
    assert abs(float(metrics["value_loss"])) < 1e-6
    assert (abs(float(metrics["behaviour_kl"])) > 0.01) == off_policy


@pytest.fixture
def canned():
    """A fresh learner (an inexact update moves it), and a batch that its policy generated."""
    agent = make_agent(0.9)
    learner = Learner(agent, jax.random.key(0), DEVICES)
    actor = make_actor(agent, ExactZero(NUM_ENVIRONMENTS, 0.9), learner.params(), 20)
    return learner, join([actor.unroll().content, actor.unroll().content])


@pytest.mark.parametrize(
    "field", ["observation", "step_type", "action", "extras", "reward", "discount"]
)
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shift_of_any_field_by_a_step_shows(canned, field, shift):
    learner, trajectory = canned
    shifted = jax.tree.map(lambda x: np.roll(x, shift, axis=0), getattr(trajectory, field))
    shifted = trajectory._replace(**{field: shifted})
    assert not is_zero(learner.update(shard(shifted, DEVICES))[0])


def test_the_batch_that_is_shifted_is_exact(canned):
    learner, trajectory = canned
    assert is_zero(learner.update(shard(trajectory, DEVICES))[0])
