"""A task that needs memory: solved with an LSTM, and at chance without."""

import jax
import pytest

from expedition.agents import ImpalaConfig, impala
from expedition.environments import FunctionalBatch, MemoryChain
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, policy_head
from expedition.runtime import AXIS, RuntimeConfig, evaluate, train

CHAIN = MemoryChain(length=3)  # the context is gone for two observations when it is asked for
EPISODES = 400


@pytest.mark.parametrize("core", [LSTMCore(16), None], ids=["lstm", "feedforward"])
def test_what_was_seen_is_remembered_by_a_core_alone(core):
    runtime = RuntimeConfig(
        total_steps=30_000, unroll_length=8, batch_size=32, environments_per_actor=32, actors=1
    )
    config = ImpalaConfig(optimizer="adam", learning_rate=1e-2, reduction="mean")
    network = ActorCritic(MLPTorso((16,)), policy_head(CHAIN.spec.action), core)
    agent = impala(config, CHAIN.spec, network, num_updates=runtime.num_updates, axis_name=AXIS)
    batch = FunctionalBatch(CHAIN, 32, jax.random.key(0))
    params = train(agent, [batch], runtime, key=jax.random.key(1)).params
    fresh = FunctionalBatch(CHAIN, EPISODES, jax.random.key(2))
    mean = evaluate(agent, params, fresh).returns.mean()
    if core is None:  # a standard deviation of .05
        assert abs(mean) < 0.25
    else:
        assert mean > 0.98
