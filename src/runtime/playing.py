"""The two ways to make an unroll: stepping environments on the host, or in one compiled program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from expedition.agents.agent import Trajectory
from expedition.environments.functional import FunctionalBatch, Played
from expedition.environments.interface import BatchedEnvironment
from expedition.runtime.timing import TimeSplit

T = TypeVar("T")


class Moment(NamedTuple):
    """Where an actor is between two unrolls, apart from its environments' state."""

    timestep: Any  # the last one; None before the first
    actor_state: Any
    steps: int  # times that it has acted, which name its draws


class Player(Protocol):
    """The actor that plays, as far as the ways to play know it."""

    time: TimeSplit

    def check_stopped(self) -> None:
        """Raises `QueueClosed` if nobody wants the unroll any more."""
        ...

    def ask(self, question: Callable[[], T]) -> T:
        """Calls the environment; notes since when, and if that fails."""
        ...


class Playing(Protocol):
    """A way to make an unroll."""

    def place(self, now: Moment, params: Any) -> Moment:
        """Puts all where an unroll leaves it: the second one would else be compiled again."""
        ...

    def compile(self, now: Moment, params: Any) -> None:
        """Compiles what an unroll needs, and leaves all as it was."""
        ...

    def unroll(self, now: Moment, params: Any) -> tuple[Trajectory, Moment]:
        """Steps every environment T times with these parameters."""
        ...


def way_to_play(
    player: Player,
    environment: BatchedEnvironment,
    act: Callable[..., Any],
    key: jax.Array,
    like: Trajectory,
) -> Playing:
    """Chooses the way for an environment.

    Args:
      player: is asked whether to go on, and told where the time goes.
      environment: the batch to step.
      act: `act(params, actor_state, timestep, key, n) -> (action, extras, actor_state)`, compiled.
      key: names every action that is drawn.
      like: shapes and types of an unroll.
    """
    if isinstance(environment, FunctionalBatch):
        return InOneProgram(player, environment, act, key, like)
    return StepByStep(player, environment, act, key, like)


@dataclass(frozen=True)
class StepByStep:
    """Steps environments of any kind on the host, with one compiled `act` a step."""

    player: Player
    environment: BatchedEnvironment
    act: Callable[..., Any]
    key: jax.Array
    like: Trajectory

    def place(self, now: Moment, params: Any) -> Moment:
        """Leaves all where it is: on the host."""
        del params
        return now

    def compile(self, now: Moment, params: Any) -> None:
        """Acts once in vain."""
        given = now.actor_state, now.timestep, self.key, np.uint32(0)
        jax.block_until_ready(self.act(params, *given))

    def unroll(self, now: Moment, params: Any) -> tuple[Trajectory, Moment]:
        """Acts and steps in turn."""
        trajectory = _empty_trajectory(self.like, now)
        length, time = len(trajectory.reward), self.player.time
        timestep, actor_state, first = now
        for t in range(length):
            self.player.check_stopped()
            action, extras, actor_state = self.act(
                params, actor_state, timestep, self.key, np.uint32(first + t)
            )
            action = jax.block_until_ready(action)
            time.lap("act")
            seen = self.player.ask(partial(self.environment.step, action))
            time.lap("environment")
            _record(trajectory, t, t + 1, action, extras, seen)
            timestep = seen
            time.lap("record")
        return trajectory, Moment(timestep, actor_state, first + length)


@dataclass(frozen=True)
class InOneProgram:
    """Plays pure-JAX environments, an unroll a program, whose time is the environment's."""

    player: Player
    environment: FunctionalBatch
    act: Callable[..., Any]
    key: jax.Array
    like: Trajectory

    def place(self, now: Moment, params: Any) -> Moment:
        """Puts all on the parameters' device."""
        place = jax.tree.leaves(params)[0].sharding
        self.environment.set_state(jax.device_put(self.environment.get_state(), place))
        timestep, actor_state = jax.device_put((now.timestep, now.actor_state), place)
        return Moment(timestep, actor_state, now.steps)

    def compile(self, now: Moment, params: Any) -> None:
        """Plays an unroll in vain."""
        before = self.environment.get_state()
        self._play(now, params)
        self.environment.set_state(before)

    def unroll(self, now: Moment, params: Any) -> tuple[Trajectory, Moment]:
        """Plays, and copies what came of it to the host."""
        trajectory = _empty_trajectory(self.like, now)
        length, time = len(trajectory.reward), self.player.time
        self.player.check_stopped()
        played = self.player.ask(partial(self._play, now, params))
        time.lap("environment")
        _record(trajectory, 0, length, played.action, played.extras, played.seen)
        time.lap("record")
        return trajectory, Moment(played.timestep, played.actor_state, now.steps + length)

    def _play(self, now: Moment, params: Any) -> Played:
        given = params, now.actor_state, now.timestep, self.key, np.uint32(now.steps)
        length = len(self.like.reward)
        return jax.block_until_ready(self.environment.play(self.act, *given, length))


def _empty_trajectory(like: Trajectory, now: Moment) -> Trajectory:
    """Buffers with row 0 filled in; fresh for each unroll, since JAX may alias its inputs."""
    trajectory = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
    trajectory.observation[0] = now.timestep.observation
    trajectory.step_type[0] = now.timestep.step_type
    return trajectory._replace(actor_state=jax.tree.map(np.asarray, now.actor_state))


def _record(
    trajectory: Trajectory, start: int, stop: int, action: Any, extras: Any, seen: Any
) -> None:
    """Fills the rows from start to stop."""
    rows, following = slice(start, stop), slice(start + 1, stop + 1)
    trajectory.action[rows] = action
    for buffer, value in zip(
        jax.tree.leaves(trajectory.extras), jax.tree.leaves(extras), strict=True
    ):
        buffer[rows] = value
    trajectory.reward[rows] = seen.reward
    trajectory.discount[rows] = seen.discount
    trajectory.observation[following] = seen.observation
    trajectory.step_type[following] = seen.step_type
