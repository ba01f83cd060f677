"""The learner's unroll from the stored state repeats what the actor computed, step by step."""

import itertools

import jax
import numpy as np

from actors import make_actor
from expedition.agents import ImpalaConfig, impala
from expedition.environments import Catch, FunctionalBatch
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, policy_head


def test_logits_and_states_equal_the_actors_across_episode_ends():
    environment = FunctionalBatch(Catch(), 8, jax.random.key(1))
    head = policy_head(environment.spec.action)
    network = ActorCritic(MLPTorso((16,)), head, LSTMCore(8))
    agent = impala(ImpalaConfig(), environment.spec, network, num_updates=1)
    params = agent.init(jax.random.key(0)).params
    noise = iter(jax.random.split(jax.random.key(3), 100))
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(noise), x.shape), params)
    # Seven rows do not divide the episode's ten.
    actor = make_actor(agent, environment, params, unroll_length=7)
    unrolls = [actor.unroll().content for _ in range(5)]
    starts = 0
    for trajectory, following in itertools.pairwise(unrolls):
        logits, _, _ = network.apply(
            params, trajectory.observation, trajectory.starts, trajectory.actor_state
        )
        np.testing.assert_allclose(logits[:-1], trajectory.extras.policy, atol=1e-6)
        _, _, state = network.apply(
            params, trajectory.observation[:-1], trajectory.starts[:-1], trajectory.actor_state
        )
        for ours, actors in zip(state, following.actor_state, strict=True):
            np.testing.assert_allclose(ours, actors, atol=1e-6)
        starts += np.sum(trajectory.starts[1:-1])
    assert starts >= 8  # resets happened inside the unrolls
    assert np.std(unrolls[1].extras.policy) > 0.05  # and the logits do depend on the state
