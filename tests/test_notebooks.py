"""The notebooks run from their first cell to their last, and are kept with what they show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
for cell in notebook.cells:
    if cell.cell_type == "code":
        cell.outputs = []
settings = {"metadata": {"path": sys.argv[2]}}
nbclient.NotebookClient(notebook, timeout=240, resources=settings).execute()
nbformat.write(notebook, sys.argv[3])
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, tmp_path):
    """In a process of its own: other tests leave an event loop in this one, and a matplotlib
    backend without pictures in its environment (importing EnvPool sets MPLBACKEND)."""
    pytest.importorskip("nbclient")
    pytest.importorskip("nbformat")
    run = tmp_path / "run.ipynb"
    environ = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    command = [sys.executable, "-c", RUN, str(path), str(FOLDER), str(run)]
    subprocess.run(command, check=True, env=environ)
    assert '"image/png"' in run.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_small_and_shows_its_pictures(path):
    text = path.read_text()
    assert '"image/png"' in text
    assert len(text) < 150_000
