"""The probes against the table in their documentation."""

import jax
import numpy as np
import pytest

from expedition.environments import FIRST, LAST, MID, PROBES, Probe

GAMMA = 0.9
SIGNS = {-1.0, 1.0}

# Per probe: the value of each observation, and the best number to play (None: any).
TABLE = {
    "constant_value": ({0.0: 1.0}, None),
    "observation_value": ({-1.0: -1.0, 1.0: 1.0}, None),
    "discounting": ({0.0: GAMMA, 1.0: 1.0}, None),
    "action_reward": ({0.0: 1.0}, lambda x: 1.0),
    "observation_action": ({-1.0: 1.0, 1.0: 1.0}, lambda x: x),
}

EACH = pytest.mark.parametrize(
    "probe", [Probe(name, continuous) for name in PROBES for continuous in (False, True)], ids=str
)


def to_action(probe, number):
    """The action that stands for a number."""
    if probe.continuous:
        return np.array([number], np.float32)
    return np.int32({-1.0: 0, 1.0: 1}[number])


def play(probe, seed, policy):
    """The time steps of an episode."""
    state, timestep = probe.reset(jax.random.key(seed))
    timesteps = [timestep]
    while timestep.step_type != LAST:
        number = policy(float(timestep.observation[0]))
        state, timestep = probe.step(state, to_action(probe, number))
        timesteps.append(timestep)
    return timesteps


def values(timesteps):
    """Yields (observation, discounted return from it on) of all but the final observation."""
    value = 0.0
    for before, after in zip(timesteps[-2::-1], timesteps[:0:-1], strict=True):
        value = float(after.reward) + GAMMA * float(after.discount) * value
        yield float(before.observation[0]), value


def test_the_table_has_every_probe():
    assert tuple(TABLE) == PROBES


@EACH
def test_the_best_policy_has_the_values_of_the_table(probe):
    expected, best = TABLE[probe.name]
    seen = {}
    for seed in range(12):
        for observation, value in values(play(probe, seed, best or (lambda x: 1.0))):
            assert value == pytest.approx(expected[observation])
            seen[observation] = value
    assert seen.keys() == expected.keys()


@EACH
def test_other_actions_are_worse_or_equal_as_the_table_says(probe):
    expected, best = TABLE[probe.name]
    for number in (-1.0, 0.25, 1.0) if probe.continuous else SIGNS:
        for seed in range(4):
            for observation, value in values(play(probe, seed, lambda x, a=number: a)):
                error = number - best(observation) if best else 0.0
                assert value == pytest.approx(expected[observation] - error**2)


@EACH
def test_an_episode_terminates_after_one_step_or_two_of_discounting(probe):
    timesteps = play(probe, 0, lambda x: 1.0)
    middle = [MID] if probe.name == "discounting" else []
    assert [int(timestep.step_type) for timestep in timesteps] == [FIRST, *middle, LAST]
    discounts = [float(timestep.discount) for timestep in timesteps]
    assert discounts == [1.0] * (1 + len(middle)) + [0.0]


@EACH
def test_time_steps_and_actions_match_the_spec(probe):
    probe.spec.action.validate(to_action(probe, 1.0))
    for timestep in jax.device_get(play(probe, 0, lambda x: 1.0)):
        probe.spec.observation.validate(timestep.observation)
        assert timestep.reward.dtype == timestep.discount.dtype == np.float32


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'cartpole' was given; expected .*" + PROBES[-1]):
        Probe("cartpole")
