"""A batch of dm_env environments: restarts, time limits, layouts and ranges."""

import dm_env
import numpy as np
import pytest
from dm_env import specs

from expedition.environments import FIRST, LAST, MID, DmEnvBatch
from scripted_environment import DISCRETE, DUMMY_REWARD, REAL, Scripted


def zeros(num=2):
    return np.zeros((num, 2))


def record(batch, num_calls):
    """The time steps [calls, B] of a reset and the steps after it."""
    num = batch.num_environments
    timesteps = [batch.reset(), *(batch.step(zeros(num)) for _ in range(num_calls - 1))]
    return dm_env.TimeStep(*map(np.stack, zip(*timesteps, strict=True)))


def test_each_environment_restarts_after_its_own_last_step():
    timesteps = record(DmEnvBatch([Scripted(2), Scripted(3)]), 7)
    shorter = [FIRST, MID, LAST, FIRST, MID, LAST, FIRST]
    longer = [FIRST, MID, MID, LAST, FIRST, MID, MID]
    np.testing.assert_array_equal(timesteps.step_type.T, [shorter, longer])
    np.testing.assert_array_equal(timesteps.reward.T, [[0, 1, 2] * 2 + [0], [0, 1, 2, 3, 0, 1, 2]])


def test_the_final_observation_is_returned_and_then_the_next_episodes_first():
    timesteps = record(DmEnvBatch([Scripted(2)]), 5)
    steps, episode, _ = timesteps.observation[:, 0].T
    np.testing.assert_array_equal(steps, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(episode, [1, 1, 1, 2, 2])


def test_a_time_limit_is_not_a_termination():
    batch = DmEnvBatch([Scripted(2, terminates=True), Scripted(2, terminates=False)])
    timesteps = record(batch, 6)
    assert (timesteps.step_type[[2, 5]] == LAST).all()
    np.testing.assert_array_equal(timesteps.discount[:, 0], [1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(timesteps.discount[:, 1], np.ones(6))


def test_the_reward_of_a_dummy_reset_step_changes_nothing():
    with_dummy = record(DmEnvBatch([Scripted(2, first_reward=DUMMY_REWARD)]), 7)
    without = record(DmEnvBatch([Scripted(2)]), 7)
    for left, right in zip(with_dummy, without, strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_action_at_a_restart_is_ignored():
    environment = Scripted(2)
    record(DmEnvBatch([environment]), 7)
    assert len(environment.actions) == 4  # calls 1, 2, 4 and 5; the others are restarts


@pytest.mark.parametrize("terminates", [True, False])
def test_an_environment_that_cannot_step_after_its_end_is_restarted(terminates):
    class Strict(Scripted):
        def step(self, action):
            assert self._running, "a step after the episode's end"
            return super().step(action)

    timesteps = record(DmEnvBatch([Strict(1, terminates=terminates)]), 4)
    np.testing.assert_array_equal(timesteps.step_type[:, 0], [FIRST, LAST, FIRST, LAST])


def test_reset_starts_an_episode_in_every_environment():
    batch = DmEnvBatch([Scripted(2), Scripted(3)])
    record(batch, 2)
    timestep = batch.reset()
    assert (timestep.step_type == FIRST).all()
    np.testing.assert_array_equal(timestep.observation, [[0, 2, 2]] * 2)
    assert (batch.step(zeros()).step_type == MID).all()


def test_a_step_without_a_reset_is_a_reset():
    assert (DmEnvBatch([Scripted()]).step(zeros(1)).step_type == FIRST).all()


def test_a_dictionary_is_flattened_in_the_order_of_its_spec():
    class Reversed(Scripted):
        """Gives its observations in another order than that of the spec."""

        def reset(self):
            timestep = super().reset()
            return timestep._replace(observation=dict(reversed(timestep.observation.items())))

    for environment in (Scripted(), Reversed()):
        batch = DmEnvBatch([environment])
        assert batch.spec.observation.shape == (3,)
        observation = batch.reset().observation
        assert observation.dtype == batch.spec.observation.dtype == np.float32
        np.testing.assert_array_equal(observation, [[0, 1, 1]])


def test_an_array_keeps_its_shape_and_type():
    class Image(Scripted):
        def observation_spec(self):
            return specs.Array((2, 1), np.uint8)

        def reset(self):
            return dm_env.restart(np.array([[3], [255]], np.uint8))

    batch = DmEnvBatch([Image(), Image()])
    assert batch.spec.observation == specs.Array((2, 1), np.uint8)
    observation = batch.reset().observation
    assert observation.dtype == np.uint8
    np.testing.assert_array_equal(observation, [[[3], [255]]] * 2)


def test_real_actions_are_clipped_and_mapped_to_the_range():
    environments = [Scripted() for _ in range(3)]
    batch = DmEnvBatch(environments)
    batch.reset()
    batch.step(np.array([[-1, 1], [0, 0.5], [7, -7]]))
    taken = [environment.actions[0] for environment in environments]
    np.testing.assert_allclose(taken, [[-2, 10], [0, 7.5], [2, 0]])
    for action in taken:
        REAL.validate(action)


def test_the_given_actions_are_not_changed():
    batch = DmEnvBatch([Scripted()])
    batch.reset()
    actions = np.array([[7.0, -7.0]])
    batch.step(actions)
    np.testing.assert_array_equal(actions, [[7, -7]])


def test_discrete_actions_are_passed_on():
    environments = [Scripted(action=DISCRETE) for _ in range(3)]
    batch = DmEnvBatch(environments)
    batch.reset()
    batch.step(np.array([2, 0, 1]))
    assert [environment.actions for environment in environments] == [[2], [0], [1]]


def test_later_steps_do_not_change_earlier_time_steps():
    batch = DmEnvBatch([Scripted(2)])
    timesteps = [batch.reset()]
    copies = [dm_env.TimeStep(*map(np.copy, timesteps[0]))]
    for _ in range(4):
        timesteps.append(batch.step(zeros(1)))
        copies.append(dm_env.TimeStep(*map(np.copy, timesteps[-1])))
    for timestep, copied in zip(timesteps, copies, strict=True):
        for left, right in zip(timestep, copied, strict=True):
            np.testing.assert_array_equal(left, right)


def test_time_steps_have_small_types():
    timestep = DmEnvBatch([Scripted()]).reset()
    assert timestep.reward.dtype == timestep.discount.dtype == np.float32
    assert timestep.step_type.dtype == np.int8


def test_close_closes_every_environment():
    environments = [Scripted(), Scripted()]
    DmEnvBatch(environments).close()
    assert all(environment.closed for environment in environments)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 2, 1)])
def test_actions_of_a_wrong_shape_are_refused(shape):
    batch = DmEnvBatch([Scripted(), Scripted()])
    batch.reset()
    with pytest.raises(ValueError, match=r"were given; expected \(2, 2\)"):
        batch.step(np.zeros(shape))


@pytest.mark.parametrize(
    "spec",
    [
        specs.Array((2,), float),
        specs.BoundedArray((2,), float, -np.inf, 1.0),
        specs.BoundedArray((2,), float, [0.0, -1.0], [1.0, np.inf]),
        specs.BoundedArray((2,), float, [-1e10, 0.0], 1.0),
        specs.BoundedArray((2,), int, 0, 3),
    ],
)
def test_real_actions_without_a_finite_range_are_refused(spec):
    with pytest.raises(ValueError, match=r"expected (a bounded real action|finite bounds)"):
        DmEnvBatch([Scripted(action=spec)])


def test_observations_that_are_not_arrays_are_refused():
    class Nested(Scripted):
        def observation_spec(self):
            return {"outer": {"inner": specs.Array((), float)}}

    with pytest.raises(TypeError, match="expected an array or a dict of them"):
        DmEnvBatch([Nested()])


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="no environments were given"):
        DmEnvBatch([])
