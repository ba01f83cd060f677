"""An actor without a run around it."""

import jax

from expedition.runtime.actor import Actor, actor_functions
from expedition.runtime.parameters import Versioned
from expedition.runtime.unroll import abstract_trajectory


def make_actor(agent, environment, params, unroll_length, seed=2, functions=None):
    num = environment.num_environments
    like = abstract_trajectory(agent, params, environment.spec, num, unroll_length)
    return Actor(
        functions or actor_functions(agent),
        like,
        agent.initial_actor_state(num),
        environment,
        lambda unroll: Versioned(0, params),
        jax.random.key(seed),
    )
