"""The dm_env wrappers: dm_env's own contract, grids of actions, repeated actions."""

import itertools

import numpy as np
import pytest
from absl.testing import absltest
from dm_env import specs, test_utils

from expedition.environments import ActionRepeat, DiscreteActions
from scripted_environment import DISCRETE, DUMMY_REWARD, REAL, Scripted


class Rewarding(Scripted):
    """Has specs of its own for reward and discount."""

    def reward_spec(self):
        return specs.BoundedArray((), float, 0.0, 3.0, "own_reward")

    def discount_spec(self):
        return specs.BoundedArray((), float, 0.0, 2.0, "own_discount")


class TestDiscreteActionsContract(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        return DiscreteActions(Scripted(), 3)


class TestActionRepeatContract(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        return ActionRepeat(Rewarding(4), 3)


def test_the_grid_has_every_combination_of_evenly_spaced_values():
    environment = Scripted(100)
    wrapped = DiscreteActions(environment, 3)
    assert wrapped.action_spec() == specs.DiscreteArray(9, name="action")
    wrapped.reset()
    for number in range(9):
        wrapped.step(np.int32(number))
    expected = list(itertools.product([-2, 0, 2], [0, 5, 10]))
    np.testing.assert_array_equal(environment.actions, expected)
    for action in environment.actions:
        REAL.validate(action)


def test_a_grid_keeps_the_shape_and_type_of_the_action():
    spec = specs.BoundedArray((1, 1), np.float32, -1.0, 1.0)
    environment = Scripted(action=spec)
    wrapped = DiscreteActions(environment, 5)
    wrapped.reset()
    wrapped.step(1)
    spec.validate(environment.actions[0])
    assert environment.actions[0] == -0.5


def test_discrete_actions_pass_the_time_steps_on():
    wrapped, plain = DiscreteActions(Scripted(2), 3), Scripted(2)
    for _ in range(5):
        left, right = wrapped.step(0), plain.step(np.zeros(2))
        assert left[:3] == right[:3]
        assert left.observation["steps"] == right.observation["steps"]


@pytest.mark.parametrize(
    ("spec", "bins", "message"),
    [
        (REAL, 1, "1 action bins were given; expected at least 2"),
        (REAL, -3, "-3 action bins were given"),
        (DISCRETE, 3, "DiscreteArray.* was given; expected a bounded real action"),
        (specs.Array((2,), float), 3, "Array.* was given; expected a bounded real action"),
        (specs.BoundedArray((1,), float, 0.0, np.inf), 3, "expected finite bounds"),
        (specs.BoundedArray((21,), float, -1.0, 1.0), 3, "3 bins in each of 21 dimensions"),
    ],
)
def test_actions_without_a_grid_are_refused(spec, bins, message):
    with pytest.raises(ValueError, match=message):
        DiscreteActions(Scripted(action=spec), bins)


@pytest.mark.parametrize(
    ("repeat", "rewards"),
    [(1, [1, 2, 3, 4, 5]), (2, [1 + 2, 3 + 4, 5]), (3, [1 + 2 + 3, 4 + 5]), (9, [15])],
)
def test_repeated_rewards_are_added_up_to_the_end(repeat, rewards):
    environment = Scripted(5)
    wrapped = ActionRepeat(environment, repeat)
    for _ in range(2):  # the second episode starts as the first did
        assert wrapped.step(np.zeros(2)).first()
        timesteps = [wrapped.step(np.zeros(2)) for _ in rewards]
        assert [timestep.reward for timestep in timesteps] == rewards
        assert [timestep.last() for timestep in timesteps] == [False] * (len(rewards) - 1) + [True]
    assert len(environment.actions) == 10


def test_each_repeat_takes_the_same_action_and_the_last_observation_counts():
    environment = Scripted(5)
    wrapped = ActionRepeat(environment, 3)
    wrapped.reset()
    timestep = wrapped.step(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(environment.actions, [[1, 2]] * 3)
    assert timestep.observation["steps"] == 3


@pytest.mark.parametrize("terminates", [True, False])
def test_the_discount_is_that_of_the_final_step(terminates):
    wrapped = ActionRepeat(Scripted(3, terminates=terminates), 2)
    wrapped.reset()
    discounts = [wrapped.step(np.zeros(2)).discount for _ in range(2)]
    assert discounts == [1.0, 0.0 if terminates else 1.0]


def test_a_first_step_passes_through():
    environment = Scripted(3, first_reward=DUMMY_REWARD)
    timestep = ActionRepeat(environment, 2).step(np.zeros(2))
    assert timestep.first()
    assert timestep.observation["steps"] == 0
    assert environment.actions == []


@pytest.mark.parametrize("repeat", [0, -1])
def test_no_repeat_at_all_is_refused(repeat):
    with pytest.raises(ValueError, match=f"repeat of {repeat} was given; expected at least 1"):
        ActionRepeat(Scripted(), repeat)


def test_wrappers_pass_the_specs_and_the_close_on():
    environment = Rewarding()
    for wrapped in (DiscreteActions(environment, 3), ActionRepeat(environment, 2)):
        assert wrapped.observation_spec() == environment.observation_spec()
        assert wrapped.discount_spec() == environment.discount_spec()
    assert DiscreteActions(environment, 3).reward_spec() == environment.reward_spec()
    assert ActionRepeat(environment, 3).action_spec() == environment.action_spec()
    ActionRepeat(DiscreteActions(environment, 3), 2).close()
    assert environment.closed


def test_a_sum_of_rewards_is_not_bound_to_the_range_of_one():
    ActionRepeat(Rewarding(), 3).reward_spec().validate(6.0)
