"""The actor-learner machine's settings, and the devices that they name."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax


@dataclass(frozen=True)
class RuntimeConfig:
    """The actor-learner machine's settings."""

    total_steps: int = 1_000_000
    """Rows to learn from, rounded up to whole updates; then the run ends. A row is one action of
    one environment, or the restart between two of its episodes."""
    unroll_length: int = 20
    """Steps T of an unroll."""
    batch_size: int = 32
    """Environments' unrolls B in one update, over all devices of all processes."""
    actors: int = 2
    """Actor threads of a process."""
    environments_per_actor: int = 32
    """Environments that one actor thread steps together; a divisor of batch_size."""
    queue_capacity: int = 2
    """Unrolls that may wait for the learner; a full queue stops the actors. A deterministic run has
    one an actor."""
    prefetch: int = 1
    """Batches that wait on the learner's devices."""
    actor_device: int = 0
    """Index, among the local devices, of the device where all actors choose their actions."""
    learner_devices: tuple[int, ...] = (0,)
    """Indices of each process's devices that share its batches; as many as divide batch_size."""
    log_seconds: float = 1.0
    """Seconds between two rows of metrics."""
    deterministic: bool = False
    """Whether actors take turns and act by parameters of a fixed age, so that two runs of one seed
    are equal; else everyone does what it can as soon as it can."""
    policy_lag: int = 1
    """Of a deterministic run: updates by which acting parameters are older than those that learn
    from it. 0: actors and learner wait for each other, as in A2C."""
    max_env_restarts: int = 0
    """How often, of all actors together, environments that fail are made anew; the unroll in which
    they do is dropped. What fails after that ends the run."""
    env_timeout: float = 600.0
    """Seconds after which an environment that has not answered has failed."""
    stall_timeout: float = 1800.0
    """Seconds without an update, an evaluation's step, or the end of a restore, a compilation or a
    save, after which the process ends, showing where each of its threads is."""

    def __post_init__(self) -> None:
        for name in (
            *("total_steps", "unroll_length", "batch_size", "actors", "environments_per_actor"),
            *("queue_capacity", "prefetch", "log_seconds", "env_timeout", "stall_timeout"),
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        for name, divisor in (
            ("environments_per_actor", self.environments_per_actor),
            ("number of learner_devices", len(self.learner_devices)),
        ):
            if divisor == 0 or self.batch_size % divisor:
                raise ValueError(
                    f"{name} is {divisor} and batch_size {self.batch_size}; expected that the "
                    "former divides the latter"
                )
        if self.policy_lag < 0 or (self.policy_lag != 1 and not self.deterministic):
            raise ValueError(
                f"policy_lag is {self.policy_lag}; expected at least 0, and deterministic with it: "
                "the lag of a free run is what the machine makes it"
            )
        if self.max_env_restarts < 0:
            raise ValueError(f"max_env_restarts is {self.max_env_restarts}; expected 0 or more")
        if len(set(self.learner_devices)) < len(self.learner_devices):
            raise ValueError(f"learner_devices is {self.learner_devices}; expected each one once")

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        return math.ceil(self.total_steps / (self.unroll_length * self.batch_size))


class Devices(NamedTuple):
    """The devices of a run."""

    actor: jax.Device  # this process's
    learners: list[jax.Device]  # of all processes, in their order


def select_devices(config: RuntimeConfig) -> Devices:
    """The devices that the config names, of each process the same.

    Raises:
      ValueError: there is no local device of that index, or the processes cannot share a batch.
    """
    local = jax.local_devices()
    for index in (config.actor_device, *config.learner_devices):
        if not 0 <= index < len(local):
            raise ValueError(
                f"device {index} was given; there are {len(local)} local devices, 0 to "
                f"{len(local) - 1}: {', '.join(map(str, local))}"
            )
    processes = jax.process_count()
    each = math.lcm(config.environments_per_actor, len(config.learner_devices))
    if config.batch_size % (processes * each):
        raise ValueError(
            f"batch_size is {config.batch_size}; expected a multiple of {processes * each}: of "
            f"environments_per_actor {config.environments_per_actor} and of the "
            f"{len(config.learner_devices)} learner_devices, times the {processes} processes"
        )
    return Devices(
        local[config.actor_device],
        [
            jax.local_devices(process_index=process)[i]
            for process in range(processes)
            for i in config.learner_devices
        ],
    )
