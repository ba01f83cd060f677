"""Figure 3, in miniature."""

import os
import signal

import jax
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("dm_control")

import orbax.checkpoint as ocp

from experiments import figure3, snapshots, swingup_agents, swingup_plots
from experiments.curves import HEADER, Curve, Curves, read
from experiments.figure3 import Config, run
from experiments.snapshots import Snapshots
from experiments.sweep import SettingsError
from experiments.swingup_agents import Constants, constants_of, make_agent

TINY = Constants(hidden=(4,), batch_size=4, turns=2, steps=2)


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
    assert len(points) == 3 * 3 * 2  # algorithms, instances, half seconds
    assert {point.second for point in points} == {0.5, 1.0}
    assert all(-0.1 <= point.mean_reward <= 0 for point in points)
    of_seed_td = {p.mean_reward for p in points if p.curve.algorithm == "seed_td"}
    assert len(of_seed_td) > 3  # instances differ
    pictures = ("swingup_scaled.png", "visits_seed_td_4_scaled.png", "team.gif")
    for name in (*pictures, "config.json", "provenance.json"):
        assert (whole / name).stat().st_size > 0
    team = swingup_plots.read_team(whole / "team_seed_td_4_scaled.npz")
    assert team["angle"].shape == team["position"].shape == (10, 4)
    np.testing.assert_allclose(abs(team["angle"][0]), np.pi, atol=0.1)


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


@pytest.mark.parametrize("looks", [1, 7])
def test_a_simulation_goes_on_from_its_snapshot(looks, whole, tmp_path, monkeypatch):
    simulated = []

    def stop_in_time(self, step, tree):
        save(self, step, tree)
        simulated.append(step)
        if len(simulated) == looks:
            raise KeyboardInterrupt

    save = Snapshots.save
    monkeypatch.setattr(snapshots, "SECONDS", 0.0)
    monkeypatch.setattr(Snapshots, "save", stop_in_time)
    config = tiny(tmp_path, algorithms=("seed_td",))
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert read(tmp_path / "swingup.csv") == []
    run(config)
    assert simulated == [*range(1, 11)]
    expected = [p for p in read(whole / "swingup.csv") if p.curve.algorithm == "seed_td"]
    assert sorted(read(tmp_path / "swingup.csv")) == sorted(expected)
    name = "team_seed_td_4_scaled.npz"
    team, unbroken = (swingup_plots.read_team(folder / name) for folder in (tmp_path, whole))
    for field in unbroken:
        np.testing.assert_array_equal(team[field], unbroken[field])
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_snapshot_of_another_program_is_refused(tmp_path):
    one = Snapshots(tmp_path / "one")
    assert one.load({"x": np.zeros(2)}) == (0, {"x": pytest.approx(np.zeros(2))})
    one._manager.save(3, args=ocp.args.StandardSave({"x": np.ones(2)}))
    step, tree = Snapshots(tmp_path / "one").load({"x": np.zeros(2)})
    assert (step, tree["x"].tolist()) == (3, [1, 1])
    with pytest.raises(SettingsError, match="remove it to begin"):
        Snapshots(tmp_path / "one").load({"y": np.zeros(2)})


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
    assert [point.second for point in points] == [0.5, 1.0] * 3
    assert all(-0.1 <= point.mean_reward <= 0 for point in points)
    for algorithm in ("seed_td", "seed_td_printed", "dqn"):
        team = swingup_plots.read_team(tmp_path / f"team_{algorithm}_4_scaled.npz")
        assert team["angle"].shape == (10, 4)


def test_a_signal_to_the_actor_learner_leaves_no_part_of_a_curve(tmp_path, monkeypatch):
    looks = []

    def stop_at_the_first(self, look):
        looks.append(look)
        if len(looks) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(figure3.Watcher, "__call__", stop_at_the_first)
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
        run(tiny(tmp_path, environment="dm_control", algorithms=("dqn",), seconds=30.0))
    assert read(tmp_path / "swingup.csv") == []
    assert not list(tmp_path.glob("team*"))


def test_an_instance_does_not_depend_on_those_beside_it(whole, tmp_path, monkeypatch):
    """All three were simulated at once, on a device each; here two on one, then another."""
    monkeypatch.setattr(figure3, "instances_at_once", lambda: 2)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    run(tiny(tmp_path, algorithms=("seed_td",)))
    expected = [p for p in read(whole / "swingup.csv") if p.curve.algorithm == "seed_td"]
    assert sorted(read(tmp_path / "swingup.csv")) == sorted(expected)


@pytest.fixture
def made(monkeypatch):
    """What agents were asked for."""
    made = []
    monkeypatch.setattr(
        swingup_agents, "seed_ensemble", lambda config, *_, **__: made.append(config)
    )
    monkeypatch.setattr(swingup_agents, "dqn", lambda config, *_: made.append(config.learner))
    return made


@pytest.mark.parametrize(("k", "models"), [(10, 10), (30, 20), (100, 20), (300, 30)])
def test_both_algorithms_have_one_budget_of_gradient_steps(k, models, made):
    """A period has as many updates as turns."""
    for algorithm in ("seed_td", "dqn"):
        make_agent(algorithm, k, constants_of(algorithm, k, Constants()), 30.0)
    assert [config.steps * 10 for config in made] == [50, 50]
    assert [(config.num_models, config.networks) for config in made] == [(models, 2), (1, 1)]
    assert made[0].minibatch == made[1].minibatch
    assert {(config.minibatch.size, config.capacity) for config in made} == {(32, 3000 * k)}
    assert made[0].value_range == pytest.approx((-10, 100))
    assert (made[1].prior_scale, made[1].noise_variance) == (0, 0)


@pytest.mark.parametrize("k", [10, 30, 100, 300])
def test_the_printed_constants(k, made):
    algorithm = "seed_td_printed"
    make_agent(algorithm, k, constants_of(algorithm, k, Constants(prior_scale=1.0)), 30.0)
    (config,) = made
    assert (config.num_models, config.networks, config.steps * 10) == (min(k, 30), 1, k)
    assert (config.prior_scale, config.noise_variance, config.learning_rate) == (3, 0.01, 1e-3)
    assert config.minibatch.counts == (16, 0, 0)
    assert (config.target_rate, config.double, config.value_range) == (1, False, None)


def test_no_two_agents_of_a_turn_share_a_model():
    for k in (4, 10, 50, 300):
        constants = constants_of("seed_td", k, Constants())
        assert swingup_agents.num_models("seed_td", k, constants) >= k // constants.turns


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
    with pytest.raises(ValueError, match="15 steps in 10 turns"):
        Constants(steps=15)
    assert Constants(discount=1.0, bounded=False).discount == 1.0
