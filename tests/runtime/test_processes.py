"""Several processes, over loopback, are one run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
ONE_DEVICE = " --xla_force_host_platform_device_count=1"  # the last one counts
NOTICED = 30  # s until a process that has died is noticed; its heartbeat may be 10 s late


def launch(out, processes, action="", kind="impala"):
    """Starts the processes; returns them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    out.mkdir(exist_ok=True)
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent, *sys.path)))
    return [
        subprocess.Popen(
            [
                sys.executable,
                TESTS / "pod_worker.py",
                *map(str, (i, processes, port, out)),
                kind,
                action,
            ],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(processes)
    ]


def results(out, processes, action="", kind="impala"):
    """What the processes wrote; all must have ended well."""
    started = launch(out, processes, action, kind)
    said = [process.communicate(timeout=200)[0] for process in started]
    for process, text in zip(started, said, strict=True):
        assert process.returncode == 0, text
    return [json.loads((out / f"{processes}_{i}.json").read_text()) for i in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with four devices."""
    return results(tmp_path_factory.mktemp("alone"), 1)[0]


def assert_same_learning(found, alone):
    for row, expected in zip(found["curve"], alone["curve"][-len(found["curve"]) :], strict=True):
        for name, value in expected.items():
            if name.startswith(("return", "training_return", "episode", "learner_steps")):
                continue  # of the process's own actors
            np.testing.assert_allclose(row[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["params"], alone["params"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes with two devices each, of which one is slow; and their folder."""
    folder = tmp_path_factory.mktemp("together")
    return results(folder, 2, "slow"), folder


def test_two_processes_learn_what_one_learns_though_one_is_slow(alone, together):
    (one, other), _ = together
    assert one["params"] == other["params"]
    assert len(one["curve"]) == 12
    assert_same_learning(one, alone)


def test_where_one_cannot_read_its_part_both_go_on_from_the_checkpoint_before(alone, together):
    _, folder = together
    part = folder / "checkpoints" / "12" / "run" / "1_of_2.npz"
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    one, other = results(folder, 2, "resume")
    assert [found["curve"][0]["updates"] for found in (one, other)] == [9, 9]
    assert one["params"] == other["params"]
    assert_same_learning(one, alone)


def test_two_processes_share_an_ensemble_of_seed_td(tmp_path):
    """Its models are divided among the devices of both, and its data are everyone's."""
    expected = results(tmp_path / "alone", 1, kind="seed_td")[0]
    one, other = results(tmp_path, 2, kind="seed_td")
    assert one["params"] == other["params"]
    assert_same_learning(one, expected)


def test_a_signal_to_one_stops_both_at_one_update_and_they_go_on_together(alone, tmp_path):
    one, other = results(tmp_path, 2, "stop")
    assert (one["exit"], other["exit"]) == ("stopped with another process", "stopped by SIGTERM")
    last = [found["curve"][-1]["updates"] for found in (one, other)]
    assert last[0] == last[1] < 12
    assert (tmp_path / "checkpoints" / str(last[0])).exists()
    one, other = results(tmp_path, 2, "resume")
    assert one["curve"][0]["updates"] == last[0] + 1
    assert one["params"] == other["params"]
    assert_same_learning(one, alone)


@pytest.mark.parametrize("how", ["die", "raise", "die_as_coordinator"])
def test_a_process_that_has_ended_is_noticed_by_the_other(how, tmp_path):
    one, other = launch(tmp_path, 2, how)
    if how == "die_as_coordinator":
        one, other = other, one
    last, _ = other.communicate(timeout=200)
    since = time.monotonic()
    said, _ = one.communicate(timeout=200)
    assert time.monotonic() - since < NOTICED
    assert one.returncode != 0
    assert re.search(
        "heartbeat|unhealthy|died|crash|disconnect|unavailable", said, re.IGNORECASE
    ), said
    assert "most recent call first" in said  # all stacks
    if how == "raise":
        assert other.returncode == 1
        assert last.rstrip().endswith("RuntimeError: process 1 has had enough")


def start_commands(out, *flags):
    """The command line, in two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = ["--environment", "catch", "--batch-size", "64", "--hidden", "8", *flags]
    flags += ["--actors", "1", "--out", str(out), "--name", "two", "--processes", "2"]
    flags += ["--coordinator", address, "--process"]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.impala", *flags, str(i)],
            cwd=TESTS.parents[1],
            env=os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"] + ONE_DEVICE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]


def wait_for(path, started):
    """Until the processes, which must not end before, have written it."""
    while not path.exists():
        assert all(process.poll() is None for process in started)
        time.sleep(0.1)


def test_the_command_line_runs_in_two_processes(tmp_path):
    started = start_commands(tmp_path, "--total-steps", "8000", "--evaluation-episodes", "4")
    said = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "finished after" in said[0]
    assert "finished after" not in said[1]
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["updates"] == 7
    assert (tmp_path / "two" / "params").exists()


def test_a_signal_to_one_of_two_commands_ends_both_soon(tmp_path):
    """Neither evaluates: the first to end would wait for the other."""
    flags = ["--total-steps", "100000000", "--evaluation-episodes", "20000"]
    started = start_commands(tmp_path, *flags, "--exit-code-when-stopped", "75")
    wait_for(tmp_path / "two" / "metrics.csv", started)
    started[1].send_signal(signal.SIGTERM)
    since = time.monotonic()
    said = [process.communicate(timeout=200)[0] for process in started]
    assert time.monotonic() - since < 30
    assert [process.returncode for process in started] == [75, 75], said
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["exit_state"] == "stopped with another process"
    assert "evaluation" not in summary


def test_a_signal_in_the_evaluation_ends_both_alike(tmp_path):
    """The other has nothing to do by then; if it said that all went well, nobody would go on."""
    flags = ["--total-steps", "8000", "--evaluation-episodes", "20000"]
    started = start_commands(tmp_path, *flags, "--exit-code-when-stopped", "75")
    wait_for(tmp_path / "two" / "params", started)
    started[0].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [75, 75], said
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["exit_state"] == "stopped by SIGTERM in the evaluation"


def test_one_that_does_not_go_on_ends_both(tmp_path):
    """The other waits for it, and its watchdog ends it; its own would later."""
    started = launch(tmp_path, 2, "stuck")
    said = [process.communicate(timeout=200)[0] for process in started]
    assert all(process.returncode != 0 for process in started)
    assert "most recent call first" in said[0]
