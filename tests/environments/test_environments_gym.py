"""gymnasium's environments: the protocol at both kinds of end, actions, seeds and errors."""

import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

from expedition.environments import FIRST, LAST, MID, make
from expedition.environments.gym import GymBatch, gym_batch
from experiments.impala import preset
from experiments.job import make_environment

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces
SyncVectorEnv = gymnasium.vector.SyncVectorEnv
DISCRETE = spaces.Discrete(3, start=5)
REAL = spaces.Box(np.float32([-2, 0]), np.float32([2, 10]))


class Counting(gymnasium.Env):
    """Step n of an episode has reward n and shows (episode, n); step `length` ends it."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(0, 100, (2,))

    def __init__(self, length=3, end="terminated", action_space=DISCRETE):
        self.action_space = action_space
        self.length, self.end = length, end
        self.observation = np.zeros(2, np.float32)
        self.actions, self.seeds = [], []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.observation[:] = self.observation[0] + 1, 0  # in place
        return self.observation, {}

    def step(self, action):
        self.actions.append(action)
        self.observation[1] += 1
        reward = self.observation[1]
        ends = reward == self.length
        terminated, truncated = ends and self.end != "truncated", ends and self.end != "terminated"
        return self.observation, float(reward), bool(terminated), bool(truncated), {}


class WrongAtReset(SyncVectorEnv):
    """Reports a reward of 9999 and an ended episode on the step that starts one."""

    def step(self, actions):
        starts = self._autoreset_envs.copy()
        observations, rewards, terminated, truncated, infos = super().step(actions)
        rewards[starts], reported = 9999, terminated | starts
        return observations, rewards, reported, truncated | starts, infos


def batch(*environments, vector=SyncVectorEnv, **settings):
    made = vector([lambda environment=e: environment for e in environments], **settings)
    return GymBatch(made, list(range(len(environments))))


def run(environment, num_steps):
    """Everything that steps of the action 0 return, [steps, B]."""
    actions = np.zeros((environment.num_environments, *environment.spec.action.shape), np.int32)
    return [
        np.stack(column)
        for column in zip(
            environment.reset(), *(environment.step(actions) for _ in range(num_steps)), strict=True
        )
    ]


@pytest.fixture
def register():
    """gymnasium's `register`; what it registers is forgotten afterwards."""
    before = dict(gymnasium.registry)
    yield gymnasium.register
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def singles(*environments):
    return GymBatch(environments, list(range(len(environments))))


@pytest.mark.parametrize(
    "make_batch",
    [
        batch,
        partial(batch, copy=False),
        partial(batch, vector=WrongAtReset),
        partial(batch, vector=WrongAtReset, copy=False),
        partial(batch, autoreset_mode="SameStep"),
        partial(batch, autoreset_mode="Disabled"),
        singles,
    ],
)
def test_episodes_end_and_start_as_the_protocol_says(make_batch):
    ends = [Counting(3), Counting(2, "truncated"), Counting(1, "both")]
    columns = run(make_batch(*ends), 5)
    step_type, reward, discount, observation = columns
    assert [column.dtype for column in columns] == [np.int8, np.float32, np.float32, np.float32]
    np.testing.assert_array_equal(
        step_type.T,
        [
            [FIRST, MID, MID, LAST, FIRST, MID],
            [FIRST, MID, LAST, FIRST, MID, LAST],
            [FIRST, LAST, FIRST, LAST, FIRST, LAST],
        ],
    )
    steps = [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 0, 1]]
    np.testing.assert_array_equal(reward.T, steps)
    np.testing.assert_array_equal(observation[..., 1].T, steps)
    np.testing.assert_array_equal(
        observation[..., 0].T, [[1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 3, 3]]
    )
    np.testing.assert_array_equal(
        discount.T, [[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0]]
    )


def test_the_action_after_an_end_is_ignored():
    ended, running = Counting(1), Counting(9)
    run(batch(ended, running), 4)
    assert (len(ended.actions), len(running.actions)) == (2, 4)


def test_a_reset_starts_every_episode_anew_and_a_first_step_is_one():
    environment = batch(Counting(2), Counting(9))
    assert (environment.step([0, 0]).step_type == FIRST).all()
    run(environment, 2)
    timestep = environment.reset()
    assert (timestep.step_type == FIRST).all()
    assert (timestep.observation[:, 1] == 0).all()
    assert (environment.step([0, 0]).step_type == MID).all()


def test_a_time_limit_is_no_termination(register):
    register("Counting-v0", Counting, max_episode_steps=2, disable_env_checker=True)
    step_type, reward, discount, _ = run(gym_batch("Counting-v0", 1, jax.random.key(0)), 2)
    assert step_type[2] == LAST
    assert reward[2] == 2
    assert discount[2] == 1


def test_discrete_actions_count_from_0():
    inner = Counting()
    environment = batch(inner)
    assert environment.spec.action.num_values == 3
    environment.reset()
    environment.step(jax.numpy.array([2], "int32"))
    assert inner.actions == [7]
    assert DISCRETE.contains(inner.actions[0])


def test_real_actions_are_clipped_and_scaled():
    inner = Counting(9, action_space=REAL)
    environment = batch(inner)
    environment.reset()
    for action in ([-1.0, 1.0], [0.0, 0.0], [5.0, -5.0]):
        environment.step(np.array([action], np.float32))
    np.testing.assert_allclose(inner.actions, [[-2, 10], [0, 5], [2, 0]])
    assert all(REAL.contains(action) for action in inner.actions)


@pytest.mark.parametrize(
    ("given", "expected"), [(np.uint8, np.uint8), (np.float32, np.float32), (float, np.float32)]
)
def test_bytes_stay_bytes_and_floats_are_single(given, expected):
    inner = Counting()
    inner.observation_space = spaces.Box(0, 100, (2,), given)
    inner.observation = np.zeros(2, given)
    environment = batch(inner)
    assert environment.spec.observation.dtype == expected
    assert environment.reset().observation.dtype == expected
    assert environment.step([0]).observation.dtype == expected


def test_the_key_names_the_episodes():
    def observations(seed):
        environment = gym_batch("CartPole-v1", 4, jax.random.key(seed))
        return run(environment, 30)[3]  # beyond the first episodes

    assert len(np.unique(observations(0)[0], axis=0)) == 4
    np.testing.assert_array_equal(observations(0), observations(0))
    assert not np.array_equal(observations(0)[0], observations(1)[0])


def test_seeds_are_used_once():
    inner = Counting()
    environment = batch(inner)
    environment.reset()
    environment.reset()
    assert inner.seeds == [0, None]


def test_it_is_made_by_name_and_closed():
    environment = make("gym:Pendulum-v1", 2, jax.random.key(0))
    assert environment.frames_per_step == 1
    timestep = run(environment, 1)
    assert timestep[3].shape == (2, 2, 3)
    environment.close()
    assert environment._environments.closed


@pytest.mark.parametrize("settings", [{"action_bins": 3}, {"action_repeat": 2}])
def test_settings_that_it_does_not_have_are_refused(settings):
    with pytest.raises(ValueError, match="for 'gym:CartPole-v1'; expected None and 1"):
        make("gym:CartPole-v1", 1, jax.random.key(0), **settings)


def test_an_unknown_name_lists_the_libraries():
    with pytest.raises(ValueError, match="atari:<game>, gym:<id>, envpool:<id>, dm_control:"):
        make("gym", 1, jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("CartPol-v1", "'CartPol-v1' was given; try CartPole-v1"),
        ("CartPole-v9", "'CartPole-v9' was given; try CartPole-v1"),
        ("cart pole", "'cart pole' was given; try"),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest(name, answer):
    with pytest.raises(ValueError, match=answer) as raised:
        gym_batch(name, 1, jax.random.key(0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_other_reset_modes_are_refused(mode):
    made = SyncVectorEnv([Counting], autoreset_mode=mode)
    wrapped = gymnasium.wrappers.vector.ClipReward(made, -1, 1)  # it may rely on the mode
    with pytest.raises(ValueError, match=r"given; expected AutoresetMode\.NEXT_STEP"):
        GymBatch(wrapped, [0])


@pytest.mark.parametrize(
    "space", [spaces.Discrete(4), spaces.Box(0, 4, (2,), np.int32), spaces.Dict(x=REAL)]
)
def test_other_observations_are_refused(space):
    inner = Counting()
    inner.observation_space = space
    with pytest.raises(ValueError, match=r"^observations in .* were given; expected a Box of fl"):
        batch(inner)


@pytest.mark.parametrize(
    "space", [spaces.MultiBinary(4), spaces.Box(0, 4, (2,), np.int32), spaces.Tuple([REAL])]
)
def test_other_actions_are_refused(space):
    with pytest.raises(ValueError, match=r"^actions in .* were given; expected a Discrete or a"):
        batch(Counting(action_space=space))


def test_unbounded_actions_are_refused():
    with pytest.raises(ValueError, match="expected finite bounds"):
        batch(Counting(action_space=spaces.Box(-np.inf, np.inf, (1,))))


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="0 environments were given; expected at least 1"):
        gym_batch("CartPole-v1", 0, jax.random.key(0))
    with pytest.raises(ValueError, match="no environments were given; expected at least one"):
        GymBatch([], [])
    with pytest.raises(ValueError, match="1 seeds were given; expected one for each of 2"):
        GymBatch(SyncVectorEnv([Counting, Counting]), [0])
    with pytest.raises(ValueError, match=r"shape \(2,\) were given; expected \(1,\)"):
        batch(Counting()).step([0, 0])


def test_a_missing_gymnasium_is_explained_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[gym\]'$") as raised:
        gym_batch("CartPole-v1", 1, jax.random.key(0))
    assert "\n" not in str(raised.value)


def test_a_library_that_an_environment_lacks_is_named(register):
    def lacking():
        raise gymnasium.error.DependencyNotInstalled("pip install physics")

    register("Lacking-v0", lacking)
    with pytest.raises(ModuleNotFoundError, match=r"'Lacking-v0' needs more: pip install physics$"):
        gym_batch("Lacking-v0", 1, jax.random.key(0))


def test_an_environments_own_error_is_not_called_an_unknown_id(register):
    def broken():
        raise gymnasium.error.Error("broken")

    register("Broken-v0", broken)
    with pytest.raises(gymnasium.error.Error, match=r"^broken$"):
        gym_batch("Broken-v0", 1, jax.random.key(0))


def test_importing_the_room_loads_neither_library():
    program = (
        "import sys, expedition.environments;"
        "assert not {'gymnasium', 'ale_py'} & {m.split('.')[0] for m in sys.modules}"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_its_preset_has_no_settings_of_dm_control():
    config = preset("gym:CartPole-v1")
    assert (config.action_bins, config.action_repeat) == (None, 1)
    assert config.environment == "gym:CartPole-v1"
    environment = make_environment(config, 2, "actor", 0)
    assert environment.num_environments == 2
