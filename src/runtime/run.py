"""Actors, queues, prefetch and learner wired together: one run, from one update to the next."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from expedition.agents.agent import Agent
from expedition.environments.interface import BatchedEnvironment
from expedition.runtime.actor import Actor, actor_functions
from expedition.runtime.channel import BoundedQueue
from expedition.runtime.checkpoint import Checkpoints, Saved
from expedition.runtime.config import RuntimeConfig, select_devices
from expedition.runtime.distributed import all_agree
from expedition.runtime.keys import named_key
from expedition.runtime.learner import Learner
from expedition.runtime.metrics import Row
from expedition.runtime.parameters import ParameterServer, Versioned
from expedition.runtime.pool import ActorPool, Rebuild
from expedition.runtime.prefetch import Batch, prefetch, resize
from expedition.runtime.schedule import FixedOrder, FreeRunning, Schedule
from expedition.runtime.supervision import StopRequest, Supervisor, Watchdog
from expedition.runtime.unroll import Position, abstract_trajectory, nowhere, pack
from expedition.runtime.window import Window


class NonFiniteError(FloatingPointError):
    """A metric of an update was not finite; `batch` is what the update learnt from."""

    def __init__(self, message: str, batch: Any) -> None:
        super().__init__(message)
        self.batch = batch


class Run:
    """A run that may be saved between any two updates; its arguments are those of `train`."""

    def __init__(
        self,
        agent: Agent,
        environments: Sequence[BatchedEnvironment],
        config: RuntimeConfig,
        key: jax.Array,
        rebuild: Rebuild | None,
    ) -> None:
        self._config, self._devices = config, select_devices(config)
        self._batch_size = config.batch_size // jax.process_count()  # of this process
        self._unrolls_per_batch = self._batch_size // config.environments_per_actor
        self._is_stopped = False  # by a signal to any process
        self.learner = Learner(agent, named_key(key, "learner"), self._devices.learners)
        self._server = self._make_server(Versioned(0, self._acting_params()))
        self._like = abstract_trajectory(
            agent,
            self._server.latest().params,
            environments[0].spec,
            config.environments_per_actor,
            config.unroll_length,
        )
        self._share = self._share_of_a_device(agent)
        self._schedule = self._make_schedule()
        self._batches: BoundedQueue[Batch] = BoundedQueue(config.prefetch)
        functions = actor_functions(agent)
        states = _actor_states(agent, config, self._devices.actor)
        first = jax.process_index() * config.actors  # actors are numbered through all processes

        def make_actor(i: int, environment: BatchedEnvironment) -> Actor:
            def parameters(unroll: int | None) -> Versioned:
                if unroll is None:
                    return self._server.latest()
                return self._schedule.parameters(i, unroll)

            key_i = named_key(key, "actor", first + i)
            return Actor(functions, self._like, states[i], environment, parameters, key_i, i)

        self._pool = ActorPool(
            make_actor,
            environments,
            max_restarts=config.max_env_restarts,
            rebuild=rebuild,
            timeout=config.env_timeout,
        )
        self._positions: dict[int, Position] = {}  # of actors, after what was learnt from
        self._is_whole = True  # and not in an update, or after one that failed
        self.window = Window(self._pool, lambda: len(self._schedule))

    def saved(self) -> Saved | None:
        """Where it is, between two updates: arrays that nobody will change.

        None: too early, since an actor has not begun, and in fixed order each must go on where it
        was. Else such a one begins anew.
        """
        packed = [self._position(i, actor) for i, actor in enumerate(self._pool.actors)]
        known = [position for position in packed if position is not None]
        if not known or (self._config.deterministic and len(known) < len(packed)):
            return None
        new = nowhere(like=known[0])
        return Saved(
            learner=self.learner.get_state(),
            before=jax.device_get(self._before()),
            positions=np.stack([new if p is None else p for p in packed]),
            counters=self.window.get_state(),
        )

    def _position(self, index: int, actor: Actor) -> np.ndarray | None:
        """Where an actor is after what was learnt from, packed; None: it has not begun."""
        position = self._positions.get(index, actor.first)
        return actor.begins_at if position is None else pack(position)

    def like(self) -> Saved:
        """What `saved` looks like, as far as it is known before the start."""
        before = jax.device_get(self._before())
        return Saved(self.learner.state, before, positions=None, counters=())

    def go_on(self, saved: Saved) -> None:
        """Continues from there, before its first update."""
        self.learner.set_state(saved.learner)
        self.window.set_state(saved.counters)
        updates = self.window.updates
        before = jax.device_put(saved.before, self._devices.actor)
        versions = [Versioned(updates - len(before) + i, x) for i, x in enumerate(before)]
        # Of a run's first updates there are not so many: the oldest stands for those before it.
        real = [held for held in versions if held.version >= 0]
        self._server = self._make_server(*real, Versioned(updates, self._acting_params()))
        self._schedule = self._make_schedule()
        self._pool.go_on(saved.positions)

    def loop(
        self,
        log: Callable[[Row], None],
        request: StopRequest,
        checkpoints: Checkpoints | None,
        watchdog: Watchdog,
    ) -> None:
        """Updates until the budget is spent, or until it is asked to stop; then saves."""
        try:
            self._work(log, request, checkpoints, watchdog)
        except BaseException as error:
            # Several processes save together or not at all.
            if checkpoints is not None and self._is_whole and jax.process_count() == 1:
                _try(error, partial(self._save, checkpoints, wait=True))
            raise
        if checkpoints is not None:
            watchdog.feed()
            self._save(checkpoints, wait=True)
        if self.window.updates_since_log:
            log(self.window.close())

    def exit_state(self, request: StopRequest) -> str:
        """How it ended."""
        if request.reason is not None:
            return f"stopped by {request.reason}"
        return "stopped with another process" if self._is_stopped else "finished"

    def _work(
        self,
        log: Callable[[Row], None],
        request: StopRequest,
        checkpoints: Checkpoints | None,
        watchdog: Watchdog,
    ) -> None:
        config, window = self._config, self.window
        learners = self._devices.learners
        with Supervisor(self._schedule.close, self._batches.close) as supervisor:
            self._pool.start(supervisor, self._schedule, self._devices.actor)
            unrolls = self._schedule.unrolls()
            join = partial(prefetch, unrolls, self._batches, self._unrolls_per_batch, learners)
            supervisor.spawn("prefetch", join)
            # In a thread, so that a fault elsewhere or a signal need not wait for it.
            supervisor.spawn("compile", partial(self.learner.compile, self._share))

            def goes_on() -> bool:
                self._pool.watch()
                # Of several processes none stops for itself: they do it together, after an update.
                asked = jax.process_count() == 1 and request.reason is not None
                return not (asked or self._is_stopped or supervisor.failed)

            while not self.learner.compiled.wait(timeout=0.5) and goes_on():
                pass
            watchdog.feed()
            owes_save = False
            while window.updates < config.num_updates and goes_on():
                try:
                    batch = self._batches.get(timeout=0.5)
                except TimeoutError:
                    continue
                self._learn(batch, stops=request.reason is not None)
                watchdog.feed()
                if checkpoints is not None:
                    owes_save |= checkpoints.is_due(window.updates)
                    if owes_save:
                        owes_save = not self._save(checkpoints)  # too early: after the next update
                        watchdog.feed()
                if window.seconds() >= config.log_seconds:
                    log(window.close())
                window.time.lap("log")

    def _learn(self, batch: Batch, *, stops: bool) -> None:
        """One update, published to the actors and noted."""
        window, update = self.window, self.window.updates + 1
        window.time.lap("wait")
        self._is_whole = False
        metrics, stopped = self.learner.update(batch.content, stops=stops)
        bad = [name for name, value in metrics.items() if not np.isfinite(value)]
        if bad:
            raise NonFiniteError(
                f"update {update}: {', '.join(bad)} not finite: {metrics}",
                jax.device_get(batch.content),
            )
        window.time.lap("update")
        self._server.publish(update, self._acting_params())
        window.time.lap("publish")
        self._positions |= batch.positions
        window.add(batch, metrics)
        self._is_stopped = stopped
        self._is_whole = True

    def _save(self, checkpoints: Checkpoints, *, wait: bool = False) -> bool:
        """Saves the run; False: it was too early for that."""
        checkpoints.wait()  # before there is another copy of the state
        saved = self.saved() if self.window.updates > 0 else None
        # Several processes save together or not at all.
        is_saved = all_agree(saved is not None)
        if is_saved and saved is not None:
            checkpoints.save(self.window.updates, saved)
        if wait:
            checkpoints.wait()
            if not is_saved and self.window.updates > 0:
                text = f"update {self.window.updates} is not saved: not all actors have begun"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        self.window.time.lap("save")
        return is_saved

    def _share_of_a_device(self, agent: Agent) -> Any:
        """Shapes and types of what a learner's device gets of a batch."""
        each, devices = self._config.environments_per_actor, len(self._devices.learners)
        width, like = self._config.batch_size // devices, self._like
        if agent.digest is not None:
            if width % each:
                raise ValueError(
                    f"{devices} learner devices share batches of {self._config.batch_size // each} "
                    "unrolls; expected a divisor: this agent's actors send digests, not rows"
                )
            like = jax.eval_shape(agent.digest, self._server.latest().params, like)
        return resize(like, width, width // each)

    def _make_server(self, *versions: Versioned) -> ParameterServer:
        return ParameterServer(*versions, keep=self._config.policy_lag + 1)

    def _before(self) -> list[Any]:
        """The parameters of as many updates before as the next batch may need, the newest last."""
        held = [versioned.params for versioned in self._server.held()]
        missing = self._config.policy_lag + 1 - len(held)
        return ([held[0]] * missing + held)[:-1]

    def _acting_params(self) -> Any:
        params, device = self.learner.params(), self._devices.actor
        return params if device == self.learner.device else jax.device_put(params, device)

    def _make_schedule(self) -> Schedule:
        if not self._config.deterministic:
            return FreeRunning(self._server, self._config.queue_capacity)
        batches = self._server.latest().version
        return FixedOrder(
            self._server,
            self._config.actors,
            self._unrolls_per_batch,
            batches,
            lag=self._config.policy_lag,
        )


def _try(error: BaseException, function: Callable[[], object]) -> None:
    """Calls it; what that raises is added to the error that went before."""
    try:
        function()
    except Exception as second:
        error.add_note(f"saving then raised {second!r}")


def _actor_states(agent: Agent, config: RuntimeConfig, device: jax.Device) -> list[Any]:
    """Each actor's part of the initial states of all environments: agents are told apart by it."""
    size, actors = config.environments_per_actor, config.actors * jax.process_count()
    states = jax.device_get(agent.initial_actor_state(actors * size))
    parts = jax.tree.map(lambda x: x.reshape(actors, size, *x.shape[1:]), states)
    first = jax.process_index() * config.actors
    own = range(first, first + config.actors)
    return [jax.device_put(jax.tree.map(itemgetter(i), parts), device) for i in own]
