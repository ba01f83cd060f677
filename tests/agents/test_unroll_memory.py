"""Unrolls that are kept: whole, with the numbers of their data, in the order of time."""

import jax
import numpy as np
from dm_env import specs

from expedition.agents import Trajectory
from expedition.agents.actor_critic import Behaviour
from expedition.agents.unroll_memory import Rows, make_memory, minibatches, remember
from expedition.environments.interface import LAST, MID, EnvironmentSpec
from expedition.exploration.experience import Minibatch

LENGTH, WIDTH, UPDATES = 5, 3, 4
SPEC = EnvironmentSpec(specs.Array((2,), "float32"), specs.DiscreteArray(99))
HALF_REWARDED = Minibatch(4, rewarded_part=0.5, rewarded_data=5)
COUNT = 200


def rows_of_update(update):
    """Rows that tell their time and the number of their unroll; the last unroll is none."""
    unroll = update * WIDTH + np.arange(WIDTH)
    time = np.arange(LENGTH + 1)[:, None]
    told = np.stack(np.broadcast_arrays(time, unroll), axis=-1).astype(np.float32)
    step_type = np.full((LENGTH + 1, WIDTH), MID, np.int8)
    step_type[:, -1] = LAST
    rewarded = (unroll == 4) & (np.arange(LENGTH)[:, None] == 2)
    batch = Trajectory(
        observation=told,
        step_type=step_type,
        action=np.broadcast_to(unroll, (LENGTH, WIDTH)).astype(np.int32),
        extras=Behaviour(-told[:-1, :, 1], ()),
        reward=np.where(rewarded, 1, -0.1).astype(np.float32),
        discount=np.ones((LENGTH, WIDTH), np.float32),
        actor_state=(),
    )
    return Rows(batch, (100 * unroll + np.arange(LENGTH)[:, None]).astype(np.int32))


def memory(updates=UPDATES, capacity=50):
    keys = {name: jax.random.key(i) for i, name in enumerate(("replacement_key", "draw_key"))}
    kept = make_memory(SPEC, LENGTH, capacity, HALF_REWARDED, **keys)
    for update in range(updates):
        kept = jax.jit(remember)(kept, rows_of_update(update))
    return kept


def drawn(kept, member=1):
    return minibatches(kept, HALF_REWARDED, member, COUNT)


def test_unrolls_come_back_whole_and_in_the_order_of_time():
    batch, number = drawn(memory())
    assert batch.reward.shape == number.shape == (COUNT, LENGTH, 4)
    assert batch.observation.shape == (COUNT, LENGTH + 1, 4, 2)
    unroll = np.asarray(batch.observation[:, :1, :, 1])
    time = np.arange(LENGTH + 1)[None, :, None]
    np.testing.assert_array_equal(
        batch.observation[..., 0], np.broadcast_to(time, batch.step_type.shape)
    )
    np.testing.assert_array_equal(
        batch.observation[..., 1], np.broadcast_to(unroll, batch.step_type.shape)
    )
    np.testing.assert_array_equal(batch.action, np.broadcast_to(unroll, number.shape))
    np.testing.assert_array_equal(batch.extras.log_prob, -batch.action)
    np.testing.assert_array_equal(number, 100 * unroll + time[:, :-1])
    assert batch.step_type.dtype == np.int8


def test_an_unroll_without_a_transition_is_not_kept():
    kept = memory()
    assert kept.experience.everything.size == UPDATES * (WIDTH - 1)
    unrolls = np.unique(drawn(kept).batch.action)
    np.testing.assert_array_equal(unrolls, [0, 1, 3, 4, 6, 7, 9, 10])


def test_unrolls_with_a_reward_are_drawn_once_more():
    action = np.asarray(drawn(memory()).batch.action)
    assert np.all(action[:, :, 2:] == 4)
    assert np.mean(action[:, :, :2] == 4) < 0.3


def test_draws_differ_between_members_and_updates_only():
    kept = memory()
    first, same, other = (drawn(kept, member).batch.action for member in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    later = drawn(kept._replace(updates=kept.updates + 1), 0).batch.action
    for different in (other, later):
        assert np.mean(np.asarray(first) == different) < 0.9
