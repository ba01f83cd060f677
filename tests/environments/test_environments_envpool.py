"""EnvPool's environments: the protocol at both kinds of end, preprocessing, seeds and errors."""

import jax
import numpy as np
import pytest

from expedition.environments import FIRST, LAST, MID, envpool_batch, make

envpool = pytest.importorskip("envpool")
KEY = jax.random.key(0)


def play(batch, steps, action=None):
    """Time steps, stacked; by default with random actions."""
    rng = np.random.default_rng(0)
    timesteps = [batch.reset()]
    for _ in range(steps):
        drawn = rng.integers(batch.spec.action.num_values, size=batch.num_environments)
        timesteps.append(batch.step(drawn if action is None else np.full(len(drawn), action)))
    return jax.tree.map(lambda *x: np.stack(x), *timesteps)


def test_a_fallen_pole_terminates_and_the_next_step_only_begins_anew():
    played = play(envpool_batch("CartPole-v1", 3, KEY), 60, action=0)
    last, first = played.step_type == LAST, played.step_type == FIRST
    assert last.any(axis=0).all()
    np.testing.assert_array_equal(first[1:], last[:-1])
    assert first[0].all()
    np.testing.assert_array_equal(played.discount, np.where(last, 0.0, 1.0))
    np.testing.assert_array_equal(played.reward, np.where(first, 0.0, 1.0))
    assert (abs(played.observation[last][:, [0, 2]]) > (2.4, 0.2095)).any(axis=1).all()  # final
    assert (abs(played.observation[first]) <= 0.05).all()


def test_a_time_limit_is_no_termination():
    """EnvPool's own interface to dm_env says discount 0 here."""
    batch = envpool_batch("Pendulum-v1", 2, KEY)
    batch.reset()
    timesteps = [batch.step(np.zeros((2, 1))) for _ in range(201)]
    assert (timesteps[199].step_type == LAST).all()
    assert (timesteps[199].discount == 1).all()
    assert (timesteps[200].step_type == FIRST).all()
    assert (timesteps[200].reward == 0).all()


def test_dm_controls_tasks_are_dm_controls():
    suite = pytest.importorskip("dm_control.suite")
    batch = make("envpool:CartpoleSwingup-v1", 2, KEY, action_repeat=2)
    assert batch.spec.observation.shape == (5,)
    assert batch.spec.action.shape == (1,)
    assert batch.frames_per_step == 2
    timestep = batch.reset()
    theirs = suite.load("cartpole", "swingup")
    theirs.reset()
    x, cosine, sine, *speeds = timestep.observation[0].astype(float)
    with theirs.physics.reset_context():
        theirs.physics.named.data.qpos[:] = x, np.arctan2(sine, cosine)
        theirs.physics.named.data.qvel[:] = speeds
    for force in (1.0, -0.5, 0.25, 1.0, -1.0):
        timestep = batch.step(np.full((2, 1), force))
        expected = [theirs.step([force]) for _ in range(2)][-1]
        found = np.concatenate(list(expected.observation.values()))
        np.testing.assert_allclose(timestep.observation[0], found, rtol=1e-3, atol=1e-4)


def test_atari_is_preprocessed_as_the_papers():
    batch = envpool_batch("Pong-v5", 2, KEY)
    assert batch.frames_per_step == 4
    assert batch.spec.observation.shape == (84, 84, 4)
    config = batch._environments._pool.config
    assert (config["noop_max"], config["max_episode_steps"]) == (30, 27_000)
    for setting in ("reward_clip", "episodic_life", "use_fire_reset"):
        assert not config[setting]
    played = play(batch, 30)
    older, newer = played.observation[:-1, ..., 1:], played.observation[1:, ..., :-1]
    middle = played.step_type[1:] == MID
    np.testing.assert_array_equal(older[middle], newer[middle])  # the newest image is the last


def test_episodes_are_named_by_the_key():
    one, same, other = (
        envpool_batch("CartPole-v1", 2, jax.random.key(seed)).reset().observation
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.isin(one, other).any()
    assert (one[0] != one[1]).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Pong-v6", {}, "'Pong-v6' was given; try Pong-v5"),
        ("CartPole-v1", {"action_repeat": 2}, "has no such setting"),
        ("FrozenLake-v1", {}, "expected a Box"),
    ],
)
def test_what_does_not_fit_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        envpool_batch(name, 2, KEY, **settings)
