"""The newest state of a simulation under way, on disk: a stop loses no more than a minute of it."""

import shutil
import time
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from experiments.sweep import SettingsError

SECONDS = 60.0  # between two


class Snapshots:
    """Snapshots of one simulation, of which the newest whole one stays.

    Args:
      folder: theirs alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=False,  # the next step donates what is saved
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._next = time.monotonic() + SECONDS

    def save(self, step: int, tree: Any) -> None:
        """Writes arrays if the last were written long enough ago."""
        if time.monotonic() >= self._next:
            self._manager.save(step, args=ocp.args.StandardSave(tree))
            self._next = time.monotonic() + SECONDS

    def load(self, like: Any) -> tuple[int, Any]:
        """The newest step and its arrays; 0 and `like` if there is none.

        Args:
          like: arrays of the same shapes, types and shardings.

        Raises:
          SettingsError: it cannot be read, or is of another program.
        """
        step = self._manager.latest_step()
        if step is None:
            return 0, like
        try:
            return step, self._manager.restore(step, args=ocp.args.StandardRestore(like))
        except (ValueError, OSError) as error:
            raise SettingsError(
                f"{self._folder} holds a simulation under way that cannot be read; remove it to "
                f"begin that one again: {error}"
            ) from error

    def remove(self) -> None:
        """Removes them: the simulation has come to its end."""
        self._manager.close()
        shutil.rmtree(self._folder)
