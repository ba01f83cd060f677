"""One training run: from its start, or from its newest checkpoint, to its budget."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from expedition.agents.agent import Agent
from expedition.environments.interface import BatchedEnvironment
from expedition.runtime.checkpoint import Checkpoints
from expedition.runtime.config import RuntimeConfig
from expedition.runtime.metrics import Row
from expedition.runtime.pool import Rebuild
from expedition.runtime.run import Run
from expedition.runtime.supervision import StopRequest, Watchdog, stop_on_signals


class TrainResult(NamedTuple):
    """What a run leaves: parameters, counters, and how it ended."""

    params: Any  # on the host
    counters: dict[str, int]
    steps_per_second: float | None  # learnt from, first update to last; None before two
    exit_state: str  # "finished", or the signal that stopped the run


def train(
    agent: Agent,
    environments: Sequence[BatchedEnvironment],
    config: RuntimeConfig,
    *,
    key: jax.Array,
    log: Callable[[Row], None] = lambda row: None,
    request: StopRequest | None = None,
    checkpoints: Checkpoints | None = None,
    rebuild: Rebuild | None = None,
    on_start: Callable[[dict[str, int]], None] = lambda counters: None,
) -> TrainResult:
    """Trains until `config.total_steps`, or until it is asked to stop.

    Args:
      agent: the algorithm; its `update` combines what devices learn over `prefetch.AXIS`.
      environments: one batch for each actor, of `config.environments_per_actor`.
      config: the machine's settings.
      key: names the initial parameters and every action.
      log: called with a row of metrics every `config.log_seconds`, and at the end.
      request: from the caller's `stop_on_signals`; None: Ctrl-C and SIGTERM stop this run.
      checkpoints: where to save; a run that has some goes on from the newest.
      rebuild: makes an actor's environments anew, `(actor, times so far) -> environments`; needed
        where `config.max_env_restarts` is not 0.
      on_start: called with the counters so far, when what was saved has been read.

    The actors close their environments. Where something raises before they start, the
    environments are still the caller's.

    Raises:
      ValueError: the environments do not fit the config.
      Exception: whatever a thread raised first, once all threads have stopped.
    """
    if request is None:
        with stop_on_signals() as request:
            return train(
                agent,
                environments,
                config,
                key=key,
                log=log,
                request=request,
                checkpoints=checkpoints,
                rebuild=rebuild,
                on_start=on_start,
            )
    _check(environments, config)
    run = Run(agent, environments, config, key, rebuild)
    with Watchdog(config.stall_timeout) as watchdog:
        if checkpoints is not None:
            saved = checkpoints.restore(run.like())
            if saved is not None:
                run.go_on(saved)
        watchdog.feed()
        on_start(run.window.counters())
        run.loop(log, request, checkpoints, watchdog)
    return TrainResult(
        jax.device_get(run.learner.params()),
        run.window.counters(),
        run.window.steps_per_second(),
        run.exit_state(request),
    )


def _check(environments: Sequence[BatchedEnvironment], config: RuntimeConfig) -> None:
    sizes = [environment.num_environments for environment in environments]
    expected = [config.environments_per_actor] * config.actors
    if sizes != expected:
        raise ValueError(f"batches of {sizes} environments were given; expected {expected}")
    shapes = {str([(spec.shape, spec.dtype) for spec in batch.spec]) for batch in environments}
    if len(shapes) > 1:
        raise ValueError(f"batches of specs {shapes} were given; expected one spec for all")
