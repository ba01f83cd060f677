"""A small agent and environment in numpy, quick to start, with faults to inject."""

import itertools
from functools import cache

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs

from expedition.agents import Agent
from expedition.agents.actor_critic import ImpalaState
from expedition.environments.interface import FIRST, MID, EnvironmentSpec
from expedition.runtime import RuntimeConfig

NUM_ENVIRONMENTS = 4


class Fault(Exception):
    """Injected."""


class FakeEnvironment:
    """Episodes without end; counts its steps; raises `Fault` where it is told to."""

    spec = EnvironmentSpec(specs.Array((1,), "float32"), specs.DiscreteArray(2))
    num_environments = NUM_ENVIRONMENTS
    frames_per_step = 3

    def __init__(self, fail_at_reset=False, fail_at_step=None, hook=lambda: None):
        self._fail_at_reset, self._fail_at_step, self._hook = fail_at_reset, fail_at_step, hook
        self.steps = 0
        self.closed = False

    def reset(self):
        if self._fail_at_reset:
            raise Fault("reset")
        return self._timestep(FIRST)

    def step(self, actions):
        self._hook()
        self.steps += 1
        if self.steps == self._fail_at_step:
            raise Fault("step")
        return self._timestep(MID)

    def _timestep(self, step_type):
        ones = np.ones(NUM_ENVIRONMENTS, np.float32)
        observation = np.full((NUM_ENVIRONMENTS, 1), self.steps, np.float32)
        return dm_env.TimeStep((step_type * ones).astype(np.int8), ones, ones, observation)

    def close(self):
        self.closed = True


@cache  # of one agent nothing is compiled twice
def fake_agent():
    """Its parameter counts the updates; its action is 0 and its extras are the parameter."""

    def act(params, actor_state, timestep, key):
        shape = timestep.step_type.shape
        return jnp.zeros(shape, jnp.int32), jnp.broadcast_to(params, shape), actor_state

    def update(state, batch):
        state = ImpalaState(state.params + 1, state.optimizer_state)
        return state, {"loss": jnp.mean(batch.reward), "observation": batch.observation.mean()}

    return Agent(
        init=lambda key: ImpalaState(jnp.zeros(()), ()),
        initial_actor_state=lambda batch_size: (),
        act=act,
        act_greedily=lambda params, state, timestep: (timestep.step_type.astype(jnp.int32), state),
        update=update,
    )


def fail(name, function=None, good_calls=0):
    """A function that raises `Fault(name)`, after some calls that do as `function` does."""
    calls = itertools.count()

    def raising(*arguments, **settings):
        if next(calls) >= good_calls:
            raise Fault(name)
        return function(*arguments, **settings)

    return raising


UNROLL = 5


def fake_config(updates=6, **settings):
    """Settings of a run with three actors."""
    return RuntimeConfig(
        **dict(
            total_steps=updates * UNROLL * 2 * NUM_ENVIRONMENTS,
            unroll_length=UNROLL,
            batch_size=2 * NUM_ENVIRONMENTS,
            environments_per_actor=NUM_ENVIRONMENTS,
            actors=3,
            log_seconds=1e-9,
        )
        | settings
    )


def devices(count=1):
    return jax.devices()[:count]
