"""Actors, queue, prefetch and learner wired together: one training run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import numpy as np

from expedition.agents.agent import Agent
from expedition.environments.interface import BatchedEnvironment
from expedition.runtime.actor import Actor, Unroll, abstract_trajectory, jit_act
from expedition.runtime.channel import BoundedQueue
from expedition.runtime.keys import named_key
from expedition.runtime.learner import Learner
from expedition.runtime.metrics import Row
from expedition.runtime.parameters import ParameterServer
from expedition.runtime.prefetch import Batch, prefetch, resize
from expedition.runtime.supervision import StopRequest, Supervisor, stop_on_signals
from expedition.runtime.window import Window


@dataclass(frozen=True)
class RuntimeConfig:
    """The actor-learner machine's settings."""

    total_steps: int = 1_000_000
    """Rows to learn from; then the run ends. A row is one action of one environment, or the
    restart between two of its episodes."""
    unroll_length: int = 20
    """Steps T of an unroll."""
    batch_size: int = 32
    """Environments' unrolls B in one update, over all devices."""
    actors: int = 2
    """Actor threads."""
    environments_per_actor: int = 32
    """Environments that one actor thread steps together; a divisor of batch_size."""
    queue_capacity: int = 2
    """Unrolls that may wait for the learner; a full queue stops the actors."""
    prefetch: int = 1
    """Batches that wait on the learner's devices."""
    actor_device: int = 0
    """Index, among the local devices, of the device where all actors choose their actions."""
    learner_devices: tuple[int, ...] = (0,)
    """Indices of the local devices that share each batch; as many as divide batch_size."""
    log_seconds: float = 1.0
    """Seconds between two rows of metrics."""

    def __post_init__(self) -> None:
        for name in (
            *("total_steps", "unroll_length", "batch_size", "actors", "environments_per_actor"),
            *("queue_capacity", "prefetch", "log_seconds"),
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        for name, divisor in (
            ("environments_per_actor", self.environments_per_actor),
            ("number of learner_devices", len(self.learner_devices)),
        ):
            if divisor == 0 or self.batch_size % divisor:
                raise ValueError(
                    f"the {name} is {divisor}; expected a divisor of batch_size {self.batch_size}"
                )
        if len(set(self.learner_devices)) < len(self.learner_devices):
            raise ValueError(f"learner_devices is {self.learner_devices}; expected each one once")

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        return math.ceil(self.total_steps / (self.unroll_length * self.batch_size))


class Devices(NamedTuple):
    """The devices of one process."""

    actor: jax.Device
    learners: list[jax.Device]


def select_devices(config: RuntimeConfig) -> Devices:
    """The devices that the config names.

    Raises:
      ValueError: there is no local device of that index.
    """
    local = jax.local_devices()
    for index in (config.actor_device, *config.learner_devices):
        if not 0 <= index < len(local):
            raise ValueError(
                f"device {index} was given; there are {len(local)} local devices, 0 to "
                f"{len(local) - 1}: {', '.join(map(str, local))}"
            )
    return Devices(local[config.actor_device], [local[i] for i in config.learner_devices])


class TrainResult(NamedTuple):
    """What a run leaves."""

    params: Any  # on the host
    counters: dict[str, int]
    steps_per_second: float | None  # environment steps, first update to last; None before two
    exit_state: str  # "finished", or the signal that stopped the run


def train(
    agent: Agent,
    environments: Sequence[BatchedEnvironment],
    config: RuntimeConfig,
    *,
    key: jax.Array,
    log: Callable[[Row], None] = lambda row: None,
    request: StopRequest | None = None,
) -> TrainResult:
    """Trains until `config.total_steps`, or until it is asked to stop.

    Args:
      agent: the algorithm; its `update` combines what devices learn over `prefetch.AXIS`.
      environments: one batch for each actor, of `config.environments_per_actor`.
      config: the machine's settings.
      key: names the initial parameters and every action.
      log: called with a row of metrics every `config.log_seconds`, and at the end.
      request: from the caller's `stop_on_signals`; None: Ctrl-C and SIGTERM stop this run.

    The actors close their environments. Where something raises before they start, the
    environments are still the caller's.

    Raises:
      ValueError: the environments do not fit the config.
      Exception: whatever a thread raised first, once all threads have stopped.
    """
    if request is None:
        with stop_on_signals() as request:
            return train(agent, environments, config, key=key, log=log, request=request)
    _check(environments, config)
    devices = select_devices(config)
    learner = Learner(agent, named_key(key, "learner"), devices.learners)
    server = ParameterServer(jax.device_put(learner.params(), devices.actor))
    unrolls: BoundedQueue[Unroll] = BoundedQueue(config.queue_capacity)
    batches: BoundedQueue[Batch] = BoundedQueue(config.prefetch)
    like = abstract_trajectory(
        agent,
        server.latest().params,
        environments[0].spec,
        config.environments_per_actor,
        config.unroll_length,
    )
    act = jit_act(agent)
    actors = [
        Actor(act, like, actor_state, environment, server, named_key(key, "actor", i))
        for i, (actor_state, environment) in enumerate(
            zip(_actor_states(agent, config, devices.actor), environments, strict=True)
        )
    ]
    window = Window(actors, unrolls)
    unrolls_per_batch = config.batch_size // config.environments_per_actor
    share = resize(like, config.batch_size // len(devices.learners))
    with Supervisor(unrolls.close, batches.close) as supervisor:
        for i, actor in enumerate(actors):
            after = actors[0].started if i else None  # the first one compiles for all
            supervisor.spawn(f"actor-{i}", partial(actor.run, unrolls, devices.actor, after))
        supervisor.spawn(
            "prefetch", partial(prefetch, unrolls, batches, unrolls_per_batch, devices.learners)
        )
        # In a thread, so that a fault elsewhere or a signal need not wait for it.
        supervisor.spawn("compile", partial(learner.compile, share))
        while not (learner.compiled.wait(timeout=0.5) or request.reason or supervisor.failed):
            pass
        while window.updates < config.num_updates and not (request.reason or supervisor.failed):
            try:
                batch = batches.get(timeout=0.5)
            except TimeoutError:
                continue
            _learn(batch, learner, server, window, devices.actor)
            if window.seconds() >= config.log_seconds:
                log(window.close())
            window.time.lap("log")
    if window.updates_since_log:
        log(window.close())
    return TrainResult(
        jax.device_get(learner.params()),
        window.counters(),
        window.steps_per_second(),
        "finished" if request.reason is None else f"stopped by {request.reason}",
    )


def _learn(
    batch: Batch, learner: Learner, server: ParameterServer, window: Window, actor: jax.Device
) -> None:
    """One update, published to the actors and noted."""
    window.time.lap("wait")
    metrics = jax.device_get(learner.update(batch.trajectory))
    _require_finite(metrics, window.updates + 1)
    window.time.lap("update")
    server.publish(window.updates + 1, jax.device_put(learner.params(), actor))
    window.time.lap("publish")
    window.add(batch, metrics)


def _actor_states(agent: Agent, config: RuntimeConfig, device: jax.Device) -> list[Any]:
    """Each actor's part of the initial states of all environments: agents are told apart by it."""
    size = config.environments_per_actor
    states = jax.device_get(agent.initial_actor_state(config.actors * size))
    parts = jax.tree.map(lambda x: x.reshape(config.actors, size, *x.shape[1:]), states)
    return [
        jax.device_put(jax.tree.map(itemgetter(i), parts), device) for i in range(config.actors)
    ]


def _check(environments: Sequence[BatchedEnvironment], config: RuntimeConfig) -> None:
    sizes = [environment.num_environments for environment in environments]
    expected = [config.environments_per_actor] * config.actors
    if sizes != expected:
        raise ValueError(f"batches of {sizes} environments were given; expected {expected}")
    shapes = {str([(spec.shape, spec.dtype) for spec in batch.spec]) for batch in environments}
    if len(shapes) > 1:
        raise ValueError(f"batches of specs {shapes} were given; expected one spec for all")


def _require_finite(metrics: dict[str, np.ndarray], update: int) -> None:
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        raise FloatingPointError(f"update {update}: {', '.join(bad)} not finite: {metrics}")
