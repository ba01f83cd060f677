"""An unroll that is one compiled program equals one that is stepped through."""

import jax
import numpy as np
import pytest

from actors import make_actor
from expedition.agents import ImpalaConfig, SeededImpalaConfig, impala, seeded_impala
from expedition.environments import Catch, FunctionalBatch
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, policy_head

NUM, LENGTH = 6, 7  # seven rows do not divide the episode's nine actions


class Stepped:
    """A batch that an actor does not know to be in pure JAX."""

    def __init__(self, batch):
        self._batch = batch
        self.spec, self.num_environments = batch.spec, batch.num_environments
        self.reset, self.step, self.close = batch.reset, batch.step, batch.close
        self.get_state, self.set_state = batch.get_state, batch.set_state


def recurrent(spec):
    network = ActorCritic(MLPTorso((16,)), policy_head(spec.action), LSTMCore(8))
    return impala(ImpalaConfig(), spec, network, num_updates=1)


def seeded(spec):
    network = MLPTorso((3,))
    return seeded_impala(SeededImpalaConfig(temperature=1.0), spec, network, num_updates=1)


@pytest.mark.parametrize("make_agent", [recurrent, seeded])
def test_it_is_what_steps_make(make_agent):
    batches = [FunctionalBatch(Catch(), NUM, jax.random.key(1)) for _ in range(2)]
    agent = make_agent(batches[0].spec)
    params = agent.init(jax.random.key(0)).params
    played = make_actor(agent, batches[0], params, LENGTH)
    stepped = make_actor(agent, Stepped(batches[1]), params, LENGTH)
    begun = 0
    for _ in range(4):
        ours, expected = played.unroll(), stepped.unroll()
        assert ours.episodes == expected.episodes
        assert ours.transitions == expected.transitions
        ours, expected = ((u.content, u.then) for u in (ours, expected))
        assert jax.tree.structure(ours) == jax.tree.structure(expected)
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            assert x.dtype == y.dtype
            if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
                x, y = jax.random.key_data(x), jax.random.key_data(y)
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
        begun += np.sum(ours[0].starts[1:-1])
    assert begun  # episodes, within unrolls


def test_an_unroll_is_a_single_call(monkeypatch):
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    agent = recurrent(batch.spec)
    actor = make_actor(agent, batch, agent.init(jax.random.key(0)).params, LENGTH)
    actor.unroll()
    monkeypatch.setattr(FunctionalBatch, "step", None)
    assert actor.unroll().transitions > 0


def test_it_has_to_be_reset_first():
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    with pytest.raises(ValueError, match=r"expected reset\(\) first"):
        batch.play(None, (), (), None, jax.random.key(0), 0, LENGTH)
