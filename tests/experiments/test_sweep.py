"""Sweeps: the precision asked for, what is written, and going on after a stop."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.report import Reporter
from experiments.sweep import (
    Precision,
    Row,
    Table,
    batches,
    fill,
    open_folder,
    read,
    standard_error,
)


def normal(keys):
    return 5 + jax.vmap(jax.random.normal)(keys)


def fill_one(path, cells, **changes):
    settings = {
        "title": "test",
        "key": jax.random.key(0),
        "precision": Precision(relative=0, absolute=0.1, at_least=16, at_most=10_000),
        "worlds_per_batch": lambda agents: 32,
    }
    with Reporter(cells=len(cells)) as report:
        fill(Table(path, "mean_number"), cells, report=report, **(settings | changes))
    return read(path)


def test_a_cell_is_measured_to_the_precision_and_no_further(tmp_path):
    (row,) = fill_one(tmp_path / "table.csv", [("normal", 3, normal)])
    assert (
        row.standard_error
        <= 0.1
        < row.standard_error * (row.instances / (row.instances - 32)) ** 0.5 * 1.15
    )
    assert abs(row.mean - 5) < 4 * row.standard_error
    assert 64 <= row.instances <= 192  # a standard deviation of 1 needs 100
    assert (row.algorithm, row.agents) == ("normal", 3)


def test_the_table_has_the_columns_of_its_number(tmp_path):
    fill_one(tmp_path / "table.csv", [("normal", 3, normal)])
    header = (tmp_path / "table.csv").read_text().splitlines()[0]
    assert header == "algorithm,agents,mean_number,standard_error,instances,seconds"


def test_worlds_have_the_same_keys_whatever_the_batch():
    numbers = [np.concatenate([next(b) for _ in range(n)]) for b, n in (
        (batches(normal, jax.random.key(3), 16), 3), (batches(normal, jax.random.key(3), 48), 1),
    )]  # fmt: skip
    np.testing.assert_array_equal(*numbers)
    assert len(set(numbers[0].tolist())) == 48


def test_a_batch_is_shared_among_all_devices():
    assert jax.local_device_count() == 8
    assert len(next(batches(normal, jax.random.key(0), 20))) == 24  # rounded up


def test_precision_stops_at_the_last_instance_and_not_before_the_first():
    noisy = np.array([-100.0, 100.0] * 8)
    assert Precision(at_least=1, at_most=16).reached(noisy)
    assert not Precision(at_least=1, at_most=17).reached(noisy)
    assert not Precision(at_least=17).reached(np.ones(16))
    assert Precision(at_least=16).reached(np.ones(16))
    assert Precision(relative=0.2, absolute=0, at_least=2).reached(np.array([9.0, 11.0, 10.0]))
    assert standard_error(np.array([1.0, 3.0])) == 1.0


def test_a_stopped_sweep_goes_on_after_its_last_row(tmp_path):
    def never(keys):
        raise AssertionError("measured again")

    path = tmp_path / "table.csv"
    first = fill_one(path, [("a", 1, normal)])
    both = fill_one(path, [("a", 1, never), ("b", 1, lambda keys: normal(keys) + 1)])
    assert both[0] == first[0]
    assert [(row.algorithm, row.agents) for row in both] == [("a", 1), ("b", 1)]


def test_a_row_survives_the_file(tmp_path):
    row = Row("seed_td", 100, 4.125, 0.0625, 512, 3.5)
    Table(tmp_path / "table.csv", "mean_regret").add(row)
    assert read(tmp_path / "table.csv") == [row]


def test_a_row_that_a_stop_cut_short_is_measured_again(tmp_path):
    path, rows = tmp_path / "table.csv", [Row("a", k, 4.125, 0.0625, 512, 3.5) for k in (1, 2)]
    for row in rows:
        Table(path, "mean_regret").add(row)
    path.write_text(path.read_text()[:-3])
    table = Table(path, "mean_regret")
    assert table.done == {("a", 1)}
    table.add(rows[1])
    assert read(path) == rows


@dataclass(frozen=True)
class Settings:
    out: Path
    seed: int = 0


@dataclass(frozen=True)
class Nested:
    inner: Settings


def test_another_config_is_refused_and_nothing_is_lost(tmp_path):
    folder = tmp_path / "sweep"
    open_folder(folder, Settings(folder))
    open_folder(folder, Settings(tmp_path / "link_to_it"))  # where it lies is no setting
    before = (folder / "config.json").read_text()
    with pytest.raises(ValueError, match="a sweep with seed 0, 1 was given"):
        open_folder(folder, Settings(folder, seed=1))
    assert (folder / "config.json").read_text() == before
    assert "commit" in (folder / "provenance.json").read_text()


def test_presets_that_have_changed_are_refused_and_others_may_come(tmp_path):
    folder, config = tmp_path / "sweep", Settings(tmp_path)
    open_folder(folder, config, presets={"a": Nested(Settings(tmp_path, 3))})
    open_folder(folder, config, presets={"b": Nested(Settings(tmp_path, 4))})
    with pytest.raises(ValueError, match=r"with a.inner.seed 3, 5 was given"):
        open_folder(folder, config, presets={"a": Nested(Settings(tmp_path, 5))})


def test_nobody_knows_which_presets_the_rows_of_an_older_folder_took(tmp_path):
    folder, config = tmp_path / "sweep", Settings(tmp_path)
    open_folder(folder, config)  # without presets, as all did
    with pytest.raises(ValueError, match=r"holds a sweep with a.inner"):
        open_folder(folder, config, presets={"a": Nested(Settings(tmp_path, 5))})


def test_every_world_counts_once_in_the_mean(tmp_path):
    def index(keys):  # the world's key, as a number that names it
        return jax.vmap(lambda key: jax.random.key_data(key)[1].astype(jnp.float32))(keys)

    precision = Precision(relative=0, absolute=0, at_least=32, at_most=32)
    (row,) = fill_one(tmp_path / "t.csv", [("index", 1, index)], precision=precision)
    expected = [
        np.float32(jax.random.key_data(jax.random.fold_in(jax.random.key(0), i))[1])
        for i in range(32)
    ]
    assert row.instances == 32
    np.testing.assert_allclose(row.mean, np.mean(expected, dtype=np.float64), rtol=1e-4)


def test_without_a_terminal_a_line_each_minute_says_what_is_being_done(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr("experiments.report.time.monotonic", lambda: now[0])
    with Reporter(cells=1) as report:
        for second in range(0, 150, 10):
            now[0] = 1000.0 + second
            report.show(f"after {second} s")
    assert capsys.readouterr().out.splitlines() == ["after 0 s", "after 60 s", "after 120 s"]
