"""The command line: what it refuses, what a run leaves, and that it learns."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from expedition.agents import ImpalaConfig
from expedition.runtime import CheckpointConfig, RuntimeConfig
from expedition.runtime.distributed import DistributedConfig
from experiments import impala, job
from experiments.impala import EXPERIMENT

ROOT = Path(__file__).parents[2]
TINY = ["--environment", "catch", "--hidden", "8", "--total-steps", "4000"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run's folder."""
    out = tmp_path_factory.mktemp("runs")
    before = set(threading.enumerate())
    job.run(EXPERIMENT.prepare(EXPERIMENT.parse([*TINY, "--out", str(out), "--name", "tiny"])))
    assert set(threading.enumerate()) == before  # loggers and checkpointer leave none either
    return out / "tiny"


def test_a_run_leaves_its_record(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "metrics.csv", "summary.json", "learning_curve.png", "params"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert (finished.parent / "latest").resolve() == finished.resolve()
    assert (finished / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_says_what_happened_and_where(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["exit_state"] == "finished"
    assert summary["updates"] == 7
    assert summary["env_steps"] >= summary["learner_steps"] > 3000
    assert set(summary["evaluation"]) == {
        "mean", "standard_deviation", "minimum", "maximum", "episodes",
    }  # fmt: skip
    assert summary["evaluation"]["episodes"] == 32
    assert summary["versions"]["jax"]
    assert summary["commit"]
    assert summary["machine"]["devices"]
    assert summary["wall_seconds"] > 0
    assert summary["steps_per_second"] > 0


def test_the_csv_and_the_event_file_hold_the_same(finished):
    rows = list(csv.DictReader((finished / "metrics.csv").read_text().splitlines()))
    assert rows[-1]["updates"] == "7"
    (events,) = finished.glob("events.out.tfevents*")
    scalars = dict(read_scalars(events))
    assert scalars["updates"] == 7
    assert scalars["value_loss"] == pytest.approx(float(rows[-1]["value_loss"]), rel=1e-4)


def read_scalars(path):
    """Name and value of each scalar in an event file (length, two checksums, record)."""
    content = path.read_bytes()
    position = 0
    while position < len(content):
        size = int.from_bytes(content[position : position + 8], "little")
        event = Event.FromString(content[position + 12 : position + 12 + size])
        position += size + 16
        yield from ((value.tag, value.simple_value) for value in event.summary.value)


def test_the_parameters_load_and_evaluate_as_the_run_did(finished):
    loaded = impala.load(finished)
    assert loaded.config == EXPERIMENT.parse(
        [*TINY, "--out", str(finished.parent), "--name", "tiny"]
    )
    summary = json.loads((finished / "summary.json").read_text())
    evaluation = loaded.evaluate(episodes=32)
    assert evaluation.summary() == summary["evaluation"]
    assert not np.array_equal(loaded.evaluate(32, name="other").returns, evaluation.returns)


def test_how_observations_were_normalized_is_loaded_with_the_parameters(tmp_path):
    flags = ["--normalize-observations", "--out", str(tmp_path), "--name", "scaled"]
    summary = job.run(EXPERIMENT.prepare(EXPERIMENT.parse([*TINY, *flags])))
    loaded = impala.load(tmp_path / "scaled")
    assert 0 < loaded.params.mean.mean() < 0.1  # two of 50 cells are not empty
    assert loaded.evaluate(32).summary() == summary["evaluation"]


def test_a3c_has_the_same_command(tmp_path):
    """Its actors send gradients, and a run goes on with the algorithm that it began with."""
    flags = [*TINY, "--out", str(tmp_path), "--algorithm", "a3c", "--deterministic"]
    prepared = EXPERIMENT.prepare(EXPERIMENT.parse([*flags, "--policy-lag", "3"]))
    assert prepared.folder.name.startswith("a3c-catch-seed0-")
    assert job.run(prepared)["exit_state"] == "finished"
    rows = list(csv.DictReader((prepared.folder / "metrics.csv").read_text().splitlines()))
    assert rows[-1]["policy_lag_max"] == "3"
    assert float(rows[-1]["actor_time_digest"]) > 0
    assert abs(float(rows[-1]["behaviour_kl"])) < 1e-10  # at what acted, however old
    assert impala.load(prepared.folder).config.algorithm == "a3c"
    resume = ["--resume", str(prepared.folder), "--algorithm", "impala"]
    with pytest.raises(ValueError, match="algorithm was a3c, impala is given"):
        EXPERIMENT.prepare(EXPERIMENT.parse(resume))


def test_an_existing_run_is_not_overwritten(finished):
    before = (finished / "metrics.csv").read_bytes()
    with pytest.raises(FileExistsError, match="exists already; choose another --name"):
        EXPERIMENT.prepare(
            EXPERIMENT.parse([*TINY, "--out", str(finished.parent), "--name", "tiny"])
        )
    assert (finished / "metrics.csv").read_bytes() == before


def test_the_settings_come_from_the_environment_and_the_flags():
    catch = EXPERIMENT.parse(["--environment", "catch", "--learning-rate", "0.5", "--seed", "3"])
    assert catch.agent.learning_rate == 0.5
    assert catch.seed == 3
    assert catch.runtime == impala.CATCH.runtime
    assert EXPERIMENT.parse([]).environment == "dm_control:cartpole-swingup"
    walker = EXPERIMENT.parse(["--environment", "dm_control:walker-walk"])
    assert walker.agent == impala.SWINGUP.agent
    assert walker.environment == "dm_control:walker-walk"


@pytest.mark.parametrize("command", [["-m", "experiments.impala"], ["experiments/impala.py"]])
def test_help_names_every_setting_with_its_meaning(command):
    result = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.replace("│", " ").split())
    parts = (ImpalaConfig, RuntimeConfig, CheckpointConfig, DistributedConfig)
    for setting in (field for part in (impala.Config, *parts) for field in fields(part)):
        if setting.name not in ("agent", "runtime", "checkpoints", "distributed"):
            assert f"--{setting.name.strip('_').replace('_', '-')}" in text
    assert "Truncation of the importance weights" in text
    assert "Threads" in text or "threads" in text


def test_a_signal_in_the_evaluation_stops_the_run_cleanly(tmp_path, monkeypatch):
    evaluate = job.evaluate

    def interrupted(*arguments, **settings):
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(job, "evaluate", interrupted)
    prepared = EXPERIMENT.prepare(
        EXPERIMENT.parse([*TINY, "--out", str(tmp_path), "--name", "run"])
    )
    assert job.run(prepared)["exit_state"] == "stopped by SIGTERM in the evaluation"
    assert impala.load(tmp_path / "run").params


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--environment", "cacth"], "environment 'cacth' was given; try catch"),
        (["--environment", "dm_control:cartpole-swngup"], "try cartpole-swingup"),
        (["--environment", "catch", "--action-bins", "3"], "only dm_control environments"),
        (["--discount", "2"], "discount is 2.0; expected a number in [0, 1]"),
        (["--batch-size", "7"], "environments_per_actor is 16 and batch_size 7"),
        (["--learner-devices", "99"], "device 99 was given"),
        (["--environment", "catch", "--torso", "deep"], "the deep torso was given"),
        (["--learnig-rate", "1"], "--learning-rate"),
        (["--name", "../elsewhere"], "name is '../elsewhere'; expected a folder's name"),
        (["--lstm", "0"], "lstm is 0; expected at least 1"),
        (["--seed", "-1"], "seed is -1; expected a number from 0"),
        (["--learner-devices", "0", "0"], "learner_devices is (0, 0); expected each one once"),
        (["--environment"], "--environment"),
    ],
)
def test_bad_input_is_one_clear_line_before_anything_starts(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        impala.main([*arguments, "--out", str(tmp_path)] if len(arguments) > 1 else arguments)
    assert stopped.value.code == 2
    output = capsys.readouterr()
    text = " ".join((output.out + output.err).replace("│", " ").split())
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_missing_plots_are_named_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as stopped:
        impala.main([*TINY, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "pip install '.[plots]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def start(*arguments, out):
    command = [sys.executable, "-m", "experiments.impala", "--out", str(out), "--name", "run"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    return subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly_with_its_record(number, tmp_path):
    process = start("--environment", "catch", "--total-steps", "1000000000", out=tmp_path)
    metrics = tmp_path / "run" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    start_of_stop = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert time.monotonic() - start_of_stop < 20
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["exit_state"] == f"stopped by {signal.Signals(number).name}"
    assert impala.load(tmp_path / "run").params


def test_a_fault_ends_the_process_non_zero_with_its_traceback_last(tmp_path):
    script = f"""
import dataclasses
from experiments import impala
from expedition.environments import FunctionalBatch
def broken(self, *given):
    raise ArithmeticError("the environment broke")
FunctionalBatch.play = broken
impala.main(["--environment", "catch", "--out", {str(tmp_path)!r}, "--name", "run"])
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith("ArithmeticError: the environment broke")
    assert "in broken" in result.stderr.split("Traceback")[-1]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["exit_state"] == "failed: ArithmeticError: the environment broke"


@pytest.mark.parametrize("seed", range(5))
def test_catch_is_learnt(seed, tmp_path):
    arguments = ["--environment", "catch", "--seed", str(seed), "--evaluation-episodes", "100"]
    prepared = EXPERIMENT.prepare(EXPERIMENT.parse([*arguments, "--out", str(tmp_path)]))
    assert job.run(prepared)["evaluation"]["mean"] >= 0.98
    metrics = np.genfromtxt(prepared.folder / "metrics.csv", delimiter=",", names=True)
    assert metrics["env_steps"][-1] >= 120_000
    # A row holds as few as 32 episodes, where two misses of a good policy are chance.
    late = metrics[metrics["env_steps"] >= 100_000]
    assert late["episodes"].sum() >= 1000
    assert np.average(late["return_mean"], weights=late["episodes"]) >= 0.95
