"""Several processes as one run: `jax.distributed`, and what each of them has of the whole."""

import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np
from jax.experimental import multihost_utils

from expedition.runtime.supervision import dump_stacks

Platform = Literal["cpu", "gpu", "tpu"]


@dataclass(frozen=True)
class DistributedConfig:
    """Where the other processes of a run are; all start the same command."""

    processes: int = 1
    """Processes of the run; 0: as TPU pods, SLURM, Open MPI and Kubernetes say of themselves."""
    process: int | None = None
    """Which of them this is, from 0; None: as above."""
    coordinator: str | None = None
    """Address and port of process 0, such as 10.0.0.1:1234; None: as above."""
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


@contextmanager
def joined(config: DistributedConfig, platform: Platform | None = None) -> Iterator[None]:
    """Joins the run's other processes; before anything else asks JAX for a device.

    An exception ends one of several processes at once, so that the others notice: it would else
    wait for them, and they for it.
    """
    faulthandler.enable(sys.__stderr__ or 2)  # the stacks, should JAX end the process
    if platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if config.processes != 1:
        # It would take SIGTERM for itself.
        jax.config.update("jax_enable_preemption_service", False)
        jax.distributed.initialize(
            coordinator_address=config.coordinator,
            num_processes=config.processes or None,
            process_id=config.process,
            heartbeat_timeout_seconds=config.heartbeat_seconds,
        )
    try:
        yield
    except BaseException as error:
        if config.processes == 1 or (isinstance(error, SystemExit) and not error.code):
            raise
        if not isinstance(error, SystemExit):
            dump_stacks()  # it may be another process that failed
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


def require_platform(platform: Platform | None) -> None:
    """Checks that JAX computes where it was asked to.

    Raises:
      ValueError: this machine does not have the platform.
    """
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter where no plugin is installed
        raise ValueError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')} was given, and JAX finds no such "
            f"device ({str(error) or 'no plugin is installed'}): install its plugin, or unset it"
        ) from error
    if platform not in (None, found):
        raise ValueError(
            f"platform {platform} was given; JAX finds {found} devices only: "
            "install its plugin (such as jax[cuda12]), or leave --platform out"
        )


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def all_agree(answer: bool) -> bool:
    """Whether all processes answer yes; waits for them."""
    if jax.process_count() == 1:
        return answer
    return bool(np.all(multihost_utils.process_allgather(np.array(answer))))
