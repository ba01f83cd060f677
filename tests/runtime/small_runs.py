"""Small runs of whole agents, for what holds of IMPALA and of seed TD alike."""

import random
import time
from functools import cache

import jax

from expedition.agents import ImpalaConfig, SeedEnsembleConfig, impala, seed_ensemble
from expedition.environments import Catch, FunctionalBatch, Swingup, SwingupBatch
from expedition.exploration import Minibatch
from expedition.networks import ActorCritic, LSTMCore, MLPTorso, SkipMLP, policy_head
from expedition.runtime import AXIS, RuntimeConfig, train

EACH = 8  # environments of an actor
KEY = jax.random.key(3)


def sleepy(environment, seed=None):
    """Sleeps a random time before each step or unroll, another one in each run."""
    name = "play" if isinstance(environment, FunctionalBatch) else "step"
    call, rng = getattr(environment, name), random.Random(seed)

    def slow(*given):
        time.sleep(rng.expovariate(400 if name == "play" else 2000))
        return call(*given)

    setattr(environment, name, slow)
    return environment


def catch(index, key=KEY):
    return FunctionalBatch(Catch(), EACH, jax.random.fold_in(key, index))


def swingup(index, key=KEY):
    del index  # a team shares its start
    return SwingupBatch(Swingup(max_steps=70), EACH, key)


@cache  # of one agent nothing is compiled twice; its learning rate falls as in a run of 200 updates
def impala_agent(**settings):
    network = ActorCritic(MLPTorso((16,)), policy_head(Catch().spec.action), LSTMCore(8))
    config = ImpalaConfig(reduction="mean", **settings)
    return impala(config, Catch().spec, network, num_updates=200, axis_name=AXIS)


@cache
def seed_td_agent():
    minibatch = Minibatch(size=8, recent_part=0.25, rewarded_part=0.25)
    config = SeedEnsembleConfig(num_models=4, networks=2, minibatch=minibatch, capacity=500)
    spec = Swingup().spec
    return seed_ensemble(config, spec, SkipMLP(spec.action.num_values, (8,)), axis_name=AXIS)


KINDS = {"impala": (impala_agent, catch, 5), "seed_td": (seed_td_agent, swingup, 1)}


def config(kind, updates, *, actors=4, unrolls_per_batch=2, **settings):
    unroll_length, batch_size = KINDS[kind][2], unrolls_per_batch * EACH
    return RuntimeConfig(
        **dict(
            total_steps=updates * unroll_length * batch_size,
            unroll_length=unroll_length,
            batch_size=batch_size,
            actors=actors,
            environments_per_actor=EACH,
            log_seconds=1e-9,
            deterministic=True,
        )
        | settings
    )


def run(kind, config, *, wrap=sleepy, environments=None, agent=None, **arguments):
    """Trains; returns the parameters and the learning curve.

    Args:
        kind: one of `KINDS`.
        config: the runtime's.
        wrap: is put around each environment.
        environments: instead of new ones.
        agent: instead of a new one.
        **arguments: of `train`.
    """
    make_agent, make_environment, _ = KINDS[kind]
    environments = environments or [wrap(make_environment(i)) for i in range(config.actors)]
    rows = []
    result = train(
        agent or make_agent(),
        environments,
        config,
        **{"log": rows.append, "key": KEY} | arguments,
    )
    return result, rows


def curve(rows):
    """What a row says of learning, not of time."""
    timed = ("wall", "per_second", "_time_", "queue", "env_steps", "env_frames")
    return [
        {name: value for name, value in row.items() if not any(t in name for t in timed)}
        for row in rows
    ]
