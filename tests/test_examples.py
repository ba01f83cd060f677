"""The examples of docs/extending.md: each a file of at most 60 lines that does what it says."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "examples"


def run(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_takes_sixty_lines(path):
    assert len(path.read_text().splitlines()) <= 60


def test_impala_learns_to_stay_on_the_ledge():
    # Chance falls off after 17 steps on average; the best policy stays 99.8.
    assert max(run("environment")) > 60


def test_labour_is_divided():
    # Optimists all go the same way; with one agent for each unknown all are found out.
    returns = run("exploration")
    assert returns["divided_labour"] > returns["concurrent_ucrl"] + 0.5


def test_reinforce_learns_catch():
    assert run("algorithm")[-1] > 0.9
