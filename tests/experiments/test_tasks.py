"""The table's rows: what they compare, and what they leave."""

import dataclasses

import pytest

pytest.importorskip("matplotlib")

from experiments import figures, tasks
from experiments.curves import read
from experiments.impala import EXPERIMENT, preset
from experiments.trainings import Point


def test_the_memory_row_differs_in_memory_alone():
    compared = tasks.settings("memory")
    assert compared["lstm"].lstm
    assert dataclasses.replace(compared["lstm"], lstm=None) == compared["feedforward"]


def test_the_row_of_cartpole_is_the_command_without_flags():
    (config,) = tasks.settings("cartpole").values()
    assert config == EXPERIMENT.parse([])


@pytest.mark.parametrize("task", ["swingup", "reacher"])
def test_the_rows_of_control_have_real_actions(task):
    (config,) = tasks.settings(task).values()
    assert config.action_bins is None
    assert config.agent.max_abs_reward is None


def test_a_row_in_miniature(tmp_path, capsys):
    config = tasks.Config(task="memory", out=tmp_path / "row", seeds=(0,), total_steps=1280)
    tasks.run(config)
    table = tmp_path / "row" / "tasks.csv"
    points = read(table, Point)
    assert [point.curve.method for point in points] == ["lstm"] * 2 + ["feedforward"] * 2
    assert {point.curve.environment for point in points} == {"memory_chain:10"}
    before = table.read_text()
    tasks.run(config)  # nothing is missing
    assert table.read_text() == before
    (tmp_path / "row" / "tasks.png").unlink()
    figures.redraw((tmp_path,))
    assert capsys.readouterr().out.split()[-1] == str(tmp_path / "row" / "tasks.png")


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="seeds is empty; expected at least one"):
        tasks.Config(task="memory", seeds=())


def test_every_kind_of_environment_has_settings_that_fit():
    assert preset("memory_chain:3").lstm
    assert preset("envpool:ReacherEasy-v1").action_bins is None
