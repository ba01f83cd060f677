"""Environments that raise, hang or give numbers that are none: the run ends, or makes them anew."""

import shutil
import threading
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.runtime import (
    CheckpointConfig,
    Checkpoints,
    NonFiniteError,
    train,
)
from fakes import NUM_ENVIRONMENTS, UNROLL, FakeEnvironment, Fault, fake_agent, fake_config


def watchful_agent():
    """Its metrics say whether each observation is one more than the one before it."""
    agent = fake_agent()

    def update(state, batch):
        state, metrics = agent.update(state, batch)
        gap = jnp.abs(jnp.diff(batch.observation, axis=0) - 1).max()
        return state, metrics | {"gap": gap}

    return agent._replace(update=update)


def run(
    first,
    rebuild=None,
    updates=20,
    rows=None,
    agent=None,
    hook=lambda: None,
    checkpoints=None,
    **settings,
):
    """Three actors, of which the first one's environment is given."""
    environments = [first, FakeEnvironment(hook=hook), FakeEnvironment(hook=hook)]
    rows = [] if rows is None else rows
    result = train(
        agent or watchful_agent(),
        environments,
        fake_config(updates, **settings),
        key=jax.random.key(0),
        log=rows.append,
        rebuild=rebuild,
        checkpoints=checkpoints,
    )
    return result, rows


class Nonsense(FakeEnvironment):
    """Gives a number that is none at a step."""

    def __init__(self, field, at):
        super().__init__()
        self._field, self._at = field, at

    def step(self, actions):
        timestep = super().step(actions)
        if self.steps == self._at:
            getattr(timestep, self._field)[2] = np.nan
        return timestep


FAULTS = {
    "raises": (lambda: FakeEnvironment(fail_at_step=17), Fault, "step"),
    "raises_at_once": (lambda: FakeEnvironment(fail_at_reset=True), Fault, "reset"),
    "reward": (
        lambda: Nonsense("reward", 17),
        FloatingPointError,
        "the reward of environment 2 is not finite: nan, in row 1 of the unroll",
    ),
    "observation": (
        lambda: Nonsense("observation", 17),
        FloatingPointError,
        "the observation of environment 2 is not finite",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_the_run(fault):
    make, kind, said = FAULTS[fault]
    with pytest.raises(kind, match=said):
        run(make(), updates=10_000)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_survived_and_counted(fault, deterministic, caplog):
    make, kind, _ = FAULTS[fault]
    first, asked = make(), []

    def rebuild(*which):
        asked.append(which)
        return FakeEnvironment()

    result, rows = run(first, rebuild, max_env_restarts=1, deterministic=deterministic)
    assert result.counters["updates"] == 20
    assert asked == [(0, 1)]
    assert first.closed
    assert rows[-1]["env_restarts"] == 1
    assert kind.__name__ in caplog.text
    assert all(row["gap"] == 0 for row in rows)  # no unroll has parts of two
    spent = result.counters["env_steps"] - result.counters["learner_steps"]
    assert 0 <= spent <= 9 * UNROLL * NUM_ENVIRONMENTS


def test_one_fault_too_many_ends_the_run():
    asked = []

    def rebuild(*which):
        asked.append(which)
        return FakeEnvironment(fail_at_step=17)

    with pytest.raises(Fault, match="step"):
        run(rebuild(), rebuild, max_env_restarts=2, updates=10_000)
    assert asked[1:] == [(0, 1), (0, 2)]


@pytest.mark.parametrize("deterministic", [False, True])
def test_failures_one_after_the_other_lose_no_count(deterministic):
    """The second successor fails before its first unroll."""
    made = [FakeEnvironment(fail_at_step=2), FakeEnvironment(fail_at_reset=True), FakeEnvironment()]
    settings = {"max_env_restarts": 3, "deterministic": deterministic}
    first = FakeEnvironment(fail_at_step=17)
    result, rows = run(first, lambda *_: made.pop(0), updates=30, **settings)
    assert made == []
    assert rows[-1]["env_restarts"] == 3
    assert all(row["gap"] == 0 for row in rows)
    steps = [row["env_steps"] for row in rows]
    assert steps == sorted(steps)
    assert result.counters["env_steps"] >= result.counters["learner_steps"]


def test_a_first_reset_that_fails_is_survived_with_checkpoints_too(tmp_path):
    first = FakeEnvironment(fail_at_reset=True)
    saved = Checkpoints(tmp_path, CheckpointConfig(checkpoint_updates=5))
    result, rows = run(first, lambda *_: FakeEnvironment(), max_env_restarts=1, checkpoints=saved)
    assert result.counters["updates"] == 20
    assert rows[-1]["env_restarts"] == 1
    assert saved.newest == 20


def test_an_environment_that_hangs_ends_the_run(capfd):
    release = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="actor 0 have not answered for 1 s"):
        run(FakeEnvironment(hook=release.wait), env_timeout=1.0, updates=10_000)
    assert time.monotonic() - start < 10
    release.set()
    assert "most recent call first" in capfd.readouterr().err


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_environment_that_hangs_is_made_anew(deterministic):
    """What the old one says after all is nobody's."""
    release = threading.Event()

    class Late(FakeEnvironment):
        def step(self, actions):
            if self.steps == 9:  # the last one of an unroll
                release.wait()
                self.steps += 100
            return super().step(actions)

    def rebuild(*_):
        return FakeEnvironment(hook=lambda: (time.sleep(0.005), release.set()))

    late = Late()
    settings = {"env_timeout": 1.0, "max_env_restarts": 1, "deterministic": deterministic}
    # The others are too slow to end the run meanwhile.
    result, rows = run(late, rebuild, updates=150, hook=partial(time.sleep, 0.005), **settings)
    assert result.counters["updates"] == 150
    assert rows[-1]["env_restarts"] == 1
    assert all(row["gap"] == 0 for row in rows)
    deadline = time.monotonic() + 10
    while not late.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert late.closed


def test_restarts_need_someone_who_makes_environments():
    with pytest.raises(ValueError, match="max_env_restarts is 1; expected rebuild"):
        run(FakeEnvironment(), max_env_restarts=1)
    with pytest.raises(ValueError, match="max_env_restarts is -1"):
        run(FakeEnvironment(), max_env_restarts=-1)


def test_a_loss_that_is_not_finite_comes_with_its_batch():
    agent = fake_agent()

    def update(state, batch):
        state, metrics = agent.update(state, batch)
        return state, metrics | {"loss": jnp.where(state.params == 4, jnp.inf, 0.0)}

    with pytest.raises(NonFiniteError, match="update 4: loss not finite") as caught:
        run(FakeEnvironment(), agent=agent._replace(update=update))
    assert caught.value.batch.reward.shape == (1, UNROLL, 2 * NUM_ENVIRONMENTS)


def test_parameters_that_are_not_finite_end_the_run_before_they_are_saved(tmp_path):
    """The metrics of the update that spoilt them were those of the parameters before."""
    agent = fake_agent()

    def update(state, batch):
        state, metrics = agent.update(state, batch)
        return state._replace(params=jnp.where(state.params == 4, jnp.nan, state.params)), metrics

    saved = Checkpoints(tmp_path, CheckpointConfig(checkpoint_updates=1))
    with pytest.raises(NonFiniteError, match="update 4: parameter_norm not finite"):
        run(FakeEnvironment(), agent=agent._replace(update=update), checkpoints=saved)
    assert saved.newest == 3


def test_who_had_not_begun_when_it_was_saved_begins_later(tmp_path):
    class Slow(FakeEnvironment):
        def reset(self):
            time.sleep(3)
            return super().reset()

    environments = [FakeEnvironment(), FakeEnvironment(), Slow()]
    saved = Checkpoints(tmp_path, CheckpointConfig(checkpoint_updates=5))
    train(fake_agent(), environments, fake_config(10), key=jax.random.key(0), checkpoints=saved)
    saved.close()
    shutil.rmtree(tmp_path / "10")  # saved at the end, when all have begun
    saved = Checkpoints(tmp_path, CheckpointConfig(checkpoint_updates=5))
    result, rows = run(FakeEnvironment(), agent=fake_agent(), checkpoints=saved)
    assert rows[0]["updates"] == 6
    assert result.counters["updates"] == 20
