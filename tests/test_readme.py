"""The README's examples run as they stand."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
# The example that loads a run has its own test: it needs one.
EXAMPLES = [
    code for code in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "import load" not in code
]


def test_there_are_examples():
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.split("\n")[0])
def test_the_example_runs(code, capsys):
    if "dm_control" in code:
        pytest.importorskip("dm_control")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out
