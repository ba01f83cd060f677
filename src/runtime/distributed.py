"""Several processes as one run: `jax.distributed`, and what each of them has of the whole."""

from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Platform = Literal["cpu", "gpu", "tpu"]


@dataclass(frozen=True)
class DistributedConfig:
    """Where the other processes of a run are; all start the same command."""

    processes: int = 1
    """Processes of the run; 0: as TPU pods, SLURM, Open MPI and Kubernetes say of themselves."""
    process: int | None = None
    """Which of them this is, from 0; none: as above."""
    coordinator: str | None = None
    """Address and port of process 0, such as 10.0.0.1:1234; none: as above."""
    heartbeat_seconds: int = 30
    """Seconds without a sign of life after which a process counts as dead, and all others end."""

    def __post_init__(self) -> None:
        if self.processes < 0 or self.heartbeat_seconds < 1:
            raise ValueError(
                f"processes is {self.processes} and heartbeat_seconds {self.heartbeat_seconds}; "
                "expected at least 0 and 1"
            )
        if self.processes > 1 and (self.process is None or self.coordinator is None):
            raise ValueError(
                f"{self.processes} processes were given, with process {self.process} and "
                f"coordinator {self.coordinator}; expected all three, or processes 0 where the "
                "cluster knows them"
            )
        if self.process is not None and not 0 <= self.process < max(1, self.processes):
            raise ValueError(
                f"process is {self.process}; expected a number from 0 to {self.processes - 1}"
            )


def start(config: DistributedConfig, platform: Platform | None = None) -> None:
    """Joins the run's other processes; before anything else asks JAX for a device.

    Raises:
      ValueError: this machine does not have the platform.
    """
    if platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if config.processes != 1:
        jax.distributed.initialize(
            coordinator_address=config.coordinator,
            num_processes=config.processes or None,
            process_id=config.process,
            heartbeat_timeout_seconds=config.heartbeat_seconds,
        )
    if platform is not None and jax.default_backend() != platform:
        raise ValueError(
            f"platform {platform} was given; JAX finds {jax.default_backend()} devices only: "
            "install its plugin (such as jax[cuda12]), or leave --platform out"
        )


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def share(own: np.ndarray) -> jax.Array | np.ndarray:
    """The processes' arrays of one shape as one, with a leading axis of processes."""
    if jax.process_count() == 1:
        return own[None]
    devices = [_first(process) for process in range(jax.process_count())]
    sharding = NamedSharding(Mesh(np.asarray(devices), ("processes",)), PartitionSpec("processes"))
    return jax.make_array_from_process_local_data(sharding, own[None])


def own_share(whole: jax.Array | np.ndarray) -> np.ndarray:
    """What this process gave to `share`."""
    if isinstance(whole, np.ndarray):
        return whole[0]
    return np.asarray(whole.addressable_shards[0].data)[0]


def _first(process: int) -> jax.Device:
    return next(device for device in jax.devices() if device.process_index == process)
