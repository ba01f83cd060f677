"""Catch against a simulation in NumPy, and against what its documentation states."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.environments import FIRST, LAST, MID, Catch

EPISODES = 30
BOARDS = pytest.mark.parametrize("board", [Catch(), Catch(4, 4), Catch(2, 1)], ids=str)


@partial(jax.jit, static_argnums=0)
def play(catch, keys, actions):
    """One episode per key: the first time steps [N, ...] and the others [N, rows - 1, ...]."""

    def episode(key, actions):
        state, first = catch.reset(key)
        return first, jax.lax.scan(catch.step, state, actions)[1]

    return jax.vmap(episode)(keys, actions)


@partial(jax.jit, static_argnums=0)
def play_towards_the_ball(catch, keys):
    """The ball's columns [N], and the returns [N] of the policy that moves the paddle there."""

    def episode(key):
        def step(carry, _):
            state, board = carry
            state, timestep = catch.step(state, 1 + jnp.sign(ball - board[-1].argmax()))
            return (state, timestep.observation), timestep.reward

        state, timestep = catch.reset(key)
        ball = timestep.observation[0].argmax()
        _, rewards = jax.lax.scan(step, (state, timestep.observation), length=catch.rows - 1)
        return ball, rewards.sum()

    return jax.vmap(episode)(keys)


@cache
def random_episodes(catch):
    """The actions [N, rows - 1] and the time steps that `play` returns for them."""
    shape = (EPISODES, catch.rows - 1)
    actions = np.random.default_rng(0).integers(3, size=shape).astype(np.int32)
    keys = jax.random.split(jax.random.key(0), EPISODES)
    return actions, *jax.device_get(play(catch, keys, actions))


def simulate(catch, first_board, actions):
    """Yields the board and the reward after each action."""
    ball, paddle = first_board[0].argmax(), catch.columns // 2
    for row, action in enumerate(actions, start=1):
        paddle = min(max(paddle + action - 1, 0), catch.columns - 1)
        board = np.zeros((catch.rows, catch.columns))
        board[row, ball] = board[-1, paddle] = 1
        landed = row == catch.rows - 1
        yield board, 0 if not landed else 1 if ball == paddle else -1


@BOARDS
def test_dynamics_equal_the_simulation(board):
    actions, first, rest = random_episodes(board)
    for i in range(EPISODES):
        boards, rewards = zip(*simulate(board, first.observation[i], actions[i]), strict=True)
        np.testing.assert_array_equal(rest.observation[i], boards)
        np.testing.assert_array_equal(rest.reward[i], rewards)


@BOARDS
def test_an_episode_lasts_rows_minus_one_steps_and_terminates(board):
    _, first, rest = random_episodes(board)
    middle = board.rows - 2
    assert (first.step_type == FIRST).all()
    assert (rest.step_type == np.array([MID] * middle + [LAST])).all()
    assert (first.discount == 1).all()
    assert (rest.discount == np.array([1.0] * middle + [0.0])).all()
    assert (first.reward == 0).all()


@BOARDS
def test_the_first_observation_shows_ball_and_paddle(board):
    _, first, _ = random_episodes(board)
    expected = np.zeros((EPISODES, board.rows, board.columns))
    expected[:, -1, board.columns // 2] = 1
    expected[np.arange(EPISODES), 0, first.observation[:, 0].argmax(axis=-1)] = 1
    np.testing.assert_array_equal(first.observation, expected)


@BOARDS
def test_time_steps_have_the_specified_types(board):
    _, first, rest = random_episodes(board)
    for timestep in (jax.tree.map(lambda x: x[0], first), jax.tree.map(lambda x: x[0, 0], rest)):
        board.spec.observation.validate(timestep.observation)
        assert timestep.reward.dtype == timestep.discount.dtype == np.float32
        assert timestep.step_type.dtype == np.int8


@pytest.mark.parametrize("board", [Catch(), Catch(3, 5), Catch(4, 6), Catch(2, 1)], ids=str)
def test_the_best_return_is_one_in_every_column(board):
    keys = jax.random.split(jax.random.key(1), 100)
    columns, returns = play_towards_the_ball(board, keys)
    assert set(columns.tolist()) == set(range(board.columns))
    np.testing.assert_array_equal(returns, np.ones(100))


def test_the_column_of_the_ball_is_uniform():
    keys = jax.random.split(jax.random.key(2), 10_000)
    columns = jax.jit(jax.vmap(Catch().reset))(keys)[0].ball_column
    assert scipy.stats.chisquare(np.bincount(columns, minlength=5)).pvalue > 1e-3


@pytest.mark.parametrize("size", [(1, 5), (10, 0), (-1, -1)])
def test_a_board_without_room_is_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]} rows and {size[1]} columns was given"):
        Catch(*size)
