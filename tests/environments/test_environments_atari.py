"""Atari: what an agent sees of a game, its ends and rewards, and that IMPALA trains on it."""

import sys

import jax
import numpy as np
import pytest

from expedition.agents import ImpalaConfig
from expedition.environments import FIRST, LAST, MID, atari, make
from expedition.environments.atari import atari_batch
from expedition.runtime import RuntimeConfig
from experiments import impala, job
from experiments.impala import EXPERIMENT, preset

pytest.importorskip("ale_py.vector_env")


def batch(game="pong", num=2, seed=0):
    return atari_batch(game, num, jax.random.key(seed))


def play(environment, num_steps, action=0):
    """Everything that steps of one action return, [steps, B]."""
    actions = np.full(environment.num_environments, action, np.int32)
    timesteps = [environment.reset(), *(environment.step(actions) for _ in range(num_steps))]
    return [np.stack(column) for column in zip(*timesteps, strict=True)]


def test_an_agent_sees_four_grey_images():
    environment = make("atari:pong", 2, jax.random.key(0))
    assert environment.frames_per_step == 4
    assert environment.spec.action.num_values == 6
    step_type, reward, discount, observation = columns = play(environment, 30)
    assert [x.dtype for x in columns] == [np.int8, np.float32, np.float32, np.uint8]
    assert observation.shape == (31, 2, 84, 84, 4)
    assert environment.spec.observation.shape == (84, 84, 4)
    assert (step_type[0] == FIRST).all()
    assert (step_type[1:] == MID).all()
    assert (reward == 0).all()
    assert (discount == 1).all()
    # The newest image is the last channel: a step moves the others forward.
    np.testing.assert_array_equal(observation[1:, ..., :3], observation[:-1, ..., 1:])
    assert (observation[-1, ..., 3] != observation[-2, ..., 3]).any()
    assert environment.reset().observation.flags.c_contiguous


def test_rewards_are_the_games_own():
    rewards = play(batch("qbert"), 120, action=3)[1]
    assert rewards.max() == 25


def test_the_key_names_the_episodes():
    images, again, others = (
        play(batch("space_invaders", 3, seed), 3)[3].swapaxes(0, 1) for seed in (0, 0, 1)
    )
    assert len({episode.tobytes() for episode in images}) == 3
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, others)


def test_a_time_limit_is_no_termination(monkeypatch):
    assert atari.MAX_FRAMES == 108_000
    monkeypatch.setattr(atari, "MAX_FRAMES", 12)
    step_type, reward, discount, observation = play(batch(), 7)
    expected = [FIRST, MID, MID, LAST, FIRST, MID, MID, LAST]
    np.testing.assert_array_equal(step_type, np.transpose([expected] * 2))
    assert (discount == 1).all()
    assert (reward == 0).all()
    np.testing.assert_array_equal(observation[3, ..., :3], observation[2, ..., 1:])


def test_the_end_of_the_game_is_a_termination():
    step_type, reward, discount, _ = play(batch(), 900)  # who stands still loses 0 to 21
    for i in range(2):
        (end, *_) = np.flatnonzero(step_type[:, i] == LAST)
        assert discount[end, i] == 0
        assert (discount[:end, i] == 1).all()
        assert reward[: end + 1, i].sum() == -21
        assert step_type[end + 1, i] == FIRST
        assert reward[end + 1, i] == 0


def test_a_lost_life_ends_nothing():
    step_type, _, discount, _ = play(batch("breakout"), 100, action=1)  # serves, never moves
    assert (step_type[1:60] == MID).all()
    assert (discount[:60] == 1).all()


@pytest.mark.parametrize(
    ("game", "answer"), [("pongg", "try pong"), ("MsPacmen", "try ms_pacman"), ("xyz", "try pong")]
)
def test_an_unknown_game_is_answered_with_the_nearest(game, answer):
    with pytest.raises(ValueError, match=rf"^Atari game '{game}' was given; {answer}"):
        batch(game)


@pytest.mark.parametrize("name", ["MsPacman", "ms_pacman", "mspacman"])
def test_a_game_is_known_however_it_is_written(name):
    assert batch(name, num=1).spec.action.num_values == 9


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="0 environments were given; expected at least 1"):
        batch(num=0)
    with pytest.raises(ValueError, match="for 'atari:pong'; expected None and 1"):
        make("atari:pong", 1, jax.random.key(0), action_repeat=4)


@pytest.mark.parametrize("library", ["ale_py", "gymnasium.wrappers.vector"])
def test_a_missing_library_is_explained_in_one_line(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    answer = r"^[\w.]+ is not installed; pip install '\.\[atari\]'$"
    with pytest.raises(ModuleNotFoundError, match=answer):
        batch()


def test_the_defaults_are_the_papers():
    agent, runtime = ImpalaConfig(), RuntimeConfig()
    assert (runtime.unroll_length, runtime.batch_size) == (20, 32)
    assert (agent.discount, agent.baseline_cost, agent.entropy_cost) == (0.99, 0.5, 0.01)
    assert agent.lambda_ == 1
    assert (agent.optimizer, agent.learning_rate, agent.rmsprop_decay) == ("rmsprop", 6e-4, 0.99)
    assert (agent.rmsprop_momentum, agent.rmsprop_epsilon) == (0, 0.01)
    assert (agent.max_abs_reward, agent.global_norm_clip, agent.reduction) == (1, 40, "sum")


def test_the_preset_has_the_papers_shallow_network_and_normalized_images():
    built = impala.make_agent(preset("atari:pong"), batch().spec)
    state = jax.eval_shape(built.init, jax.random.key(0))
    assert state.statistics.mean.shape == (84, 84, 4)  # images are normalized
    shapes = {x.shape for x in jax.tree.leaves(state)}
    assert (8, 8, 4, 16) in shapes  # the first convolution sees the 4 images as channels


@pytest.mark.parametrize("game", ["pong", "breakout"])
def test_impala_trains_on_a_game(game, tmp_path, monkeypatch):
    monkeypatch.setattr(atari, "MAX_FRAMES", 40)  # or the final evaluation plays whole games
    sizes = ["--unroll-length", "4", "--batch-size", "2", "--environments-per-actor", "2"]
    arguments = ["--environment", f"atari:{game}", *sizes, "--actors", "1", "--total-steps", "16"]
    arguments += ["--torso", "mlp", "--hidden", "8"]  # quick to compile
    arguments += ["--evaluation-episodes", "2", "--out", str(tmp_path)]
    summary = job.run(EXPERIMENT.prepare(EXPERIMENT.parse(arguments)))
    assert summary["exit_state"] == "finished"
    assert summary["updates"] == 2
    assert summary["env_frames"] == 4 * summary["env_steps"]
