"""Figure 2 from end to end on a small scale, and what it draws."""

import dataclasses

import jax
import numpy as np
import pytest

from expedition.environments import bipolar_chain
from experiments import figure2, regret_plots, sweep
from experiments.sweep import Precision, Row, Table, read

COLUMNS = "algorithm,agents,mean_regret,standard_error,instances,seconds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tables and pictures of a sweep with one number of agents."""
    out = tmp_path_factory.mktemp("sweep") / "figure2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure2, "AGENTS", {"bipolar_chain": (2,), "parallel_chains": (10,)})
        precision = Precision(at_least=8, at_most=8)
        figure2.run(figure2.Config(out=out, precision=precision))
    return out


def test_tables_and_pictures_are_written(folder):
    for name in ("bipolar_chain", "parallel_chains"):
        assert (folder / f"{name}.csv").read_text().splitlines()[0] == COLUMNS
        rows = read(folder / f"{name}.csv")
        assert {row.algorithm for row in rows} == set(figure2.ALGORITHMS)
        assert all(row.instances >= 8 and np.isfinite(row.mean) for row in rows)
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "slopes.png").stat().st_size < 200_000


def test_the_comparison_names_every_published_value_that_was_measured(folder):
    text = regret_plots.comparison(folder)
    assert text.count("ratio ") == 10
    assert "bipolar chain: " in text
    assert "parallel chains: " in text


def test_met_means_within_ten_percent_or_two_standard_errors():
    def met(mean, error):
        return regret_plots._is_met(Row("seed_td", 1, mean, error, 1, 1.0), 10.0)

    assert met(10.99, 0)
    assert not met(11.01, 0)
    assert met(11.9, 1)
    assert not met(8.0, 0.9)


def test_pictures_are_redrawn_from_the_tables_alone(folder, tmp_path):
    for name in ("bipolar_chain", "parallel_chains"):
        (tmp_path / f"{name}.csv").write_text((folder / f"{name}.csv").read_text())
    drawn = regret_plots.draw(tmp_path)
    assert {path.name for path in drawn} == {
        "bipolar_chain.png",
        "parallel_chains.png",
        "slopes.png",
    }
    assert regret_plots.draw(tmp_path / "nothing") == []


@pytest.mark.parametrize("algorithm", figure2.ALGORITHMS)
def test_regret_falls_with_the_number_of_agents(algorithm):
    """On a small problem; with Thompson resampling it does so slowly."""
    problem = bipolar_chain(8)
    short = dataclasses.replace(figure2.BIPOLAR, horizon=30, lsvi_horizon=8)

    def regret(agents):
        agent = figure2.make_agent(algorithm, problem, short, agents)
        keys = jax.random.split(jax.random.key(1), 64)
        run = jax.jit(lambda k: figure2.mean_regret(agent, problem, agents, 30.0, k))
        return np.asarray(run(keys))

    few, many = regret(1), regret(24)
    assert (few > -1e-4).all()  # nobody beats the optimum
    assert many.mean() < few.mean()
    assert (many > -1e-4).all()


def test_a_complete_sweep_measures_nothing_again(folder, monkeypatch):
    before = (folder / "bipolar_chain.csv").read_text()
    monkeypatch.setattr(figure2, "AGENTS", {"bipolar_chain": (2,), "parallel_chains": (10,)})
    monkeypatch.setattr(sweep, "batches", None)  # it would raise
    figure2.run(figure2.Config(out=folder, precision=Precision(at_least=8, at_most=8)))
    assert (folder / "bipolar_chain.csv").read_text() == before


def test_a_table_without_rows_is_not_drawn(tmp_path):
    Table(tmp_path / "bipolar_chain.csv", "mean_regret")
    assert regret_plots.draw(tmp_path) == []


def test_bad_settings_end_in_one_line_and_touch_nothing(tmp_path, monkeypatch, capsys):
    out = tmp_path / "sweep"
    monkeypatch.setattr("sys.argv", ["figure2", "--out", str(out), "--bipolar.horizon", "0"])
    with pytest.raises(SystemExit) as end:
        figure2.main()
    assert end.value.code == 2
    assert "horizon" in capsys.readouterr().err
    assert not out.exists()
