"""What the compiler makes of the main programs is what was recorded: no clock, and no noise.

Recorded by `python -m benchmarks.programs --record`; see docs/benchmarks.md.
"""

import json

import pytest

from benchmarks import programs
from compilation import FOR_USERS

RECORDED = json.loads(programs.RECORD.read_text())
TOLERANCE = 0.15  # machines and patch releases differ by a few percent


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_a_main_program_is_what_it_was(name, monkeypatch):
    monkeypatch.setattr(programs, "NO_CODE", programs.NO_CODE | FOR_USERS)
    newest = max(RECORDED, key=lambda version: [int(part) for part in version.split(".")])
    expected = RECORDED.get(programs.version(), RECORDED[newest])[name]
    found = programs.counts(programs.PROGRAMS[name]())
    assert found["loops"] == expected["loops"]
    assert found == pytest.approx(expected, rel=TOLERANCE)


def test_the_gradient_of_vtrace_adds_no_loop():
    assert all(version["V-trace loss and gradient"]["loops"] == 1 for version in RECORDED.values())
