"""The seed TD command: it learns, and goes on after a stop as if there had been none."""

import os
import signal

import jax
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from experiments import job, seed_td
from experiments.seed_td import EXPERIMENT

TINY = ["--environment", "catch", "--deterministic", "--hidden", "8", "--agent.steps", "2"]
TINY += ["--agent.num-models", "4", "--agent.capacity", "500", "--total-steps", "1600"]
TINY += ["--evaluation-episodes", "4"]


def run(*arguments):
    prepared = EXPERIMENT.prepare(EXPERIMENT.parse(arguments))
    return prepared.folder, job.run(prepared)


def test_a_team_learns_catch(tmp_path):
    _, summary = run("--environment", "catch", "--out", str(tmp_path))
    assert summary["evaluation"]["mean"] >= 0.98


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, monkeypatch):
    """The replay buffer, the seeds and the optimisers' states come from the checkpoint."""
    write = job.CSVLogger.write

    def stop(self, row):
        write(self, row)
        if row["updates"] == 15:
            os.kill(os.getpid(), signal.SIGTERM)

    often = ["--log-seconds", "1e-9", "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(job.CSVLogger, "write", stop)
        broken, summary = run(*TINY, *often, "--name", "broken")
    assert summary["exit_state"] == "stopped by SIGTERM"
    assert summary["updates"] < 40
    _, summary = run("--resume", str(broken))
    assert summary["updates"] == 40
    whole, _ = run(*TINY, *often, "--name", "whole")
    one, other = (seed_td.load(folder).params for folder in (broken, whole))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_nested_settings_are_read_back_and_compared(tmp_path):
    folder, _ = run(*TINY, "--out", str(tmp_path), "--agent.minibatch.size", "8")
    assert seed_td.load(folder).config.agent.minibatch.size == 8
    with pytest.raises(ValueError, match="size was 8, 9 is given"):
        EXPERIMENT.prepare(
            EXPERIMENT.parse(["--resume", str(folder), "--agent.minibatch.size", "9"])
        )


def test_real_actions_are_refused(tmp_path, capsys):
    flags = ["--environment", "probe:action_reward_continuous", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        EXPERIMENT.main(flags)
    assert caught.value.code == 2
    assert "seed TD expects discrete ones" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
