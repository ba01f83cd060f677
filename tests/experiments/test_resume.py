"""`--resume`: a run goes on, with its settings, rows and parameters."""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import jax
from tensorboardX.proto.event_pb2 import Event

from expedition.environments import FunctionalBatch
from expedition.runtime import distributed, supervision
from expedition.runtime.learner import Learner
from expedition.runtime.unroll import packed_counts
from experiments import config, experiment, impala, job
from experiments.impala import EXPERIMENT

ROOT = Path(__file__).parents[2]
WHOLE = [
    *("--environment", "catch", "--hidden", "8", "--deterministic", "--log-seconds", "1e-9"),
    *("--total-steps", "12000", "--evaluation-episodes", "4"),
]  # 19 updates


def run(*arguments):
    prepared = EXPERIMENT.prepare(EXPERIMENT.parse(arguments))
    return prepared, job.run(prepared)


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run's folder, which a signal stopped at update 7."""
    write = job.CSVLogger.write

    def stop(self, row):
        write(self, row)
        if row["updates"] == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(job.CSVLogger, "write", stop)
    broken, summary = run(*WHOLE, "--out", str(tmp_path), "--name", "broken")
    assert summary["exit_state"] == "stopped by SIGTERM"
    monkeypatch.setattr(job.CSVLogger, "write", write)
    return broken.folder


def hidden_from(path):
    """The step from which an event file hides what older ones have."""
    event, content = Event(), path.read_bytes()
    while not event.HasField("session_log"):  # each of length, two checksums, record
        size = int.from_bytes(content[:8], "little")
        event, content = Event.FromString(content[12 : 12 + size]), content[size + 16 :]
    return event.step


def test_a_resumed_run_ends_like_an_unbroken_one(stopped, tmp_path):
    with (stopped / "metrics.csv").open("a") as file:
        file.write("half a li")  # of an update that was not saved
    with np.load(stopped / "checkpoints" / "7" / "run" / "0_of_1.npz") as saved:
        env_steps = sum(int(packed_counts(position)[2]) for position in saved["positions"])
    events = set(stopped.glob("events.*"))
    resumed, summary = run("--resume", str(stopped))
    assert summary["exit_state"] == "finished"
    assert resumed.folder == stopped.resolve()
    (new,) = set(stopped.glob("events.*")) - events
    assert hidden_from(new) == env_steps + 1
    unbroken, _ = run(*WHOLE, "--out", str(tmp_path), "--name", "whole")
    one, other = (impala.load(folder).params for folder in (stopped, unbroken.folder))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    for found, expected in zip(rows(stopped), rows(unbroken.folder), strict=True):
        assert found["updates"] == expected["updates"]
        assert found["value_loss"] == expected["value_loss"]
        assert found["learner_steps"] == expected["learner_steps"]
    seconds = [float(row["wall_seconds"]) for row in rows(stopped)]
    assert seconds == sorted(seconds)


def test_runs_in_one_process_are_those_of_a_process_each(tmp_path):
    for seed in ("0", "1"):
        arguments = [*WHOLE, "--seed", seed, "--out", str(tmp_path)]
        together, _ = run(*arguments, "--name", f"together{seed}")
        command = [sys.executable, "-m", "experiments.impala", *arguments, "--name", f"alone{seed}"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
        one, other = (impala.load(x).params for x in (together.folder, tmp_path / f"alone{seed}"))
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_run_that_was_stopped_before_its_first_update_begins_anew(tmp_path, monkeypatch):
    start = job.train

    def stopped(*arguments, **settings):
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*arguments, **settings)

    monkeypatch.setattr(job, "train", stopped)
    flags = ["--out", str(tmp_path), "--name", "broken", "--exit-code-when-stopped", "75"]
    with pytest.raises(SystemExit) as exit_:
        impala.main([*WHOLE, *flags])
    assert exit_.value.code == 75
    monkeypatch.setattr(job, "train", start)
    run("--resume", str(tmp_path / "broken"))
    run(*WHOLE, "--out", str(tmp_path), "--name", "whole")
    one, other = (impala.load(tmp_path / name).params for name in ("broken", "whole"))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_stop_in_a_long_compilation_ends_with_its_exit_code(tmp_path, monkeypatch):
    ended = threading.Event()

    def compile_(self, like):
        os.kill(os.getpid(), signal.SIGTERM)
        ended.wait()

    def leave(code):
        raise SystemExit(f"at once with {code}")

    monkeypatch.setattr(Learner, "compile", compile_)
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(os, "_exit", leave)
    flags = ["--out", str(tmp_path), "--name", "broken", "--exit-code-when-stopped", "75"]
    monkeypatch.setattr(sys, "argv", ["impala", *WHOLE, "--actors", "1", *flags])
    with (
        pytest.warns(RuntimeWarning, match="compile did not end within 1 s of the stop"),
        pytest.raises(SystemExit, match="at once with 75"),
    ):
        impala.main()
    ended.set()
    summary = json.loads((tmp_path / "broken" / "summary.json").read_text())
    assert summary["exit_state"] == "stopped by SIGTERM"


def test_a_failure_in_a_long_compilation_ends_with_its_traceback(tmp_path, monkeypatch, capsys):
    ended = threading.Event()

    def broken(self):
        raise RuntimeError("no such reset")

    def leave(code):
        raise SystemExit(f"at once with {code}")

    monkeypatch.setattr(Learner, "compile", lambda self, like: ended.wait())
    monkeypatch.setattr(FunctionalBatch, "reset", broken)
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(os, "_exit", leave)
    flags = ["--out", str(tmp_path), "--name", "broken"]
    monkeypatch.setattr(sys, "argv", ["impala", *WHOLE, "--actors", "1", *flags])
    with pytest.raises(SystemExit, match="at once with 1"):
        impala.main()
    ended.set()
    assert "\nRuntimeError: no such reset\n" in capsys.readouterr().err


def test_other_settings_are_shown_and_refused_unless_allowed(stopped, capsys):
    change = ("--resume", str(stopped), "--learning-rate", "0.1", "--seed", "3")
    with pytest.raises(ValueError, match=r"seed was 0, 3 is given; learning_rate was 0\.005"):
        EXPERIMENT.prepare(EXPERIMENT.parse(change))
    assert config.read(stopped, impala.Config).agent.learning_rate == 0.005
    _, summary = run(*change, "--allow-changes")
    assert summary["updates"] == 19
    assert json.loads((stopped / "summary.json").read_text())["updates"] == 19
    assert "learning_rate was 0.005, 0.1 is given" in capsys.readouterr().out
    kept = json.loads((stopped / "config.json").read_text())
    assert kept["agent"]["learning_rate"] == 0.1
    assert not kept["allow_changes"]  # next time is another time


def test_settings_that_its_checkpoints_do_not_fit_leave_the_run_as_it_was(stopped):
    before = (stopped / "config.json").read_bytes()
    with (
        pytest.warns(RuntimeWarning, match=r"cannot be read: it has arrays of .*this run has"),
        pytest.raises(ValueError, match="no checkpoint can be read"),
    ):
        run("--resume", str(stopped), "--hidden", "9", "--allow-changes")
    assert (stopped / "config.json").read_bytes() == before
    with pytest.raises(ValueError, match="2 actors were saved, this run has 3; expected as many"):
        run("--resume", str(stopped), "--actors", "3", "--allow-changes")
    assert (stopped / "config.json").read_bytes() == before
    _, summary = run("--resume", str(stopped))
    assert summary["exit_state"] == "finished"


def test_where_it_is_and_who_computes_it_is_not_taken_over(stopped):
    content = json.loads((stopped / "config.json").read_text())
    content["distributed"] |= {"processes": 2, "process": 0, "coordinator": "there:1"}
    (stopped / "config.json").write_text(json.dumps(content))
    settings = EXPERIMENT.parse(["--resume", str(stopped)])
    assert settings.distributed.processes == 1
    assert settings.distributed.coordinator is None
    with pytest.raises(ValueError, match="name was broken, other is given"):
        EXPERIMENT.prepare(EXPERIMENT.parse(["--resume", str(stopped), "--name", "other"]))


def test_a_signal_while_the_run_is_prepared_stops_it(tmp_path, monkeypatch):
    make = experiment.make_actor_environment

    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return make(*arguments)

    monkeypatch.setattr(experiment, "make_actor_environment", stopped)
    flags = ["--out", str(tmp_path), "--name", "broken", "--exit-code-when-stopped", "75"]
    with pytest.raises(SystemExit) as exit_:
        impala.main([*WHOLE, "--actors", "1", *flags])
    assert exit_.value.code == 75
    summary = json.loads((tmp_path / "broken" / "summary.json").read_text())
    assert (summary["exit_state"], summary["updates"]) == ("stopped by SIGTERM", 0)


def test_a_signal_between_training_and_evaluation_is_not_forgotten(tmp_path, monkeypatch):
    save = job.save_params

    def stopped(*arguments):
        save(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(job, "save_params", stopped)
    _, summary = run(*WHOLE, "--out", str(tmp_path), "--name", "broken")
    assert summary["exit_state"] == "stopped by SIGTERM in the evaluation"
    assert "evaluation" not in summary
    monkeypatch.setattr(job, "save_params", save)
    path = tmp_path / "broken" / "summary.json"
    before = json.loads(path.read_text())
    _, summary = run("--resume", str(tmp_path / "broken"))
    assert summary["exit_state"] == "finished"
    # No update was made: speed and time of those that were stay as they are known.
    evaluated = {"exit_state": "finished", "evaluation": summary["evaluation"]}
    assert json.loads(path.read_text()) == before | evaluated
    assert "evaluation" in summary


def test_what_is_made_anew_after_going_on_has_a_name_of_its_own(stopped, monkeypatch):
    make, play, calls, names = job.make_environment, FunctionalBatch.play, itertools.count(), []

    def named(config, number, *given):
        names.append(given)
        return make(config, number, *given)

    def fails_once(self, *given):
        if next(calls) == 5:
            raise RuntimeError("once")
        return play(self, *given)

    monkeypatch.setattr(job, "make_environment", named)
    monkeypatch.setattr(FunctionalBatch, "play", fails_once)
    flags = ["--max-env-restarts", "1", "--allow-changes"]
    _, summary = run("--resume", str(stopped), *flags)
    assert summary["exit_state"] == "finished"
    (anew,) = [given for given in names if "restart" in given]
    assert (anew[0], *anew[2:4]) == ("actor", "from", 7)


def test_when_a_run_saves_may_change(stopped):
    settings = EXPERIMENT.parse(["--resume", str(stopped), "--checkpoint-updates", "5"])
    assert config.differences(config.read(stopped, impala.Config), settings) == []
    assert settings.environment == "catch"


def test_there_must_be_a_run(tmp_path):
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "config.json").write_text('{"quick": true}')
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty is no run's folder; .* has swept"):
        EXPERIMENT.parse(["--resume", str(tmp_path / "empty")])
    with pytest.raises(ValueError, match="swept has no settings of this command"):
        EXPERIMENT.parse(["--resume", str(tmp_path / "swept")])


def test_an_unknown_platform_is_not_passed_over(capsys):
    with pytest.raises(SystemExit) as exit_:
        impala.main([*WHOLE, "--platform", "tpu"])
    assert exit_.value.code == 2
    assert "platform tpu was given; JAX finds cpu devices only" in capsys.readouterr().err


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no such thing")])
def test_a_platform_of_the_environment_that_is_not_there_is_bad_input(error, monkeypatch, capsys):
    def default_backend():
        raise error

    monkeypatch.setattr(distributed.jax, "default_backend", default_backend)
    with pytest.raises(SystemExit) as exit_:
        impala.main(WHOLE)
    assert exit_.value.code == 2
    assert "JAX finds no such device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "2"], "2 processes were given, with process None"),
        (["--processes", "0"], "name is None; expected one that all processes of the run share"),
        (["--processes", "-1"], "processes is -1"),
        (["--process", "3"], "process is 3; expected a number from 0 to 0"),
    ],
)
def test_processes_that_do_not_fit_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        impala.main([*WHOLE, *arguments])
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_loss_that_is_not_finite_leaves_its_batch(tmp_path):
    with pytest.raises(FloatingPointError, match="not finite"):
        run(*WHOLE, "--out", str(tmp_path), "--name", "bad", "--learning-rate", "1e30")
    with np.load(tmp_path / "bad" / "nonfinite_batch.npz") as saved:
        assert saved["reward"].shape == (1, 20, 32)
    summary = json.loads((tmp_path / "bad" / "summary.json").read_text())
    assert summary["exit_state"].startswith("failed: NonFiniteError: update")


def test_a_finished_run_stays_finished_when_its_repetition_is_stopped(tmp_path):
    finished = {"exit_state": "finished", "updates": 25, "evaluation": {"mean": 1.0}}
    job.write_json(tmp_path / "summary.json", finished)
    stopped = {"exit_state": "stopped by SIGINT", "begun_at_update": 25, "updates": 25}
    assert job._with_the_start_before(tmp_path, stopped)["exit_state"] == "finished"
    failed = stopped | {"exit_state": "failed: OSError"}
    assert job._with_the_start_before(tmp_path, failed)["exit_state"] == "failed: OSError"
