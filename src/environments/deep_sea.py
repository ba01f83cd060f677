"""Deep sea: one of 2^N ways down leads to the treasure, and every step of it costs (bsuite)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition

Observation = Literal["grid", "cell"]


class DeepSeaState(NamedTuple):
    """Where the diver is."""

    row: jax.Array  # [] int32, the number of actions so far
    column: jax.Array  # [] int32
    is_bad: jax.Array  # [] bool, whether it went left where only right leads to the treasure
    key: jax.Array  # of the episode's currents and noise


@dataclass(frozen=True)
class DeepSea:
    """A diver falls a row a step, left or right; the treasure lies at the bottom, far right.

    In each cell another one of the two actions means right, as `mapping_seed` has drawn it. Right
    costs `move_cost / size`; right in the last row's last column pays 1. An episode lasts `size`
    steps and terminates. The best return is `1 - move_cost`, which a random policy finds once in
    2^size episodes. An episode is *bad* if it left the diagonal by an action.

    Stochastic: right fails, and leads straight down, with probability 1 / size; the last step of
    an episode pays N(0, 1) more in the first and in the last column.

    Observation: the grid, float32 `[size, size]`, 1 where the diver is, all 0 after the last step;
    or as a cell the same as one int32, `row (row + 1) / 2 + column`, and `size (size + 1) / 2`
    after the last step: a diver can only be where column <= row, and no other cell has a number.

    Source: Osband et al. (2020), Behaviour Suite for Reinforcement Learning,
    https://arxiv.org/abs/1908.03568, section B.4 and its code `environments/deep_sea.py`, whose
    mapping for the same seed this is.
    """

    size: int = 10
    stochastic: bool = False
    mapping_seed: int = 42
    """bsuite's experiments `deep_sea` and `deep_sea_stochastic` have 42."""
    move_cost: float = 0.01
    """The return of `size` steps to the right."""
    observation: Observation = "grid"

    def __post_init__(self) -> None:
        if self.size < 2 or not 0 <= self.mapping_seed < 2**32:
            raise ValueError(
                f"size is {self.size} and mapping_seed {self.mapping_seed}; expected at least 2, "
                "and a seed of 32 bits"
            )
        if self.observation not in get_args(Observation):
            raise ValueError(
                f"observation is {self.observation!r}; expected one of {get_args(Observation)}"
            )

    @cached_property
    def right(self) -> np.ndarray:
        """`[size, size]`, the action that means right in each cell."""
        # The legacy generator is bsuite's: another one would draw another mapping.
        drawn = np.random.RandomState(self.mapping_seed)
        return drawn.binomial(1, 0.5, (self.size, self.size)).astype(np.int32)

    @property
    def num_cells(self) -> int:
        """Values of an observation as a cell: those that can be reached, and the end."""
        return self.size * (self.size + 1) // 2 + 1

    @property
    def optimal_return(self) -> float:
        """The best policy's mean return, of a stochastic sea to the order of the move cost."""
        success = (1 - 1 / self.size) ** (self.size - 1) if self.stochastic else 1.0
        return success - self.move_cost

    @property
    def spec(self) -> EnvironmentSpec:
        """A grid or a cell's number to see; two actions."""
        seen: specs.BoundedArray | specs.DiscreteArray
        if self.observation == "cell":
            seen = specs.DiscreteArray(self.num_cells, name="cell")
        else:
            seen = specs.BoundedArray((self.size, self.size), "float32", 0.0, 1.0, "grid")
        return EnvironmentSpec(seen, specs.DiscreteArray(2, name="action"))

    def reset(self, key: jax.Array) -> tuple[DeepSeaState, dm_env.TimeStep]:
        """Puts the diver at the top left."""
        state = DeepSeaState(jnp.int32(0), jnp.int32(0), jnp.bool_(False), key)
        return state, first(self._observe(state))

    def step(self, state: DeepSeaState, action: jax.Array) -> tuple[DeepSeaState, dm_env.TimeStep]:
        """Falls a row."""
        row, column, last = state.row, state.column, self.size - 1
        right = action == jnp.asarray(self.right)[row, column]
        moves = right
        reward = jnp.where(right, jnp.where(column == last, 1.0, 0.0), 0.0)
        reward -= jnp.where(right, self.move_cost / self.size, 0.0)
        if self.stochastic:
            fails_key, noise_key = jax.random.split(jax.random.fold_in(state.key, row))
            moves &= jax.random.uniform(fails_key) > 1 / self.size
            at_end = (row == last) & ((column == 0) | (column == last))
            reward += jnp.where(at_end, jax.random.normal(noise_key), 0.0)
        sideways = jnp.where(moves, 1, jnp.where(right, 0, -1))
        after = DeepSeaState(
            row + 1,
            jnp.clip(column + sideways, 0, last).astype(jnp.int32),
            state.is_bad | (~right & (row == column)),
            state.key,
        )
        return after, transition(self._observe(after), reward, terminated=after.row >= self.size)

    def _observe(self, state: DeepSeaState) -> jax.Array:
        row, is_over = state.row, state.row >= self.size
        if self.observation == "cell":
            cell = row * (row + 1) // 2 + state.column
            return jnp.where(is_over, self.num_cells - 1, cell).astype(jnp.int32)
        cells = self.size**2
        cell = jnp.where(is_over, cells, row * self.size + state.column)
        return (jnp.arange(cells) == cell).astype(jnp.float32).reshape(self.size, self.size)
