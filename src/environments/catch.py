"""Catch: a ball falls, a paddle must be under it (the first environment of bsuite)."""

from dataclasses import dataclass
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition
from expedition.exploration.threefry import without_loop


class CatchState(NamedTuple):
    """Where ball and paddle are."""

    ball_row: jax.Array  # [] int32, 0 at the top
    ball_column: jax.Array  # [] int32
    paddle_column: jax.Array  # [] int32, always in the bottom row


@dataclass(frozen=True)
class Catch:
    """The ball starts in a random column and falls a row a step; +1 if caught, -1 if not.

    Actions: 0 left, 1 stay, 2 right. Observation: the board, float32 `[rows, columns]`, 1 at
    ball and paddle. An episode lasts `rows - 1` steps and terminates. The best mean return is 1,
    if the paddle has the time to reach the edge: `rows > columns // 2`.

    Source: Osband et al. (2020), Behaviour Suite for Reinforcement Learning, section B.2.
    """

    rows: int = 10
    columns: int = 5

    def __post_init__(self) -> None:
        if self.rows < 2 or self.columns < 1:
            raise ValueError(
                f"a board of {self.rows} rows and {self.columns} columns was given; "
                "expected at least 2 rows and 1 column"
            )

    @property
    def spec(self) -> EnvironmentSpec:
        """A board to look at, three actions."""
        board = specs.BoundedArray((self.rows, self.columns), "float32", 0.0, 1.0, "board")
        return EnvironmentSpec(board, specs.DiscreteArray(3, name="action"))

    def reset(self, key: jax.Array) -> tuple[CatchState, dm_env.TimeStep]:
        """Puts the ball in a random column of the top row, the paddle in the middle."""
        # Half the price of `randint` at compile and run time; its bias is below 1e-6.
        column = jnp.floor(jax.random.uniform(without_loop(key)) * self.columns).astype(jnp.int32)
        state = CatchState(jnp.int32(0), column, jnp.int32(self.columns // 2))
        return state, first(self._board(state))

    def step(self, state: CatchState, action: jax.Array) -> tuple[CatchState, dm_env.TimeStep]:
        """Moves the paddle, then lets the ball fall by a row."""
        paddle = jnp.clip(state.paddle_column + action - 1, 0, self.columns - 1)
        state = CatchState(state.ball_row + 1, state.ball_column, paddle.astype(jnp.int32))
        landed = state.ball_row == self.rows - 1
        caught = jnp.where(state.ball_column == state.paddle_column, 1.0, -1.0)
        reward = jnp.where(landed, caught, 0.0)
        return state, transition(self._board(state), reward, terminated=landed)

    def _board(self, state: CatchState) -> jax.Array:
        board = jnp.zeros((self.rows, self.columns), jnp.float32)
        board = board.at[state.ball_row, state.ball_column].set(1.0)
        return board.at[self.rows - 1, state.paddle_column].set(1.0)
