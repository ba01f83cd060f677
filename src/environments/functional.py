"""A functional environment for actor threads, as a stateful batch, and for the simulator."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from expedition.environments.interface import (
    LAST,
    Array,
    EnvironmentSpec,
    FunctionalEnvironment,
    check_shape,
)
from expedition.exploration import threefry


class _BatchState(NamedTuple):
    environment: Any  # the environments' states, leading axis B
    ended: jax.Array  # [B] whether the episode's last step has been returned
    calls: jax.Array  # [] of reset and step so far, which name the next resets' keys


class Played(NamedTuple):
    """What T steps by a policy came to."""

    action: jax.Array  # [T, B, ...]
    extras: Any  # [T, B, ...] what the policy said beside
    seen: dm_env.TimeStep  # [T, B, ...] what the actions caused
    actor_state: Any  # [B, ...] the policy's, after them
    timestep: dm_env.TimeStep  # [B, ...] the last one


class FunctionalBatch:
    """Steps B copies of a pure-JAX environment, restarting each after its episode's end.

    The n-th call would reset environment i with `split(fold_in(key, n))[i]`, so an episode does
    not depend on when the others end. All batches of one environment and size share their
    compiled functions. Actors call `play`, not `step`.

    Raises:
      ValueError: there is no environment, or its observations are not what its spec says.
    """

    def __init__(
        self, environment: FunctionalEnvironment, num_environments: int, key: jax.Array
    ) -> None:
        if num_environments < 1:
            raise ValueError(f"num_environments is {num_environments}; expected at least 1")
        self._like, seen = jax.eval_shape(environment.reset, key)  # of one environment's state
        given, expected = seen.observation, environment.spec.observation
        if (given.shape, given.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"{type(environment).__name__} shows {given.dtype}{[*given.shape]}, its spec says "
                f"{expected.dtype}{[*expected.shape]}; expected the same"
            )
        self.spec = environment.spec
        self.num_environments = num_environments
        self.frames_per_step = 1
        self._environment = environment
        self._key = key
        self._state: _BatchState | None = None

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode in every environment, as a step after every episode's end."""
        num, action = self.num_environments, self.spec.action
        states = jax.tree.map(lambda x: jnp.zeros((num, *x.shape), x.dtype), self._like)
        calls = jnp.uint32(0) if self._state is None else self._state.calls
        self._state = _BatchState(states, jnp.ones(num, bool), calls)
        return self.step(jnp.zeros((num, *action.shape), action.dtype))

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; an ended one starts its next episode."""
        check_shape(actions, self.spec.action, self.num_environments)
        if self._state is None:
            return self.reset()
        # On the host, actions belong to no device in particular: one compiled step serves all.
        actions = np.asarray(actions)
        self._state, timestep = _step(self._environment, self._key, self._state, actions)
        return timestep

    def play(
        self,
        act: Callable[..., Any],
        params: Any,
        actor_state: Any,
        timestep: dm_env.TimeStep,
        key: jax.Array,
        first: np.uint32,
        length: int,
    ) -> Played:
        """Takes T steps by a policy, in one compiled program; the batch was reset before.

        Args:
          act: `act(params, actor_state, timestep, key, n) -> (action, extras, actor_state)`, the
            policy. Each function is compiled once.
          params: its parameters.
          actor_state: its state, `[B, ...]`.
          timestep: the batch's last time step.
          key: names its actions, with the number n of each.
          first: that of the first.
          length: T.

        Raises:
          ValueError: the batch was not reset.
        """
        if self._state is None:
            raise ValueError("play() was called before the first reset(); expected reset() first")
        program = _Program(self._environment, act, length)
        given = params, key, first, self._key
        self._state, played = _play(program, given, self._state, actor_state, timestep)
        return played

    def get_state(self) -> Any:
        """The key and the environments' states, once they were reset."""
        return self._key, self._state

    def set_state(self, state: Any) -> None:
        """Goes on from there."""
        self._key, self._state = state[0], _BatchState(*state[1])

    def close(self) -> None:
        """Forgets the environments' states."""
        self._state = None


@partial(jax.jit, static_argnums=0)
def _step(
    environment: FunctionalEnvironment, key: jax.Array, state: _BatchState, actions: jax.Array
) -> tuple[_BatchState, dm_env.TimeStep]:
    def step_or_reset(inner: Any, ended: jax.Array, action: jax.Array, reset_key: jax.Array) -> Any:
        return jax.tree.map(
            partial(jnp.where, ended), environment.reset(reset_key), environment.step(inner, action)
        )

    keys = threefry.split(threefry.fold_in(key, state.calls), len(state.ended))
    states, timestep = jax.vmap(step_or_reset)(state.environment, state.ended, actions, keys)
    return _BatchState(states, timestep.step_type == LAST, state.calls + 1), timestep


class _Program(NamedTuple):
    """What fixes the program of T steps: for each of these it is compiled once."""

    environment: FunctionalEnvironment
    act: Callable[..., Any]
    length: int


@partial(jax.jit, static_argnums=0)
def _play(
    program: _Program,
    given: tuple[Any, ...],
    state: _BatchState,
    actor_state: Any,
    timestep: dm_env.TimeStep,
) -> tuple[_BatchState, Played]:
    params, act_key, first, key = given

    def step(before: tuple[Any, ...], number: jax.Array) -> tuple[Any, Any]:
        state, actor_state, timestep = before
        action, extras, actor_state = program.act(params, actor_state, timestep, act_key, number)
        check_shape(action, program.environment.spec.action, len(state.ended))
        state, timestep = _step(program.environment, key, state, action)
        return (state, actor_state, timestep), (action, extras, timestep)

    numbers = first + jnp.arange(program.length, dtype=jnp.uint32)
    (state, *last), seen = jax.lax.scan(step, (state, actor_state, timestep), numbers)
    return state, Played(*seen, *last)


@dataclass(frozen=True)
class FreshWorlds:
    """A problem of the simulator as an environment: each episode is in a world of its own."""

    problem: Any
    """A problem: it has `spec`, `draw`, `reset` and `step`; see `runtime.simulator.Problem`."""

    @property
    def spec(self) -> EnvironmentSpec:
        """The problem's."""
        spec: EnvironmentSpec = self.problem.spec
        return spec

    def reset(self, key: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Draws a world and starts an episode in it."""
        world_key, start_key = jax.random.split(key)
        world = self.problem.draw(world_key)
        state, timestep = self.problem.reset(world, start_key)
        return (world, state), timestep

    def step(self, state: Any, action: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Advances by one action."""
        world, inner = state
        inner, timestep = self.problem.step(world, inner, action)
        return (world, inner), timestep


@dataclass(frozen=True)
class OneWorld:
    """A functional environment as a problem of the simulator: nothing is drawn that agents share.

    Each agent has a copy of its own, and its own random choices.
    """

    environment: FunctionalEnvironment
    max_steps: int | None = None
    """No agent can act more often; None: no bound."""

    def draw(self, key: jax.Array) -> tuple[()]:
        """The one world."""
        del key
        return ()

    def reset(self, world: tuple[()], key: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Starts an episode."""
        del world
        return self.environment.reset(key)

    def step(self, world: tuple[()], state: Any, action: jax.Array) -> tuple[Any, dm_env.TimeStep]:
        """Advances an agent by one action."""
        del world
        return self.environment.step(state, action)
