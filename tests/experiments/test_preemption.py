"""A run that is killed again and again ends like one that never was."""

import pytest

pytest.importorskip("matplotlib")

from benchmarks.preemption import Settings, survive


@pytest.mark.timeout(600)
def test_nothing_is_lost_by_kills_at_random_moments_in_a_save_and_in_the_evaluation(tmp_path):
    found = survive(Settings(kills=3, longest=12.0, updates=157), tmp_path)
    assert found.is_equal, "\n".join(found.lines)
    for number in ("SIGKILL", "SIGTERM"):
        assert any(f"{number} in a save" in line for line in found.lines)
    assert sum("in the evaluation" in line for line in found.lines) == 2
    assert found.updates == sorted(found.updates)
