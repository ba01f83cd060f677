"""The package as a whole: its parts are all installed, and importing it does nothing."""

import configparser
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120
    )


def test_every_folder_of_the_source_is_a_listed_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    folders = sorted(path.parent for path in (ROOT / "src").rglob("__init__.py"))
    names = [".".join(("expedition", *f.relative_to(ROOT / "src").parts)) for f in folders]
    assert sorted(listed) == sorted(names)


ROOMS = ["losses", "exploration", "environments", "networks", "agents", "runtime"]
# Each room is the first that its process imports of the package; libraries are imported once.
IMPORT_EACH = """
import importlib, os, sys, traceback, warnings
import chex, dm_env, flax.linen, jax, optax, orbax.checkpoint, rich.progress, tensorboardX
sys.argv = ["notebook", "--no-such-flag"]

def import_it(room):
    assert not any(name.startswith("expedition") for name in sys.modules)
    importlib.import_module(f"expedition.{room}")
    from jax._src import xla_bridge
    assert not xla_bridge.backends_are_initialized()
    assert "dm_control" not in sys.modules

for room in ROOMS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy has threads, says Python 3.12; they survive it
        child = os.fork()
    if not child:
        try:
            import_it(room)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(room, os.waitpid(child, 0)[1])
"""


def test_importing_a_room_touches_no_device_and_reads_no_arguments():
    result = run(IMPORT_EACH.replace("ROOMS", str(ROOMS)))
    assert result.stdout.splitlines() == [f"{room} 0" for room in ROOMS], result.stderr


def test_the_bounds_that_today_needs_are_declared():
    declared = requires("expedition")
    assert any(line.startswith("mujoco") and "<4" in line for line in declared)
    for name in ("dm-control", "mujoco"):
        (line,) = [line for line in declared if line.startswith(name)]
        assert 'python_version < "3.13"' in line


def test_the_floors_hold():
    pytest.importorskip("importlinter")
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
