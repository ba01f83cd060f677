"""Checkpoints of a run: written with orbax while the learner goes on, the newest sound one read."""

import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from expedition.runtime.arrays import Arrays, ArraysHandler, from_numpy, names, to_numpy
from expedition.runtime.distributed import all_agree, is_main


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and which stay."""

    checkpoint_updates: int = 1000
    """Updates between two checkpoints; there is one more where a run ends or is stopped."""
    keep_last: int = 2
    """How many stay, the newest."""
    keep_every: int | None = None
    """Checkpoints of updates that are multiples of this stay for ever; None: only the newest."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_updates", "keep_last", "keep_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")


class Saved(NamedTuple):
    """All that a run depends on between two updates; of several processes each has its own."""

    learner: Any  # the state of each of the process's devices
    before: (
        Any  # the parameters of the updates before, by which the next batches act in fixed order
    )
    positions: Any  # of the process's actors, stacked
    counters: Any  # plain numbers by name


class _NotYet(logging.Filter):
    """Orbax looks at what it says of a checkpoint while it writes that, and complains if early."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "-tmp/_CHECKPOINT_METADATA" not in record.getMessage()


_NOT_YET = _NotYet()


def saved_updates(folder: Path) -> int:
    """The number of updates of the newest whole checkpoint in a folder; 0: there is none."""
    return max(ocp.utils.checkpoint_steps(folder), default=0) if folder.exists() else 0


class Checkpoints:
    """The checkpoints of one run, in a folder.

    A checkpoint is written to a folder of another name, which is renamed when all is on disk: one
    that a crash cut short is never seen.

    Args:
      folder: of the checkpoints; made if need be.
      config: when, and which stay.
    """

    def __init__(self, folder: Path, config: CheckpointConfig | None = None) -> None:
        self.config = config or CheckpointConfig()
        logging.getLogger("absl").addFilter(_NOT_YET)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self.config.keep_last,
            keep_period=self.config.keep_every,
            cleanup_tmp_directories=True,  # of saves that were cut short
        )
        self._folder = folder.resolve()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=options,
            item_handlers={
                "run": ArraysHandler(),
                "counters": ocp.JsonCheckpointHandler(),
            },
        )

    @property
    def newest(self) -> int | None:
        """The number of updates of the newest one, sound or not; None: there is none."""
        return self._manager.latest_step()

    def is_due(self, updates: int) -> bool:
        """Whether there is to be one after so many updates."""
        return updates % self.config.checkpoint_updates == 0

    def save(self, updates: int, saved: Saved) -> None:
        """Starts to write; waits for the one before, if that is not on disk yet.

        Args:
          updates: how many the run has made; does nothing if they are saved.
          saved: arrays that nobody will change or donate.

        Raises:
          OSError: the one before could not be written.
          RuntimeError: there are newer ones.
        """
        if updates in self._manager.all_steps():
            return
        parts, counters = saved._replace(counters=()), saved.counters
        is_begun = self._manager.save(
            updates,
            args=ocp.args.Composite(run=Arrays(names(parts)), counters=ocp.args.JsonSave(counters)),
        )
        if not is_begun:
            raise RuntimeError(f"checkpoint {updates} is older than {self.newest}; expected newer")

    def restore(self, like: Saved) -> Saved | None:
        """The newest that can be read; None if there is none at all.

        Newer ones that cannot be are moved to the folder `unreadable` beside.

        Args:
          like: what it is like; positions need not be known.

        Raises:
          ValueError: there are some, but none can be read; caused by what is wrong with the newest.
        """
        first: Exception | None = None
        steps = sorted(self._manager.all_steps(), reverse=True)
        for i, updates in enumerate(steps):
            try:
                found = self._read(updates, like)
            except Exception as error:  # whatever reading half a file may raise
                found, first = None, first or error
                text = f"checkpoint {updates} cannot be read: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            if all_agree(found is not None):
                self._put_aside(steps[:i])
                return found
        if steps:
            raise ValueError("no checkpoint can be read") from first
        return None

    def _read(self, updates: int, like: Saved) -> Saved:
        args = ocp.args.Composite(counters=ocp.args.JsonRestore())
        counters = self._manager.restore(updates, args=args)["counters"]
        # Not by the manager, in which processes wait for each other: one may find its own damaged.
        arrays = ArraysHandler().restore(self._folder / str(updates) / "run")
        positions = arrays.pop("positions")
        like = like._replace(positions=(), counters=())
        expected = names(like)
        has, needs = _kinds(arrays), _kinds(expected)
        if has != needs:
            raise ValueError(
                f"it has arrays of {sorted(has - needs)}, this run has {sorted(needs - has)} "
                "in their place"
            )
        leaves = [from_numpy(arrays[name], one) for name, one in expected.items()]
        saved: Saved = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return saved._replace(positions=positions, counters=counters)

    def _put_aside(self, steps: list[int]) -> None:
        if is_main():
            for updates in steps:
                aside = self._folder.with_name("unreadable")
                aside.mkdir(exist_ok=True)
                shutil.rmtree(aside / str(updates), ignore_errors=True)
                (self._folder / str(updates)).rename(aside / str(updates))
        if all_agree(True) and steps:  # when they are gone
            self._manager.reload()

    def wait(self) -> None:
        """Waits until what was begun is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends orbax's threads."""
        self._manager.close()


def _kinds(arrays: Mapping[str, Any]) -> set[str]:
    """Name, shape and type of each."""
    data = {name: to_numpy(x) for name, x in arrays.items()}
    return {f"{name} {x.shape} {x.dtype.str[1:]}" for name, x in data.items()}
