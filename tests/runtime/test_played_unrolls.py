"""An unroll that is one compiled program equals one that is stepped through."""

import jax
import numpy as np
import pytest

from actors import make_actor
from compilation import FOR_USERS
from expedition.agents import ImpalaConfig, SeededImpalaConfig, impala, seeded_impala
from expedition.environments import Catch, FunctionalBatch, functional
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, policy_head
from expedition.runtime.actor import actor_functions
from expedition.runtime.unroll import pack

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


def test_only_its_steps_are_a_loop():
    """Draws, folds and splits of JAX's own would be further ones, within each step."""
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    network = ActorCritic(MLPTorso((16,)), policy_head(batch.spec.action))
    agent = impala(ImpalaConfig(), batch.spec, network, num_updates=1)
    params, timestep = agent.init(jax.random.key(0)).params, batch.reset()
    key, state = batch.get_state()
    program = functional._Program(Catch(), actor_functions(agent).act, LENGTH)
    given = params, jax.random.key(2), np.uint32(0), key
    actor_state = agent.initial_actor_state(NUM)
    lowered = functional._play.lower(program, given, state, actor_state, timestep)
    assert lowered.compile(FOR_USERS).as_text().count(" while(") == 1


@pytest.mark.parametrize("goes_on", [False, True])
def test_it_is_one_program_which_the_start_compiles(goes_on, monkeypatch):
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    agent = recurrent(batch.spec)
    params = jax.device_put(agent.init(jax.random.key(0)).params, jax.devices()[0])
    actor = make_actor(agent, batch, params, LENGTH)
    if goes_on:
        there = pack(make_actor(agent, batch, params, LENGTH).unroll().then)
        actor.go_on(there)
    before = functional._play._cache_size()
    monkeypatch.setattr(FunctionalBatch, "play", counted := Counted(FunctionalBatch.play))
    actor.unroll()
    compiled = functional._play._cache_size()
    assert compiled == before + (not goes_on)  # where it goes on it needs no other program
    for _ in range(3):
        actor.unroll()
    assert functional._play._cache_size() == compiled
    assert counted.calls == 5  # with that of the start


class Counted:
    """A method that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __get__(self, instance, owner):
        def call(*given):
            self.calls += 1
            return self.function(instance, *given)

        return call


def test_actions_of_a_wrong_shape_are_refused():
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    timestep = batch.reset()

    def act(params, state, timestep, key, number):
        return jax.numpy.zeros((NUM, 2), int), (), state

    with pytest.raises(ValueError, match=r"shape \(6, 2\) were given; expected \(6,\)"):
        batch.play(act, (), (), timestep, jax.random.key(0), np.uint32(0), LENGTH)


def test_it_has_to_be_reset_first():
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(1))
    with pytest.raises(ValueError, match=r"expected reset\(\) first"):
        batch.play(None, (), (), None, jax.random.key(0), 0, LENGTH)
