"""An actor without a run around it."""

import jax

from expedition.runtime.actor import Actor, jit_act
from expedition.runtime.parameters import Versioned
from expedition.runtime.unroll import abstract_trajectory


def make_actor(agent, environment, params, unroll_length, seed=2, act=None):
    num = environment.num_environments
    like = abstract_trajectory(agent, params, environment.spec, num, unroll_length)
    return Actor(
        act or jit_act(agent),
        like,
        agent.initial_actor_state(num),
        environment,
        lambda unroll: Versioned(0, params),
        jax.random.key(seed),
    )
