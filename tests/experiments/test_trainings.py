"""Trainings compared: what differs between them, what a sweep leaves, what is drawn of it."""

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from matplotlib.figure import Figure

from expedition.runtime import TrainResult
from experiments import comparison, figures, lag, training_plots, trainings
from experiments.config import differences
from experiments.curves import Curves, read
from experiments.sweep import SettingsError
from experiments.trainings import FREE, Point, Training, settings

ROWS = 32 * 20  # of an update


def point(updates, training_return, **others):
    """What a row has after its curve."""
    values = {
        "updates": updates,
        "env_steps": ROWS * updates,
        "seconds": updates / 10,
        "training_return": training_return,
        "lag_mean": 1.0,
        "lag_max": 2.0,
        "steps_per_second": 6400.0,
        "final_return": 0.5,
    }
    return tuple((values | others).values())


def test_methods_differ_in_nothing_else():
    def made(method, lag=5, **others):
        return settings(Training("catch", method, lag, 0), total_steps=None, actors=1, **others)

    impala = made("impala")
    assert differences(impala, made("uncorrected")) == ["correction was vtrace, none is given"]
    assert differences(impala, made("a3c")) == [
        "algorithm was impala, a3c is given",
        "correction was vtrace, none is given",
    ]
    assert differences(impala, made("impala", 25)) == ["policy_lag was 5, 25 is given"]
    assert differences(made("a2c", 0), made("uncorrected", 0)) == []
    with pytest.raises(ValueError, match="lag of a2c is 5; expected 0"):
        made("a2c")
    with pytest.raises(ValueError, match="method is 'ppo'; expected impala or"):
        made("ppo")


def test_those_that_run_freely_have_a_batch_each_and_those_in_turn_share_one():
    free, turns = (
        settings(Training("catch", method, lag, 0), total_steps=ROWS, actors=2).runtime
        for method, lag in (("impala", FREE), ("a2c", 0))
    )
    assert not free.deterministic
    assert free.environments_per_actor == free.batch_size == 32
    assert turns.deterministic
    assert turns.policy_lag == 0
    assert turns.environments_per_actor == 16
    assert free.num_updates == turns.num_updates == 1


def test_a_sweep_of_lags_leaves_curves_and_pictures(tmp_path):
    config = lag.Config(
        out=tmp_path, lags=(2,), methods=("uncorrected",), seeds=(0,), total_steps=5 * ROWS
    )
    lag.run(config)
    points = read(tmp_path / "lag.csv", Point)
    assert [p.updates for p in points] == [1, 2, 3, 4, 5]
    assert [p.lag_max for p in points] == [0, 1, 2, 2, 2]  # there are no older ones at first
    assert all(-1 <= p.final_return <= 1 and p.steps_per_second > 0 for p in points)
    assert np.mean([abs(p.training_return) for p in points]) <= 1
    for name in ("lag.png", "lag_curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "lag.csv").read_text()
    lag.run(config)  # nothing is missing
    assert (tmp_path / "lag.csv").read_text() == before


def test_a_comparison_in_miniature(tmp_path, capsys):
    methods = ("a2c", "a3c")
    comparison.run(
        comparison.Config(out=tmp_path, methods=methods, seeds=(0,), total_steps=4 * ROWS)
    )
    assert capsys.readouterr().out.count("| 1 |") == 2  # a row a method, of one seed
    points = read(tmp_path / "comparison.csv", Point)
    assert {p.curve.method: p.curve.lag for p in points} == {"a2c": 0, "a3c": -1}
    assert {p.lag_max for p in points if p.curve.method == "a2c"} == {0}
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopped_sweep_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    seen = []

    def measure(config):
        seen.append((config.agent.correction, config.seed))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return [point(1, 0.0)]

    monkeypatch.setattr(trainings, "measure", measure)
    config = lag.Config(
        out=tmp_path, lags=(1,), methods=("impala", "uncorrected"), seeds=(0, 1), total_steps=ROWS
    )
    with pytest.raises(KeyboardInterrupt):
        lag.run(config)
    lag.run(config)
    assert seen == [("vtrace", 0), ("none", 0), ("none", 0), ("vtrace", 1), ("none", 1)]
    assert len(read(tmp_path / "lag.csv", Point)) == 4


def test_what_a3c_cannot_learn_is_refused_before_anything_is_trained(tmp_path):
    config = comparison.Config(environment="atari:pong", out=tmp_path / "sweep")
    with pytest.raises(SettingsError, match="leave a3c out of the methods"):
        comparison.run(config)


def test_a_signal_ends_a_sweep(monkeypatch):
    stopped = TrainResult(None, {}, None, "stopped by SIGTERM")
    monkeypatch.setattr(trainings, "train", lambda *_, **__: stopped)
    training = Training("catch", "impala", 1, 0)
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
        trainings.measure(settings(training, total_steps=ROWS, actors=1))


def test_curves_are_medians_over_seeds_between_the_least_and_the_largest():
    curves = {
        Training("catch", "impala", 1, seed): [
            Point(None, *point(updates, value + slope * updates)) for updates in (10, 20, 30)
        ]
        for seed, (value, slope) in enumerate([(0.0, 0.01), (1.0, 0.0), (-1.0, 0.0)])
    }
    # An episode ended in no such part: what is between its neighbours.
    curves[Training("catch", "impala", 1, 0)][1] = Point(None, *point(20, float("nan")))
    axes = Figure().add_subplot()
    training_plots._curves(axes, curves, "updates")
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), 0.01 * line.get_xdata(), atol=1e-9)
    (band,) = axes.collections
    assert {round(float(y), 6) for y in band.get_paths()[0].vertices[:, 1]} == {-1.0, 1.0}


def test_pictures_are_redrawn_from_tables_alone(tmp_path, capsys):
    folder = tmp_path / "lag"
    folder.mkdir()
    table = Curves(folder / "lag.csv", 2, Point)
    for method, final in (("impala", 1.0), ("uncorrected", 0.25)):
        for at in (0, 100):
            training = Training("catch", method, at, 0)
            table.add(training, [point(n, final, final_return=final) for n in (1, 2)])
    figures.redraw((tmp_path,))
    drawn = capsys.readouterr().out.split()
    assert drawn == [str(folder / name) for name in ("lag.png", "lag_curves.png")]
    *_, last = training_plots.summary(folder / "lag.csv").splitlines()
    assert last.startswith("| no correction | 1.0 (2) | 1 | 0.25 (0.25 to 0.25) | 0.25")


@pytest.mark.parametrize(
    ("kind", "wrong"), [(lag, {"lags": ()}), (lag, {"seeds": ()}), (comparison, {"methods": ()})]
)
def test_empty_sweeps_are_refused(kind, wrong):
    with pytest.raises(ValueError, match="is empty; expected some of each"):
        kind.Config(**wrong)
