"""The actors of a process: their threads, and what happens when an environment fails."""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from expedition.environments.interface import BatchedEnvironment
from expedition.runtime.actor import Actor
from expedition.runtime.schedule import Schedule
from expedition.runtime.supervision import Supervisor, dump_stacks

_log = logging.getLogger("expedition")

Rebuild = Callable[[int, int], BatchedEnvironment]


class ActorPool:
    """Runs actors, and replaces those whose environments fail.

    Args:
      make_actor: `(index, environment) -> Actor`, for the first ones and for their successors.
      environments: a batch for each actor.
      max_restarts: how often, of all actors together, environments may be made anew. The unroll in
        which they failed is dropped. What fails after that is raised.
      rebuild: `(actor, its restarts so far) -> environments`, needed for that.
      timeout: seconds that an environment may take for one step (in pure JAX: one unroll) or reset.
    """

    def __init__(
        self,
        make_actor: Callable[[int, BatchedEnvironment], Actor],
        environments: Sequence[BatchedEnvironment],
        *,
        max_restarts: int,
        rebuild: Rebuild | None,
        timeout: float,
    ) -> None:
        if max_restarts and rebuild is None:
            raise ValueError(
                f"max_env_restarts is {max_restarts}; expected rebuild, which makes environments"
            )
        self.actors = [make_actor(i, batch) for i, batch in enumerate(environments)]
        self._make_actor, self._rebuild = make_actor, rebuild
        self._max_restarts, self._timeout = max_restarts, timeout
        self._lock = threading.Lock()
        self._threads: dict[int, threading.Thread] = {}

    @property
    def restarts(self) -> int:
        """How often environments were made anew."""
        return sum(actor.restarts for actor in self.actors)

    def go_on(self, packed: np.ndarray) -> None:
        """Continues from packed positions `[actors, N]`, before the start.

        Raises:
          ValueError: they are of more or fewer actors, or of other environments.
        """
        if len(packed) != len(self.actors):
            raise ValueError(
                f"{len(packed)} actors were saved, this run has {len(self.actors)}; expected as "
                "many"
            )
        for actor, position in zip(self.actors, packed, strict=True):
            actor.go_on(position)

    def start(self, supervisor: Supervisor, schedule: Schedule, device: jax.Device) -> None:
        """Starts a thread an actor; all compute on the device."""
        self._supervisor, self._schedule, self._device = supervisor, schedule, device
        for i in range(len(self.actors)):
            # The first one compiles for all.
            self._spawn(i, self.actors[0].started if i else None)

    def watch(self) -> None:
        """Looks for environments that have not answered in time.

        Raises:
          TimeoutError: there is one, and none may be made anew.
        """
        for i, actor in enumerate(self.actors):
            if actor.seconds_in_environment() > self._timeout and actor.abandon(self._timeout):
                hung = TimeoutError(
                    f"the environments of actor {i} have not answered for {self._timeout:g} s"
                )
                self._supervisor.forget(self._threads[i])
                if not self._replace(actor, i, hung):
                    dump_stacks()  # where it hangs
                    raise hung
                self._spawn(i, None)

    def _spawn(self, index: int, after: threading.Event | None) -> None:
        run = partial(self._run, index, after)
        self._threads[index] = self._supervisor.spawn(f"actor-{index}", run)

    def _run(self, index: int, after: threading.Event | None) -> None:
        while True:
            actor = self.actors[index]
            try:
                actor.run(self._schedule.queue(index), self._device, after)
                return
            except Exception as error:
                if actor.abandoned:  # what it had to say came too late
                    return
                if not (actor.environment_failed and self._replace(actor, index, error)):
                    raise

    def _replace(self, actor: Actor, index: int, error: Exception) -> bool:
        """Gives the actor a successor with new environments, if that is allowed."""
        with self._lock:
            if self._rebuild is None or self.restarts >= self._max_restarts:
                return False
            actor.restarts += 1
            restarts = self.restarts
        _log.warning(
            "actor %d: environments made anew (%d of at most %d times) after %s: %s",
            *(index, restarts, self._max_restarts, type(error).__name__, error),
        )
        successor = self._make_actor(index, self._rebuild(index, actor.restarts))
        successor.take_over_from(actor)
        self.actors[index] = successor
        return True
