"""The protocol between an algorithm and the runtime: pure functions, and the data they exchange."""

from collections.abc import Callable
from typing import Any, NamedTuple

import dm_env
import jax

from expedition.environments.interface import FIRST, LAST, Array
from expedition.exploration.transitions import Transitions

Metrics = dict[str, jax.Array]  # scalars


class Trajectory(NamedTuple):
    """An unroll of T steps in B environments, time-major.

    Row t holds what was seen before action t, the action, and what the action caused: `reward`
    and `discount` of row t came with observation t + 1. Where `step_type[t]` is `LAST` the row
    is no transition: the environment ignored the action and started its next episode.
    """

    observation: Array  # [T + 1, B, ...]
    step_type: Array  # [T + 1, B] int8, of the observation
    action: Array  # [T, B, ...]
    extras: Any  # [T, B, ...] what `act` returned beside the action
    reward: Array  # [T, B] float32
    discount: Array  # [T, B] float32, the environment's: 0 at a termination, else 1
    actor_state: Any  # [B, ...] the actor's (recurrent) state before row 0

    @property
    def starts(self) -> Array:
        """`[T + 1, B]`, whether an episode starts at the row's observation."""
        return self.step_type == FIRST

    @property
    def is_transition(self) -> Array:
        """`[T, B]`, False where the row only restarts an ended episode."""
        return self.step_type[:-1] != LAST

    @property
    def continues(self) -> Array:
        """`[T, B]`, False where the row's action led to an episode's last observation."""
        return self.step_type[1:] != LAST

    @property
    def transitions(self) -> Transitions:
        """The T * B rows in the order of time, for an algorithm to which order means nothing."""

        def flat(tree: Any) -> Any:
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)

        return Transitions(
            observation=flat(jax.tree.map(lambda x: x[:-1], self.observation)),
            action=flat(self.action),
            reward=flat(self.reward),
            discount=flat(self.discount),
            next_observation=flat(jax.tree.map(lambda x: x[1:], self.observation)),
            is_valid=flat(self.is_transition),
        )


class Agent(NamedTuple):
    """An algorithm as pure functions; all of them may be jitted.

    `act` and `act_greedily` see one time step of B environments. `init` and `update` may run under
    `jax.pmap`, where each device has its share of the batch. All keep the same `state.params`; an
    agent made with an axis name may keep the rest of the state apart, and needs the axis for it.
    """

    init: Callable[[jax.Array], Any]
    """`init(key) -> state`; the runtime sends `state.params` to the actors."""
    initial_actor_state: Callable[[int], Any]
    """`initial_actor_state(batch_size)`, the recurrent state `[B, ...]` of fresh episodes."""
    act: Callable[[Any, Any, dm_env.TimeStep, jax.Array], tuple[jax.Array, Any, Any]]
    """`act(params, actor_state, timestep, key) -> (action, extras, actor_state)`; the state keeps
    its shapes and types."""
    act_greedily: Callable[[Any, Any, dm_env.TimeStep], tuple[jax.Array, Any]]
    """`act_greedily(params, actor_state, timestep) -> (action, actor_state)`, for evaluation."""
    update: Callable[[Any, Trajectory], tuple[Any, Metrics]]
    """`update(state, batch) -> (state, metrics)`."""
    training_reward: Callable[[Any], Any] = lambda reward: reward
    """What `update` learns from in place of an array of the environment's rewards, such as clipped
    ones; both returns are logged."""
    digest: Callable[[Any, Trajectory], Any] | None = None
    """`digest(params, trajectory) -> ...`, what an actor sends in place of its unroll, made with
    the parameters that it acted by: A3C's gradients. `update` then gets those of N unrolls, stacked
    `[N, ...]`, for its batch."""
