"""Deliberate mistakes, each of which the tests must catch: `python tests/mutants.py`.

A mutant replaces one piece of the source in a copy of the package, and runs a few tests on the
copy. It is killed if a test fails by assertion. A mutant that survives shows a mistake that the
tests would let pass; one that breaks (no import, an exception) shows nothing.

Each runs in a process of its own, forked from one that has imported the libraries but nothing of
the package, and has not started JAX: that saves most of the time that a new process would take.
"""

import contextlib
import multiprocessing
import multiprocessing.pool
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
COPY_VARIABLE = "EXPEDITION_MUTANT_COPY"
PROCESSES = 2
TIMEOUT_S = 280  # less than pytest's own
# Libraries that most of the tests import; none of them starts threads of its own.
LIBRARIES = ["chex", "dm_env", "flax.linen", "jax", "optax", "orbax.checkpoint", "pytest", "rlax"]

KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"
OUTCOMES = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: KILLED}


def pool() -> multiprocessing.pool.Pool:
    """Where `kill` and `control` are to run: each call is a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context.Pool(PROCESSES, maxtasksperchild=1)


def outcome_of(waited_for: "multiprocessing.pool.AsyncResult[str]") -> str:
    """What came of it; "broken" after a time: a process that crashes says nothing."""
    try:
        return waited_for.get(TIMEOUT_S)
    except multiprocessing.TimeoutError:
        return f"{BROKEN}: nothing was heard for {TIMEOUT_S} s"


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
        sys.path[:0] = [directory, str(Path(__file__).parent)]
        os.environ[COPY_VARIABLE] = directory
        os.chdir(ROOT)
        options = ["-x", "-q", "-p", "no:cacheprovider"]
        output = Path(directory) / "output"
        with output.open("w") as file, contextlib.redirect_stdout(file):
            code = pytest.main([*options, *tests], plugins=[sys.modules[__name__]])
        outcome = OUTCOMES.get(code, BROKEN)
        return outcome if outcome != BROKEN else f"{BROKEN}:\n{output.read_text()}"


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
    import conftest  # noqa: F401  the environment variables of the tests, before JAX is imported

    with pool() as processes:
        waited_for = [processes.apply_async(kill, [mutant]) for mutant in MUTANTS]
        control_outcome = processes.apply_async(control)
        outcomes = [outcome_of(one) for one in waited_for]
        without_mutation = outcome_of(control_outcome)
    for mutant, outcome in zip(MUTANTS, outcomes, strict=True):
        print(f"{mutant.name:54} {mutant.file:28} {outcome}")
    print(f"{'control: no mutation':83} {without_mutation}")
    alive = [outcome for outcome in outcomes if outcome != KILLED]
    return int(bool(alive) or without_mutation != SURVIVED)


if __name__ == "__main__":
    sys.exit(main())
