"""Figure 3, in miniature."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("dm_control")

from experiments import figure3, swingup_plots
from experiments.curves import HEADER, Curve, Curves, read
from experiments.figure3 import Config, Constants, make_agent, run, turns
from experiments.sweep import SettingsError

TINY = Constants(hidden=(4,), batch_size=2, turns=2)


def tiny(out, **settings):
    settings = {"agents": (4,), "goals": ("scaled",), "instances": 3, "seconds": 1.0} | settings
    return Config(out=out, constants=TINY, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure3")
    run(tiny(folder))
    return folder


def test_a_sweep_writes_every_curve_and_picture(whole):
    lines = (whole / "swingup.csv").read_text().splitlines()
    assert lines[0].split(",") == HEADER
    assert lines[0] == "agents,algorithm,goal,instance,second,mean_reward"
    points = read(whole / "swingup.csv")
    assert len(points) == 2 * 3 * 2  # algorithms, instances, half seconds
    assert {point.second for point in points} == {0.5, 1.0}
    assert all(-0.1 <= point.mean_reward <= 0 for point in points)
    of_seed_td = {p.mean_reward for p in points if p.curve.algorithm == "seed_td"}
    assert len(of_seed_td) > 3  # instances differ
    for name in ("swingup_scaled.png", "team.gif", "config.json", "provenance.json"):
        assert (whole / name).stat().st_size > 0
    team = np.load(whole / "team_seed_td_4_scaled.npz")
    assert team["angle"].shape == team["position"].shape == (10, 4)
    np.testing.assert_allclose(team["angle"][0], np.pi, atol=0.1)


def test_a_stopped_sweep_goes_on_to_the_same_end(whole, tmp_path, monkeypatch):
    def stop_at_the_third(self, curve, points):
        if curve.instance == 2:
            raise KeyboardInterrupt
        return add(self, curve, points)

    add = Curves.add
    monkeypatch.setattr(Curves, "add", stop_at_the_third)
    config = tiny(tmp_path, algorithms=("dqn",))
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(Curves, "add", add)
    assert {point.curve.instance for point in read(tmp_path / "swingup.csv")} == {0, 1}
    run(config)
    expected = [p for p in read(whole / "swingup.csv") if p.curve.algorithm == "dqn"]
    assert sorted(read(tmp_path / "swingup.csv")) == sorted(expected)


def test_what_a_stop_left_of_a_curve_is_removed(tmp_path):
    path = tmp_path / "swingup.csv"
    first, second = (Curve(4, "dqn", "scaled", i) for i in range(2))
    table = Curves(path, 2)
    table.add(first, [(0.5, -0.01), (1.0, 0.25)])
    with pytest.raises(ValueError, match="a curve of 1 points was given; expected 2"):
        table.add(second, [(0.5, -0.02)])
    table.add(second, [(0.5, -0.02), (1.0, 0.125)])
    whole = path.read_text()
    path.write_text(whole[: whole.index("0.125") + 3])
    assert Curves(path, 2).done == {first}
    assert [(p.second, p.mean_reward) for p in read(path)] == [(0.5, -0.01), (1.0, 0.25)]


def test_another_config_in_the_same_folder_is_refused(whole):
    with pytest.raises(SettingsError, match="seconds"):
        run(tiny(whole, seconds=2.0))


def test_the_actor_learner_runs_it_too(tmp_path):
    run(tiny(tmp_path, environment="dm_control", instances=1))
    points = read(tmp_path / "swingup.csv")
    assert [point.second for point in points] == [0.5, 1.0] * 2
    assert all(-0.1 <= point.mean_reward <= 0 for point in points)
    for algorithm in ("seed_td", "dqn"):
        team = np.load(tmp_path / f"team_{algorithm}_4_scaled.npz")
        assert team["angle"].shape == (10, 4)


@pytest.mark.parametrize("k", [10, 30, 100, 300])
def test_both_algorithms_have_one_budget_of_gradient_steps(k, monkeypatch):
    """As many for each model as actions of agents: here, a period has as many updates as turns."""
    made = []
    monkeypatch.setattr(figure3, "seed_ensemble", lambda config, *_, **__: made.append(config))
    monkeypatch.setattr(figure3, "dqn", lambda config, *_: made.append(config.learner))
    for algorithm in ("seed_td", "dqn"):
        make_agent(algorithm, k, Config())
    assert [config.steps * turns(k, Constants()) for config in made] == [k, k]
    assert [config.num_models for config in made] == [min(k, 30), 1]
    assert {(config.batch_size, config.capacity) for config in made} == {(16, 3000 * k)}


def test_the_comparison_names_what_was_published(whole):
    text = swingup_plots.comparison(whole)
    assert "seed TD" in text
    assert ".5 never" in text
    theirs = swingup_plots.published()
    assert theirs["seed_td", 300][-1] == (29.8, 0.92)
    assert figure3.QUICK_AGENTS == (30, 100)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"agents": ()}, "empty"),
        ({"instances": 0}, "empty"),
        ({"seconds": 0.1}, "seconds is 0.1"),
        ({"agents": (25,)}, "25 agents"),
        ({"agents": (500,)}, "500 agents in 10 turns share 30 models"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Config(**wrong)


def test_wrong_constants_are_refused():
    with pytest.raises(ValueError, match="turns is 0"):
        Constants(turns=0)
    with pytest.raises(ValueError, match=r"discount is 1\.0; expected below 1"):
        Constants(discount=1.0)
    assert Constants(discount=1.0, bounded=False).discount == 1.0
