"""Seed TD's ensemble and DQN on the probes, through the actors' threads and the learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.agents import DqnConfig, SeedEnsembleConfig, dqn, seed_ensemble, without_seeds
from expedition.environments import PROBES, FunctionalBatch, Probe
from expedition.exploration import Minibatch
from expedition.networks import SkipMLP
from expedition.runtime import RuntimeConfig, train

GAMMA = 0.9
OBSERVATIONS = np.array([[-1.0], [0.0], [1.0]], np.float32)
# The table in the docstring of `environments/probes.py`.
VALUES = {
    "constant_value": {0: 1.0},
    "observation_value": {-1: -1.0, 1: 1.0},
    "discounting": {0: GAMMA, 1: 1.0},
    "action_reward": {0: 1.0},
    "observation_action": {-1: 1.0, 1: 1.0},
}
BEST = {"action_reward": {0: 1}, "observation_action": {-1: 0, 1: 1}}
SHARED = {
    "discount": GAMMA,
    "learning_rate": 3e-3,
    "steps": 10,
    "minibatch": Minibatch(32),
    "capacity": 20_000,
}


def make(algorithm, spec):
    network = SkipMLP(spec.action.num_values, (16,))
    if algorithm == "dqn":
        learner = without_seeds(SeedEnsembleConfig(**SHARED))
        return dqn(DqnConfig(0.3, learner), spec, network), network
    config = SeedEnsembleConfig(
        num_models=4, networks=2, double=True, target_rate=0.3, prior_scale=1.0, **SHARED
    )
    return seed_ensemble(config, spec, network), network


@pytest.mark.parametrize("algorithm", ["seed_ensemble", "dqn"])
@pytest.mark.parametrize("name", PROBES)
def test_every_model_solves_the_probe(algorithm, name):
    probe = Probe(name)
    agent, network = make(algorithm, probe.spec)
    runtime = RuntimeConfig(
        total_steps=8 * 300,
        unroll_length=1,
        batch_size=8,
        actors=1,
        environments_per_actor=8,
    )
    batches = [FunctionalBatch(probe, 8, jax.random.key(1))]
    params = train(agent, batches, runtime, key=jax.random.key(0)).params
    scale = 0.0 if algorithm == "dqn" else 1.0

    def values(acting, prior):
        own = jax.vmap(network.apply, in_axes=(0, None))(acting, OBSERVATIONS)
        return jnp.mean(own, axis=0) + scale * network.apply(prior, OBSERVATIONS)

    q = np.asarray(jax.vmap(values)(params.acting, params.prior))  # [E, observation, action]
    for shown, value in VALUES[name].items():
        np.testing.assert_allclose(q[:, shown + 1].max(-1), value, atol=0.1)
    for shown, action in BEST.get(name, {}).items():
        np.testing.assert_array_equal(q[:, shown + 1].argmax(-1), action)
