"""A batch of functional environments: restarts, keys, compilation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_env import specs

from expedition.environments import FIRST, LAST, MID, Catch, EnvironmentSpec, FunctionalBatch
from expedition.environments.interface import first, transition

NUM = 6


@dataclass(frozen=True)
class Countdown:
    """Counts from a random number in [1, 4] down to 0; the reward is the action."""

    truncates: bool = False

    @property
    def spec(self):
        return EnvironmentSpec(specs.Array((), "int32"), specs.DiscreteArray(1000))

    def reset(self, key):
        count = jax.random.randint(key, (), 1, 5)
        return count, first(count)

    def step(self, count, action):
        end = {"truncated" if self.truncates else "terminated": count == 1}
        return count - 1, transition(count - 1, action, **end)


class Sampled:
    """Keeps a key in its state, of which each observation is drawn; never ends."""

    spec = EnvironmentSpec(specs.Array((), "float32"), specs.DiscreteArray(2))

    def reset(self, key):
        return key, first(jax.random.uniform(key))

    def step(self, key, action):
        key, next_key = jax.random.split(key)
        return next_key, transition(jax.random.uniform(key), 0.0)


class CountedCatch(Catch):
    """Notes each time that its step is traced."""

    traces = []  # noqa: RUF012

    def step(self, state, action):
        self.traces.append("step")
        return super().step(state, action)


def zeros(num=NUM):
    return np.zeros(num, np.int32)


def record(batch, num_calls, actions=None):
    """The time steps [calls, B] of a reset and the steps after it."""
    actions = zeros((num_calls, batch.num_environments)) if actions is None else actions
    timesteps = [batch.reset(), *(batch.step(action) for action in actions[1:])]
    return jax.tree.map(lambda *x: np.stack(x), *timesteps)


def countdown(num_calls=40, seed=0, truncates=False, actions=None):
    batch = FunctionalBatch(Countdown(truncates), NUM, jax.random.key(seed))
    return record(batch, num_calls, actions)


def equal(left, right):
    return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


def test_each_environment_restarts_after_its_own_last_step():
    timesteps = countdown()
    count = timesteps.observation
    starts = np.concatenate([np.ones((1, NUM), bool), timesteps.step_type[:-1] == LAST])
    np.testing.assert_array_equal(timesteps.step_type == FIRST, starts)
    np.testing.assert_array_equal(timesteps.step_type == LAST, count == 0)
    np.testing.assert_array_equal(timesteps.step_type == MID, ~starts & (count > 0))
    np.testing.assert_array_equal(count[1:][~starts[1:]], count[:-1][~starts[1:]] - 1)
    assert (count[starts] > 0).all()
    assert not (starts == starts[:, :1]).all(), "the episodes' ends are in step"


def test_rewards_belong_to_the_actions_except_at_restarts():
    actions = np.arange(40 * NUM, dtype=np.int32).reshape(40, NUM) + 1
    timesteps = countdown(actions=actions)
    expected = np.where(timesteps.step_type == FIRST, 0, actions)
    np.testing.assert_array_equal(timesteps.reward, expected)


def test_the_action_at_a_restart_is_ignored():
    catch = Catch(rows=3)
    actions = np.random.default_rng(0).integers(3, size=(12, NUM)).astype(np.int32)
    timesteps = record(FunctionalBatch(catch, NUM, jax.random.key(0)), 12, actions)
    others = np.where(timesteps.step_type == FIRST, 2 - actions, actions)
    assert (others != actions).any()
    assert equal(record(FunctionalBatch(catch, NUM, jax.random.key(0)), 12, others), timesteps)


@pytest.mark.parametrize("truncates", [False, True])
def test_the_discount_is_zero_at_terminations_only(truncates):
    timesteps = countdown(truncates=truncates)
    ended = timesteps.step_type == LAST
    assert ended.any()
    np.testing.assert_array_equal(timesteps.discount, np.where(ended & (not truncates), 0, 1))


def test_the_nth_call_resets_with_the_documented_key():
    timesteps = countdown()
    reset = jax.jit(jax.vmap(Countdown().reset))
    for call in range(40):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), call), NUM)
        _, expected = reset(keys)
        restarted = timesteps.step_type[call] == FIRST
        np.testing.assert_array_equal(
            timesteps.observation[call][restarted], expected.observation[restarted]
        )


def test_the_key_names_the_stream():
    assert equal(countdown(seed=3), countdown(seed=3))
    assert not equal(countdown(seed=3), countdown(seed=4))


def test_environments_are_not_copies_of_each_other():
    board = FunctionalBatch(Catch(), 50, jax.random.key(0)).reset().observation
    assert set(np.argmax(board[:, 0], axis=-1).tolist()) == set(range(5))


def test_a_second_reset_starts_new_episodes():
    batch = FunctionalBatch(Catch(columns=1000), NUM, jax.random.key(0))
    boards = [batch.reset().observation, batch.reset().observation]
    batch.step(zeros())
    timestep = batch.reset()
    assert (timestep.step_type == FIRST).all()
    boards.append(timestep.observation)
    columns = np.stack(boards)[:, :, 0].argmax(axis=-1)
    assert len(np.unique(columns, axis=0)) == 3


def test_a_state_may_hold_a_key():
    observation = record(FunctionalBatch(Sampled(), NUM, jax.random.key(0)), 5).observation
    assert len(np.unique(observation)) == 5 * NUM


@pytest.mark.parametrize("close", [False, True])
def test_a_step_without_a_reset_is_a_reset(close):
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(0))
    expected = batch.reset()
    if close:
        batch.close()
    else:
        batch = FunctionalBatch(Catch(), NUM, jax.random.key(0))
    assert equal(batch.step(zeros()), expected)


def test_all_batches_of_an_environment_share_their_compiled_functions():
    for seed in range(3):
        batch = FunctionalBatch(CountedCatch(), NUM, jax.random.key(seed))
        record(batch, 3)
        record(batch, 3, actions=jnp.ones((3, NUM), jnp.int32))
    assert CountedCatch.traces == ["step"]


@pytest.mark.parametrize("shape", [(NUM + 1,), (NUM, 1), ()])
def test_actions_of_a_wrong_shape_are_refused(shape):
    batch = FunctionalBatch(Catch(), NUM, jax.random.key(0))
    batch.reset()
    with pytest.raises(ValueError, match=r"were given; expected \(6,\)"):
        batch.step(np.zeros(shape, np.int32))


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="num_environments is 0"):
        FunctionalBatch(Catch(), 0, jax.random.key(0))


def test_a_step_is_one_frame():
    assert FunctionalBatch(Catch(), 1, jax.random.key(0)).frames_per_step == 1


def test_observations_must_be_what_the_spec_says():
    class Tall(Catch):
        spec = EnvironmentSpec(specs.Array((2, 5), "float32"), specs.DiscreteArray(3))

    with pytest.raises(ValueError, match=r"Tall shows float32\[10, 5\], .* float32\[2, 5\]"):
        FunctionalBatch(Tall(), 2, jax.random.key(0))
