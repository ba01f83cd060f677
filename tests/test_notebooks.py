"""The notebooks run from their first cell to their last, and are kept with what they show."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs = []
    settings = {"metadata": {"path": FOLDER}}
    nbclient.NotebookClient(notebook, timeout=240, resources=settings).execute()
    shown = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", ()) for output in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_small_and_shows_its_pictures(path):
    text = path.read_text()
    assert '"image/png"' in text
    assert len(text) < 150_000
