"""The folder in which a run leaves its record."""

import dataclasses
import json
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from expedition.runtime.arrays import names

_LIBRARIES = ("expedition", "jax", "jaxlib", "flax", "optax", "numpy", "dm-control", "mujoco")


def create_run(folder: Path, config: Any) -> Path:
    """Makes the folder with its config.json, both at once, and points `latest` beside it at it.

    Raises:
      FileExistsError: the folder exists; nothing in it is touched.
    """
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists already; choose another --name, or go on with --resume {folder}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    new.chmod(0o755)
    write_json(new / "config.json", config)
    new.rename(folder)
    latest = folder.parent / "latest"
    if latest.is_symlink() or not latest.exists():
        new = folder / ".latest"  # moved into place at once: two runs may start together
        new.symlink_to(folder.name)
        new.replace(latest)
    return folder


def write_json(path: Path, content: Any) -> None:
    """Writes dataclasses, mappings and plain values as indented JSON."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2, default=str) + "\n")
    new.replace(path)  # at once: a crash leaves the old one or this


def save_arrays(path: Path, tree: Any) -> None:
    """Saves arrays under their paths in the tree, for `numpy.load`."""
    new = path.with_name(f".{path.name}")
    np.savez_compressed(new, **names(tree, separator="."))
    new.replace(path)  # at once: never half of it


def save_params(folder: Path, params: Any) -> None:
    """Saves parameters with orbax under `folder/params`, in place of what is there."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve() / "params", params, force=True)


def load_params(folder: Path, like: Any) -> Any:
    """Loads what `save_params` saved; `like` gives structure, shapes and types."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder.resolve() / "params", like)


def provenance() -> dict[str, Any]:
    """Versions, commit and machine: what a figure must carry to be believed."""
    return {
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(),
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "devices": [str(device) for device in jax.local_devices()],
        },
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _commit() -> str:
    """The working folder's git commit, with `+dirty` where it has changes; or `unknown`."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
