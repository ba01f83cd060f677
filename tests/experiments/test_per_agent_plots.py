"""Regret against the number of agents: its slope in closed form, and the picture of all sweeps."""

import math

import pytest

from experiments import figures, per_agent_plots
from experiments.sweep import Row

HEADER = "algorithm,agents,mean_regret,standard_error,instances,seconds\n"


def rows(regret, agents=(1, 3, 10, 100)):
    return [Row("seed_td", k, regret(k), 0.1, 8, 1.0) for k in agents]


@pytest.mark.parametrize("power", [-0.5, -1.0, 0.0])
def test_a_power_law_has_its_exponent(power):
    assert per_agent_plots.exponent(rows(lambda k: 7 * k**power)) == pytest.approx(power, abs=1e-12)


def test_between_two_teams_the_exponent_is_that_of_their_ratio():
    """Of a hundred agents each has a sixteenth of the regret of one."""
    two = rows({1: 32.0, 100: 2.0}.get, (1, 100))
    assert per_agent_plots.exponent(two) == pytest.approx(-math.log(16) / math.log(100))


def test_there_is_no_exponent_of_one_team_nor_of_no_regret():
    assert math.isnan(per_agent_plots.exponent(rows(lambda k: 5.0, (10,))))
    assert math.isnan(per_agent_plots.exponent(rows({1: 5.0, 10: 0.0}.get, (1, 10))))


def test_all_sweeps_of_a_folder_are_in_one_picture_that_is_redrawn(tmp_path):
    for name, table in (("chains", "bipolar_chain"), ("sea", "regret")):
        (tmp_path / name).mkdir()
        lines = [f"seed_lsvi,{k},{8 / k},0.1,8,1\n" for k in (1, 2, 4)]
        (tmp_path / name / f"{table}.csv").write_text(HEADER + "".join(lines))
    figures.redraw((tmp_path,))
    drawn = tmp_path / "regret" / "regret.png"
    assert 10_000 < drawn.stat().st_size < 200_000
    assert per_agent_plots.summary(tmp_path).splitlines() == [
        "bipolar chain    seed LSVI             -1.00  K 1 to 4",
        "deep sea         seed LSVI             -1.00  K 1 to 4",
    ]
    assert per_agent_plots.draw(tmp_path / "nothing") == []
