"""Checkpoints: a run goes on as if it had never stopped."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import EACH, KEY, KINDS, catch, config, curve, impala_agent, run, sleepy
from test_deterministic import assert_equal

from expedition.runtime import CheckpointConfig, Checkpoints
from expedition.runtime.run import Run
from fakes import Fault


def checkpoints(folder, **settings):
    return Checkpoints(folder / "checkpoints", CheckpointConfig(**settings))


@pytest.mark.parametrize("unrolls_per_batch", [2, 4], ids=lambda u: f"{u}_unrolls_a_batch")
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_two_parts_is_bit_equal_to_one(kind, unrolls_per_batch, tmp_path):
    """Of IMPALA with an LSTM; of seed TD with its replay buffer. Episodes end at another rhythm."""
    half = config(kind, 23, unrolls_per_batch=unrolls_per_batch)
    whole = config(kind, 46, unrolls_per_batch=unrolls_per_batch)
    unbroken, expected = run(kind, whole)
    _, first = run(kind, half, checkpoints=checkpoints(tmp_path))
    resumed, second = run(kind, whole, checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, unbroken.params)
    assert_equal(curve(first + second), curve(expected))
    assert resumed.counters["learner_steps"] == unbroken.counters["learner_steps"]
    assert second[0]["updates"] == 24
    assert second[0]["wall_seconds"] > first[-1]["wall_seconds"]


def late(environment):
    """Its first unroll, after the one that compiles, comes when all other actors have begun."""
    play, calls = environment.play, itertools.count()

    def slow(*given):
        time.sleep(next(calls) == 1)
        return play(*given)

    environment.play = slow
    return environment


def test_every_update_may_be_the_one_that_is_saved(tmp_path):
    """In fixed order actors are at different places; some have made nothing yet."""
    whole = config("impala", 6, actors=4, unrolls_per_batch=1)
    unbroken, _ = run("impala", whole)
    environments = [late(catch(0)), *(sleepy(catch(i)) for i in range(1, 4))]
    saved = checkpoints(tmp_path, checkpoint_updates=1, keep_last=9)
    run("impala", whole, environments=environments, checkpoints=saved)
    for update in range(1, 6):
        folder = tmp_path / f"from_{update}"
        shutil.copytree(tmp_path / "checkpoints", folder / "checkpoints")
        for later in range(update + 1, 7):
            shutil.rmtree(folder / "checkpoints" / str(later))
        resumed, rows = run("impala", whole, checkpoints=checkpoints(folder))
        assert rows[0]["updates"] == update + 1
        assert_equal(resumed.params, unbroken.params)


@pytest.mark.parametrize("lag", [0, 4])
@pytest.mark.parametrize("update", [2, 7])
def test_a_run_of_another_lag_goes_on_too(lag, update, tmp_path):
    """All parameters that actors may yet ask for are saved, or are the first ones."""
    whole = config("impala", 12, policy_lag=lag)
    unbroken, _ = run("impala", whole)
    half = config("impala", update, policy_lag=lag)
    run("impala", half, checkpoints=checkpoints(tmp_path))
    resumed, _ = run("impala", whole, checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, unbroken.params)


def test_a_free_run_goes_on_too(tmp_path):
    first, _ = run(
        "impala", config("impala", 10, deterministic=False), checkpoints=checkpoints(tmp_path)
    )
    again, rows = run(
        "impala", config("impala", 20, deterministic=False), checkpoints=checkpoints(tmp_path)
    )
    assert rows[0]["updates"] == 11
    assert again.counters["updates"] == 20
    added = again.counters["learner_steps"] - first.counters["learner_steps"]
    assert 0.8 * 10 * 5 * 2 * EACH <= added <= 10 * 5 * 2 * EACH  # less what restarts episodes


@pytest.mark.parametrize("deterministic", [True, False])
def test_actors_that_have_yet_to_begin_are_saved_where_they_will(deterministic, tmp_path):
    """A run that went on may be saved again while an actor still resets."""
    settings = config("impala", 2, actors=2, deterministic=deterministic)
    run("impala", settings, checkpoints=checkpoints(tmp_path))
    agent, environments = impala_agent(), [catch(i) for i in range(2)]
    again = Run(agent, environments, config("impala", 4, actors=2), KEY, None)
    saved = checkpoints(tmp_path).restore(again.like())
    assert saved.positions.any(axis=1).all()
    again.go_on(saved)
    np.testing.assert_array_equal(again.saved().positions, saved.positions)


def test_a_finished_run_is_not_run_again(tmp_path):
    settings = config("impala", 5)
    first, _ = run("impala", settings, checkpoints=checkpoints(tmp_path))
    again, rows = run("impala", settings, checkpoints=checkpoints(tmp_path))
    assert rows == []
    assert_equal(again.params, first.params)
    assert again.counters["updates"] == 5


def test_the_last_ones_and_every_tenth_stay(tmp_path):
    saved = checkpoints(tmp_path, checkpoint_updates=2, keep_last=2, keep_every=10)
    run("impala", config("impala", 25), checkpoints=saved)
    steps = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert steps == {10, 20, 24, 25}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_of_the_last_update(number, tmp_path):
    rows = []

    def log(row):
        rows.append(row)
        if row["updates"] == 7:
            os.kill(os.getpid(), number)

    whole = config("impala", 20)
    unbroken, _ = run("impala", whole)
    stopped, _ = run("impala", whole, checkpoints=checkpoints(tmp_path), log=log)
    assert stopped.exit_state == f"stopped by {signal.Signals(number).name}"
    assert checkpoints(tmp_path).newest == stopped.counters["updates"] == rows[-1]["updates"]
    resumed, _ = run("impala", whole, checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, unbroken.params)


def test_a_fault_leaves_a_checkpoint_of_the_last_update(tmp_path):
    def log(row):
        if row["updates"] == 7:
            raise Fault("logger")

    whole = config("impala", 20)
    with pytest.raises(Fault, match="logger"):
        run("impala", whole, checkpoints=checkpoints(tmp_path), log=log)
    assert checkpoints(tmp_path).newest == 7
    resumed, _ = run("impala", whole, checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, run("impala", whole)[0].params)


def damage(folder):
    """Cuts every file of a checkpoint in half."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    whole = config("impala", 12)
    unbroken, _ = run(
        "impala", whole, checkpoints=checkpoints(tmp_path, checkpoint_updates=5, keep_last=3)
    )
    damage(tmp_path / "checkpoints" / "12")
    with pytest.warns(RuntimeWarning, match="checkpoint 12 cannot be read"):
        resumed, rows = run("impala", whole, checkpoints=checkpoints(tmp_path))
    assert rows[0]["updates"] == 11
    assert_equal(resumed.params, unbroken.params)


def test_what_could_not_be_read_is_put_aside_and_saved_again(tmp_path):
    run("impala", config("impala", 6), checkpoints=checkpoints(tmp_path, checkpoint_updates=2))
    damage(tmp_path / "checkpoints" / "6")
    with pytest.warns(RuntimeWarning, match="checkpoint 6 cannot be read"):
        run("impala", config("impala", 6), checkpoints=checkpoints(tmp_path))
    assert (tmp_path / "unreadable" / "6").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, rows = run("impala", config("impala", 8), checkpoints=checkpoints(tmp_path))
    assert rows[0]["updates"] == 7


def test_if_none_can_be_read_that_is_an_error(tmp_path):
    run("impala", config("impala", 3), checkpoints=checkpoints(tmp_path))
    damage(tmp_path / "checkpoints" / "3")
    with (
        pytest.warns(RuntimeWarning, match="cannot be read"),
        pytest.raises(ValueError, match="no checkpoint can be read"),
    ):
        run("impala", config("impala", 6), checkpoints=checkpoints(tmp_path))


def test_environments_that_cannot_be_saved_start_new_episodes(tmp_path):
    class Unsaved:
        """A batch without get_state."""

        def __init__(self, inner):
            self.spec, self.num_environments = inner.spec, inner.num_environments
            self.frames_per_step = inner.frames_per_step
            self.reset, self.step, self.close = inner.reset, inner.step, inner.close

    def wrap(environment):
        return Unsaved(sleepy(environment))

    run("impala", config("impala", 7), wrap=wrap, checkpoints=checkpoints(tmp_path))
    _, rows = run("impala", config("impala", 14), wrap=wrap, checkpoints=checkpoints(tmp_path))
    assert [row["updates"] for row in rows] == list(range(8, 15))


def test_no_thread_of_a_checkpoint_is_left(tmp_path):
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = checkpoints(tmp_path, checkpoint_updates=1)
        run("impala", config("impala", 5), checkpoints=saved)
        saved.close()
    left = [t for t in set(threading.enumerate()) - before if not t.daemon]
    assert left == []


def test_what_is_saved_is_not_what_the_learner_goes_on_to_change(tmp_path):
    """The state's buffers are donated while orbax still writes: copies must be written."""
    saved = checkpoints(tmp_path, checkpoint_updates=3, keep_last=9)
    whole = config("seed_td", 9)
    unbroken, _ = run("seed_td", whole, checkpoints=saved)
    for update in (3, 6):
        folder = tmp_path / str(update)
        shutil.copytree(tmp_path / "checkpoints", folder / "checkpoints")
        for later in range(update + 3, 10, 3):
            shutil.rmtree(folder / "checkpoints" / str(later))
        resumed, _ = run("seed_td", whole, checkpoints=checkpoints(folder))
        jax.tree.map(np.testing.assert_array_equal, resumed.params, unbroken.params)


@pytest.mark.parametrize("name", ["checkpoint_updates", "keep_last", "keep_every"])
def test_wrong_settings_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; expected at least 1"):
        CheckpointConfig(**{name: 0})


FULL_DISK = """
import resource, sys
from pathlib import Path
import small_runs
from expedition.runtime import CheckpointConfig, Checkpoints
from expedition.runtime.run import Run

def go_on(updates, **settings):
    saved = Checkpoints(Path(sys.argv[1]), CheckpointConfig(**settings))
    run, _ = small_runs.run("seed_td", small_runs.config("seed_td", updates), checkpoints=saved)
    return saved, run

go_on(5)[0].close()
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    go_on(50, checkpoint_updates=2)
except Exception as error:
    print("raised", repr(error)[:2000], flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
saved, run = go_on(9)
print("went on to", run.counters["updates"], "from", saved.newest, flush=True)
saved.close()
"""


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path):
    """Files may not grow beyond 4 kB: as EFBIG comes where ENOSPC would."""
    path = os.pathsep.join((str(Path(__file__).parent), *sys.path))
    found = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "checkpoints")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "raised" in found.stdout, found.stderr
    assert "File too large" in found.stdout
    assert "went on to 9" in found.stdout
