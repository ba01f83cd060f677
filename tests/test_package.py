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


@pytest.mark.parametrize(
    "room", ["losses", "exploration", "environments", "networks", "agents", "runtime"]
)
def test_importing_a_room_touches_no_device_and_reads_no_arguments(room):
    script = f"""
import sys
sys.argv = ["notebook", "--no-such-flag"]
import expedition.{room}
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
assert "dm_control" not in sys.modules
"""
    result = run(script)
    assert result.returncode == 0, result.stderr


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
