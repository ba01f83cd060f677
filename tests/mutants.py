"""Deliberate mistakes, each of which the tests must catch: `python tests/mutants.py`.

A mutant replaces one piece of the source in a copy of the package, and runs a few tests on the
copy. It is killed if a test fails by assertion. A mutant that survives shows a mistake that the
tests would let pass; one that breaks (no import, an exception) shows nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
COPY_VARIABLE = "EXPEDITION_MUTANT_COPY"
PROCESSES = 2
TIMEOUT_S = 560

KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"
OUTCOMES = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: KILLED}


def kill(mutant: Mutant) -> str:
    """Runs a mutant's tests on a mutated copy of the package: "killed", "survived", "broken"."""
    return _run(mutant.tests, mutant)


def control(mutants: Sequence[Mutant] = MUTANTS) -> str:
    """Runs the mutants' tests on an unmutated copy, where they must pass: "survived"."""
    return _run(sorted({test for mutant in mutants for test in mutant.tests}), None)


def _run(tests, mutant):
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "expedition"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant:
            _mutate(copy / mutant.file, mutant)
        paths = [directory, str(Path(__file__).parent)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), COPY_VARIABLE: directory}
        options = ["-x", "-q", "-p", "mutants", "-p", "no:cacheprovider"]
        process = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    outcome = OUTCOMES.get(process.returncode, BROKEN)
    return outcome if outcome != BROKEN else f"{BROKEN}:\n{process.stdout}{process.stderr}"


def _mutate(path, mutant):
    source = path.read_text()
    count = source.count(mutant.old)
    if count != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} occurs {count} times in {mutant.file}.")
    path.write_text(source.replace(mutant.old, mutant.new))


def pytest_configure():
    """As a plugin of the tests of a copy: refuses to run them on any other package."""
    import expedition

    if not Path(expedition.__file__).is_relative_to(os.environ[COPY_VARIABLE]):
        pytest.exit(f"imported {expedition.__file__}, not the copy", pytest.ExitCode.USAGE_ERROR)


def pytest_exception_interact(call):
    """As a plugin of the tests of a copy: only a failed assertion counts as a failed test."""
    if not isinstance(call.excinfo.value, AssertionError | pytest.fail.Exception):
        pytest.exit(f"not an assertion: {call.excinfo!r}", pytest.ExitCode.INTERNAL_ERROR)


def main() -> int:
    """Prints each mutant's outcome; returns 1 if one is not killed or the control fails."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        control_outcome = pool.submit(control)
        outcomes = list(pool.map(kill, MUTANTS))
    for mutant, outcome in zip(MUTANTS, outcomes, strict=True):
        print(f"{mutant.name:54} {mutant.file:28} {outcome}")
    print(f"{'control: no mutation':83} {control_outcome.result()}")
    alive = [outcome for outcome in outcomes if outcome != KILLED]
    return int(bool(alive) or control_outcome.result() != SURVIVED)


if __name__ == "__main__":
    sys.exit(main())
