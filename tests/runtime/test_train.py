"""A whole run: counters, lag, time split, stops and faults."""

import os
import signal
import threading
import time
import traceback
from functools import partial

import jax
import numpy as np
import pytest

from actors import make_actor
from expedition.runtime import prefetch as prefetch_module
from expedition.runtime import supervision, train
from expedition.runtime.actor import actor_functions
from expedition.runtime.channel import BoundedQueue
from expedition.runtime.learner import Learner
from expedition.runtime.prefetch import prefetch
from expedition.runtime.run import _actor_states
from expedition.runtime.supervision import Supervisor
from fakes import (
    NUM_ENVIRONMENTS,
    UNROLL,
    FakeEnvironment,
    Fault,
    devices,
    fail,
    fake_agent,
    fake_config,
)


def run(agent=None, environments=None, log=lambda row: None, **settings):
    environments = environments or [FakeEnvironment() for _ in range(3)]
    return train(
        agent or fake_agent(), environments, fake_config(**settings), key=jax.random.key(0), log=log
    )


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_the_run_ends_at_its_budget_and_says_so():
    result = run(updates=6)
    assert result.exit_state == "finished"
    assert float(result.params) == 6
    assert result.counters["updates"] == 6


def test_the_actors_states_are_parts_of_one_team():
    """An agent that is told apart by its number has a number of its own."""
    agent = fake_agent()._replace(initial_actor_state=lambda size: {"agent": np.arange(size)})
    parts = _actor_states(agent, fake_config(actors=3), jax.devices()[0])
    found = [part["agent"].tolist() for part in parts]
    assert found == np.arange(3 * NUM_ENVIRONMENTS).reshape(3, -1).tolist()


def test_the_four_counters_agree():
    environments = [FakeEnvironment() for _ in range(3)]
    result = run(environments=environments)
    counters = result.counters
    stepped = sum(environment.steps for environment in environments) * NUM_ENVIRONMENTS
    assert stepped - 3 * UNROLL * NUM_ENVIRONMENTS <= counters["env_steps"] <= stepped
    assert counters["env_frames"] == 3 * counters["env_steps"]
    assert counters["learner_steps"] == 6 * UNROLL * 2 * NUM_ENVIRONMENTS
    assert counters["learner_steps"] <= counters["env_steps"]
    assert all(environment.closed for environment in environments)


def test_rows_carry_the_lag_and_times_that_sum_to_one():
    rows = []
    environments = [FakeEnvironment(hook=lambda: time.sleep(0.002)) for _ in range(3)]
    run(environments=environments, log=rows.append, updates=60, log_seconds=0.05)
    assert len(rows) > 3
    for row in rows:
        assert 0 <= row["policy_lag_min"] <= row["policy_lag_mean"] <= row["policy_lag_max"]
        assert row["queue_depth"] <= 2
        for loop in ("actor_time", "learner_time"):
            shares = [value for name, value in row.items() if name.startswith(loop)]
            assert sum(shares) == pytest.approx(1.0, abs=1e-6)
            assert min(shares) >= 0
    assert all(set(row) == set(rows[0]) for row in rows)
    assert max(row["policy_lag_max"] for row in rows) > 0
    assert rows[-1]["updates"] == 60


def test_the_lag_of_a_batch_is_what_its_actions_say():
    # The fake's extras are the parameter, which counts updates: the version that acted.
    agent, lags = fake_agent(), []

    def update(state, batch):
        state, metrics = agent.update(state, batch)
        lag = state.params - 1 - batch.extras
        return state, metrics | {"lag_mean": lag.mean(), "lag_max": lag.max()}

    run(agent=agent._replace(update=update), log=lags.append, updates=20)
    for row in lags:
        assert row["lag_mean"] == pytest.approx(row["policy_lag_mean"])
        assert row["lag_max"] == row["policy_lag_max"]


def test_rates_leave_the_first_update_out():
    rows, agent = [], fake_agent()

    def slow_to_compile(state, batch):
        time.sleep(1.0)  # while tracing, that is, once
        return agent.update(state, batch)

    run(agent=agent._replace(update=slow_to_compile), log=rows.append)
    assert rows[0]["wall_seconds"] > 1.0
    assert rows[1]["updates_per_second"] > 5


PLACES = ["reset", "step", "act", "compilation", "update", "prefetch", "logger"]


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_anywhere_ends_the_run_with_its_own_traceback(place, monkeypatch):
    agent, log = fake_agent(), lambda row: None
    environments = [FakeEnvironment() for _ in range(3)]
    if place == "reset":
        environments[1] = FakeEnvironment(fail_at_reset=True)
    elif place == "step":
        environments[1] = FakeEnvironment(fail_at_step=17)
    elif place == "act":
        agent = agent._replace(act=fail("act", agent.act, good_calls=1))  # its shapes are read
    elif place == "compilation":
        agent = agent._replace(update=fail("compilation"))
    elif place == "update":
        monkeypatch.setattr(Learner, "update", fail("update", Learner.update, good_calls=3))
    elif place == "prefetch":
        faulty = fail("prefetch", prefetch_module.make_batch, good_calls=2)
        monkeypatch.setattr(prefetch_module, "make_batch", faulty)
    else:
        log = fail("logger")
    start = time.monotonic()
    with pytest.raises(Fault, match=place) as caught:
        run(agent=agent, environments=environments, log=log, updates=10_000)
    assert time.monotonic() - start < 10
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename.endswith("fakes.py")  # where it was raised
    assert all(environment.closed for environment in environments)


def test_a_fault_is_not_hidden_by_a_second_one_at_the_close():
    class Unclosable(FakeEnvironment):
        def close(self):
            raise OSError("close")

    environments = [FakeEnvironment(), Unclosable(fail_at_step=17), FakeEnvironment()]
    with pytest.raises(Fault, match="step") as caught:
        run(environments=environments, updates=10_000)
    assert caught.value.__notes__ == ["closing the environment then raised OSError('close')"]


def test_a_fault_keeps_its_own_cause():
    def hook():
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise Fault("step") from error

    with pytest.raises(Fault) as caught:
        run(environments=[FakeEnvironment(), FakeEnvironment(hook=hook), FakeEnvironment()])
    assert isinstance(caught.value.__cause__, KeyError)


def test_slow_environments_stop_within_a_step_not_an_unroll():
    environments = [FakeEnvironment(hook=lambda: time.sleep(1.0)) for _ in range(3)]
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    start = time.monotonic()
    assert run(environments=environments).exit_state == "stopped by SIGTERM"
    assert time.monotonic() - start < 4.5  # an unroll alone lasts 5 s
    timer.join()


def test_a_fault_is_raised_in_time_though_another_thread_is_stuck(monkeypatch):
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 0.5)
    release = threading.Event()
    environments = [FakeEnvironment() for _ in range(3)]
    environments[0] = FakeEnvironment(hook=release.wait)
    environments[1] = FakeEnvironment(fail_at_step=17)
    with pytest.raises(Fault, match="step") as caught:
        run(environments=environments, updates=10_000)
    release.set()
    assert caught.value.__notes__ == ["actor-0 did not end within 0 s of the stop"]
    while any(thread.name == "actor-0" for thread in threading.enumerate()):
        time.sleep(0.01)


def test_a_non_finite_loss_names_the_update_and_the_term():
    agent = fake_agent()

    def update(state, batch):
        state, metrics = agent.update(state, batch)
        return state, metrics | {"value_loss": jax.numpy.where(state.params == 4, np.nan, 0.0)}

    with pytest.raises(FloatingPointError, match=r"update 4: value_loss not finite"):
        run(agent=agent._replace(update=update))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_cleanly(number):
    rows = []

    def log(row):
        rows.append(row)
        if len(rows) == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    result = run(log=log, updates=100_000)
    assert result.exit_state == f"stopped by {signal.Signals(number).name}"
    assert 3 <= result.counters["updates"] < 100_000
    assert float(result.params) == result.counters["updates"]
    assert signal.getsignal(number) is before


def test_a_signal_while_no_batch_comes_stops_the_run():
    environments = [FakeEnvironment(hook=lambda: time.sleep(0.2)) for _ in range(3)]
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    start = time.monotonic()
    result = run(environments=environments, updates=100_000)
    assert result.exit_state == "stopped by SIGTERM"
    assert time.monotonic() - start < 10
    timer.join()


def test_two_runs_in_one_process_both_end_at_their_budget():
    assert float(run().params) == float(run().params) == 6


@pytest.mark.parametrize("number", [2, 4])
def test_more_devices_for_the_same_run(number):
    environments = [FakeEnvironment() for _ in range(3)]
    chosen_on = set()
    for environment in environments:
        environment.step = lambda actions, step=environment.step: (
            chosen_on.update(actions.devices()) or step(actions)
        )
    settings = {"learner_devices": tuple(range(number)), "actor_device": number}
    result = run(environments=environments, **settings)
    assert float(result.params) == 6
    assert chosen_on == {jax.local_devices()[number]}


def test_each_function_is_compiled_once_however_many_actors_and_runs():
    traces, agent = [], fake_agent()

    def act(*arguments):
        traces.append("act")
        time.sleep(0.2)  # long enough for every actor to come to it
        return agent.act(*arguments)

    def update(*arguments):
        traces.append("update")
        return agent.update(*arguments)

    traced = agent._replace(act=act, update=update)
    one, other = run(agent=traced), run(agent=traced)
    # Once for the shapes, once to compile; of three actors in two runs, none compiles again.
    assert sorted(traces) == ["act", "act", "update"]
    assert one.params == other.params == 6


@pytest.mark.parametrize("queues", ["full", "empty"])
def test_fifty_starts_and_stops_with_queues_full_or_empty(queues):
    agent = fake_agent()
    functions = actor_functions(agent)
    params = jax.numpy.zeros(())
    rng = np.random.default_rng(0)
    for cycle in range(50):
        unrolls, batches = BoundedQueue(1), BoundedQueue(1)
        ended = threading.Event()
        hook = (lambda: None) if queues == "full" else partial(ended.wait, 5)
        environments = [FakeEnvironment(hook=hook) for _ in range(3)]
        with Supervisor(ended.set, unrolls.close, batches.close) as supervisor:
            for environment in environments:
                actor = make_actor(agent, environment, params, 2, cycle, functions)
                supervisor.spawn("actor", partial(actor.run, unrolls, devices()[0]))
            supervisor.spawn("prefetch", partial(prefetch, unrolls, batches, 2, devices()))
            if queues == "full":  # everything is made, and waits behind a learner that is not there
                while len(unrolls) + len(batches) < 2:
                    time.sleep(0.001)
            else:  # nothing is made, and a learner waits for it
                supervisor.spawn("learner", batches.get)
            time.sleep(rng.uniform(0, 0.01))
            if queues == "empty":
                assert len(unrolls) + len(batches) == 0
        assert all(environment.closed for environment in environments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected a positive number"),
        ({"environments_per_actor": 5}, "environments_per_actor is 5 and batch_size 8; expected"),
        ({"learner_devices": (0, 1, 2)}, "number of learner_devices is 3 and batch_size 8"),
        ({"learner_devices": ()}, "number of learner_devices is 0"),
    ],
)
def test_a_config_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fake_config(**settings)


def test_devices_and_environments_that_do_not_fit_are_refused_before_a_thread_starts():
    with pytest.raises(ValueError, match="device 99 was given; there are 8 local devices"):
        run(actor_device=99)
    with pytest.raises(ValueError, match=r"batches of \[4\] environments were given; expected"):
        run(environments=[FakeEnvironment()])
