"""Which parameters an actor acts by, and whose unroll comes next: as it happens, or by rule."""

import itertools
from collections.abc import Iterator
from typing import Protocol

from expedition.runtime.channel import BoundedQueue, QueueClosed
from expedition.runtime.parameters import ParameterServer, Versioned
from expedition.runtime.unroll import Unroll


class Schedule(Protocol):
    """What joins actors and learner: who acts by which parameters, whose unrolls come next."""

    def queue(self, actor: int) -> BoundedQueue[Unroll]:
        """Where the actor puts its unrolls."""
        ...

    def parameters(self, actor: int, unroll: int) -> Versioned:
        """Waits for the parameters of the actor's n-th unroll, from 0."""
        ...

    def unrolls(self) -> Iterator[Unroll]:
        """What the learner learns from, until the schedule is closed."""
        ...

    def __len__(self) -> int:
        """How many unrolls wait."""
        ...

    def close(self) -> None:
        """Ends everyone who waits; may be repeated."""
        ...


class FreeRunning:
    """Actors act by the newest parameters, and the learner takes unrolls as they come.

    Nobody waits for more than room in one queue. What acted, and the order of data, depend on the
    machine's timing.
    """

    def __init__(self, server: ParameterServer, capacity: int) -> None:
        self._server = server
        self._queue: BoundedQueue[Unroll] = BoundedQueue(capacity)

    def queue(self, actor: int) -> BoundedQueue[Unroll]:
        """The one queue of all."""
        return self._queue

    def parameters(self, actor: int, unroll: int) -> Versioned:
        """The newest there are."""
        return self._server.latest()

    def unrolls(self) -> Iterator[Unroll]:
        """The unrolls of all actors, in the order in which they were made."""
        return iter(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        """Closes the queue."""
        self._queue.close()


class FixedOrder:
    """Actors take turns, and act by parameters of a certain age: nothing is left to timing.

    Unroll j of all is made by actor j mod A and belongs to batch b = j // u, for A actors and u
    unrolls in a batch. Its actions are by version b - lag, or 0 before there is one. With a lag of
    1 the learner is at batch b - 1 meanwhile; with 0 actors and learner wait for each other. Each
    actor has a queue of one unroll.

    Args:
      server: of the parameters.
      actors: A.
      unrolls_per_batch: u.
      batches: how many the learner has learnt from before, in the run that goes on.
      lag: updates between the parameters that acted and those that learn from it.
    """

    def __init__(
        self,
        server: ParameterServer,
        actors: int,
        unrolls_per_batch: int,
        batches: int = 0,
        *,
        lag: int = 1,
    ) -> None:
        self._server, self._lag = server, lag
        self._per_batch = unrolls_per_batch
        self._first = batches * unrolls_per_batch
        self._queues: list[BoundedQueue[Unroll]] = [BoundedQueue(1) for _ in range(actors)]

    def queue(self, actor: int) -> BoundedQueue[Unroll]:
        """The actor's own."""
        return self._queues[actor]

    def parameters(self, actor: int, unroll: int) -> Versioned:
        """The parameters that every run of this seed has at this unroll."""
        batch = (unroll * len(self._queues) + actor) // self._per_batch
        return self._server.at(max(0, batch - self._lag))

    def unrolls(self) -> Iterator[Unroll]:
        """One of each actor in turn."""
        for j in itertools.count(self._first):
            try:
                yield self._queues[j % len(self._queues)].get()
            except QueueClosed:
                return

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def close(self) -> None:
        """Closes the queues, and wakes who waits for parameters."""
        self._server.close()
        for queue in self._queues:
            queue.close()
