"""The launch files are shell that parses, and give the command flags that it has."""

import contextlib
import io
import re
import subprocess
from pathlib import Path

import pytest

from experiments.impala import EXPERIMENT

LAUNCH = Path(__file__).parents[2] / "experiments" / "launch"
OTHERS = {"--cpus-per-task", "--zone", "--worker", "--command"}  # of srun and gcloud
FILES = sorted(LAUNCH.iterdir())


def flags(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_flags_are_those_of_the_command(path):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        EXPERIMENT.parse(["--help"])
    lines = [x for x in path.read_text().splitlines() if not x.startswith("#")]
    given = flags("\n".join(lines)) - OTHERS
    assert {"--platform", "--processes"} <= given <= flags(shown.getvalue())


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".sh"], ids=lambda p: p.name)
def test_it_is_shell(path):
    subprocess.run(["bash", "-n", path], check=True)
