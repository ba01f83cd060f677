"""An actor: drives a batch of environments with the learner's parameters."""

import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from expedition.agents.agent import Agent, Trajectory
from expedition.environments.interface import BatchedEnvironment, Restorable
from expedition.exploration import threefry
from expedition.runtime.channel import BoundedQueue, QueueClosed
from expedition.runtime.parameters import Versioned
from expedition.runtime.playing import Moment, way_to_play
from expedition.runtime.timing import TimeSplit
from expedition.runtime.unroll import (
    EpisodeCounter,
    Position,
    Unroll,
    is_nowhere,
    packed_counts,
    require_finite,
    unpack,
)

T = TypeVar("T")


class ActorFunctions(NamedTuple):
    """What actors need of an agent."""

    act: Callable[..., Any]  # drawing with `fold_in(key, step)`
    digest: Callable[..., Any] | None
    training_reward: Callable[[Any], Any]


@lru_cache(maxsize=4)
def actor_functions(agent: Agent) -> ActorFunctions:
    """What actors need of this agent, compiled once for all of them, and for its next runs."""

    def act(params: Any, state: Any, timestep: Any, key: jax.Array, step: jax.Array) -> Any:
        return agent.act(params, state, timestep, threefry.fold_in(key, step))

    digest = None if agent.digest is None else jax.jit(agent.digest)
    return ActorFunctions(jax.jit(act), digest, agent.training_reward)


class Actor:
    """Unrolls a policy in a batch of environments; usable with or without a thread.

    Args:
      functions: the shared `actor_functions(agent)`.
      like: shapes and types of an unroll, from `abstract_trajectory`.
      actor_state: the agent's initial actor state for the whole batch.
      environment: the batch to drive; the actor closes it.
      parameters: waits for those of the n-th unroll, from 0; None: any.
      key: names every action that this actor draws.
      index: which of the actors it is.
    """

    def __init__(
        self,
        functions: ActorFunctions,
        like: Trajectory,
        actor_state: Any,
        environment: BatchedEnvironment,
        parameters: Callable[[int | None], Versioned],
        key: jax.Array,
        index: int = 0,
    ) -> None:
        self.environment = environment
        self.started = threading.Event()  # environments are reset, everything is compiled
        self.environment_failed = False
        self.abandoned = False  # it ends when its environment answers
        self.env_steps = 0
        self.time = TimeSplit("parameters", "act", "environment", "record", "digest", "queue")
        act, self._digest, training_reward = functions
        self._playing = way_to_play(self, environment, act, key, like)
        self._now = Moment(timestep=None, actor_state=actor_state, steps=0)
        self._parameters = parameters
        self._index = index
        self._in_environment_since: float | None = None
        self._stopped: Callable[[], bool] = lambda: False
        self._handing_over = threading.Lock()
        self.first: Position | None = None  # where it has begun; None before
        self.begins_at: np.ndarray | None = None  # packed; None: at a new episode
        self._handed_over = np.zeros(4, np.int64)  # counts after its last unroll
        self.restarts = 0  # times that its environments were made anew
        self._unrolls = 0
        self._episodes = EpisodeCounter(environment.num_environments, training_reward)

    def run(
        self, queue: BoundedQueue[Unroll], device: jax.Device, after: threading.Event | None = None
    ) -> None:
        """Sends unrolls, computed on the device, until the queue is closed.

        Waits for `after`, another actor's `started`, if it is given: that one compiles for both.
        """
        self._stopped = lambda: queue.closed or self.abandoned
        try:
            with jax.default_device(device):
                while after is not None and not after.wait(timeout=0.5):
                    self.check_stopped()
                self._start()
                while True:
                    unroll = self.unroll()
                    with self._handing_over:
                        self.check_stopped()
                        queue.put(unroll)
                    self.time.lap("queue")
        except QueueClosed:
            self.environment.close()
        except BaseException as error:
            try:
                self.ask(self.environment.close)
            except Exception as second:  # the first one is what went wrong
                error.add_note(f"closing the environment then raised {second!r}")
            raise

    def unroll(self) -> Unroll:
        """Takes parameters and steps every environment T times with them."""
        if not self.started.is_set():
            self._start()
        version, params = self._parameters(self._unrolls)
        self.time.lap("parameters")
        trajectory, self._now = self._playing.unroll(self._now, params)
        self.ask(partial(require_finite, trajectory))
        self._unrolls += 1
        self.env_steps += int(np.sum(trajectory.is_transition))
        episodes = self._episodes.count(trajectory)
        position = self._position()
        self._handed_over = position.counts
        self.time.lap("record")
        content: Any = trajectory
        if self._digest is not None:
            content = jax.device_get(self._digest(params, trajectory))
        transitions = int(np.sum(trajectory.is_transition))
        self.time.lap("digest")
        return Unroll(content, transitions, version, episodes, self._index, position)

    def go_on(self, packed: np.ndarray) -> None:
        """Will begin at a packed position; before its start.

        Environments whose state cannot be saved start new episodes.
        """
        if not is_nowhere(packed):
            self.begins_at = packed
            self._count_from(packed_counts(packed))

    def take_over_from(self, failed: "Actor") -> None:
        """Counts on from the last unroll of an actor that is no more, with episodes of its own."""
        self.time = failed.time
        failed.started.set()  # nobody need wait for it
        self._count_from(failed._handed_over)
        self.restarts = failed.restarts

    def abandon(self, seconds: float) -> bool:
        """Gives up an environment that has not answered for so long; False if it has.

        Nothing of what it may say later is handed over.
        """
        if not self._handing_over.acquire(blocking=False):
            return False
        try:
            self.abandoned = self.seconds_in_environment() > seconds
            return self.abandoned
        finally:
            self._handing_over.release()

    def check_stopped(self) -> None:
        """Ends an unroll that nobody wants any more.

        Raises:
          QueueClosed: the queue is closed, or this actor abandoned.
        """
        if self._stopped():
            raise QueueClosed

    def ask(self, question: Callable[[], T]) -> T:
        """Calls the environment; notes since when, and if that fails."""
        self._in_environment_since = time.monotonic()
        try:
            return question()
        except QueueClosed:
            raise
        except Exception:
            self.environment_failed = True
            raise
        finally:
            self._in_environment_since = None

    def seconds_in_environment(self) -> float:
        """Since when it has been waiting for its environment; 0 if it does not."""
        since = self._in_environment_since
        return 0.0 if since is None else time.monotonic() - since

    def _position(self) -> Position:
        environment = self.environment
        return Position(
            np.array([self._now.steps, self._unrolls, self.env_steps, self.restarts]),
            environment.get_state() if isinstance(environment, Restorable) else (),
            self._now.timestep,
            self._now.actor_state,
            self._episodes.get_state(),
        )

    def _count_from(self, counts: np.ndarray) -> None:
        self._handed_over = counts
        steps, self._unrolls, self.env_steps, self.restarts = counts.tolist()
        self._now = self._now._replace(steps=steps)

    def _start(self) -> None:
        """Resets the environments, or puts them where they were; everything is then compiled."""
        self._now = self._now._replace(timestep=self.ask(self.environment.reset))
        if self.begins_at is not None and isinstance(self.environment, Restorable):
            was = unpack(self.begins_at, self._position())
            self.environment.set_state(was.environment)
            self._now = Moment(was.timestep, was.actor_state, self._now.steps)
            self._episodes.set_state(was.episodes)
        params = self._parameters(None).params
        self._now = self._playing.place(self._now, params)
        self.first = self._position()
        self.time.lap("environment")
        self._playing.compile(self._now, params)
        self.time.lap("act")
        self.started.set()

    @property
    def env_frames(self) -> int:
        """Simulator frames that the environment steps lasted."""
        return self.env_steps * self.environment.frames_per_step
