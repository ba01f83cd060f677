"""Swinging up a pole on a cart of which agents see one of few cells of angle and velocity.

Source: Dimakopoulou & Van Roy (2018), Coordinated Exploration in Concurrent Reinforcement
Learning, https://arxiv.org/abs/1802.01282, section 5.
"""

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import chex
import dm_env
import jax
import jax.numpy as jnp
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition
from expedition.exploration.planning import MDP, value_iteration


class CartpoleState(NamedTuple):
    """Where the pole is; all arrays have one shape."""

    angle: jax.Array  # φ in [0, 2π), 0 upright, π hanging
    velocity: jax.Array  # φ' in radians a second
    steps: jax.Array  # int32, actions so far


@dataclass(frozen=True)
class TabularCartpole:
    """A pole hangs from a cart that can be pushed: swing it up and balance it.

    With the angle φ (0: upright), the force F in {-`force`, 0, `force`} (actions 0, 1, 2), the
    masses m of the pole and M of the cart, the length l and gravity g

        φ'' = (g sin φ - τ cos φ) / (l/2 (4/3 - m/(m + M) cos² φ)),
        τ = (F + m l/2 φ'² sin φ) / (m + M).

    An action lasts `time_step` seconds. It pays 1 if after it cos φ > `upright_cosine` and
    |φ'| < `slow_velocity`, and costs `force_cost` |F|. The start is (π, 0), each coordinate plus
    U[-`start_spread`, `start_spread`]; an episode is cut off after `max_steps` actions. Where the
    cart is does not matter.

    The observation is the cell's number, `velocity_cells * i + j`. There are `angle_cells` cells i
    around the circle, shifted by half a cell, so that upright is a cell's centre, and hanging one
    if their number is even. Between -`max_velocity` and `max_velocity` there are `velocity_cells`
    cells j; with an odd number of them rest is a centre. A faster pole is in the outermost cell:
    the observation is clipped, not the velocity.

    The grid is this project's choice, the paper does not give it. The equations are integrated
    by one Runge-Kutta step of order 4 an action, of which the error is below float32's rounding.
    Semi-implicit Euler would be cheaper, but planning costs far more than either, and each of its
    steps would be off by up to 6e-3 radians a second.

    There is nothing random that agents share, so the world is `()`.
    """

    cart_mass: float = 1.0  # kg
    pole_mass: float = 0.1  # kg
    length: float = 1.0  # m, of the whole pole
    gravity: float = 9.8  # m/s²
    force: float = 10.0  # N
    time_step: float = 0.01  # s
    force_cost: float = 0.001  # per newton and action
    upright_cosine: float = 0.75
    slow_velocity: float = 1.0  # rad/s
    start_spread: float = 0.05  # rad, rad/s
    max_steps: int = 3000
    angle_cells: int = 10
    velocity_cells: int = 7
    max_velocity: float = 2 * pi  # rad/s, of the grid

    def __post_init__(self) -> None:
        for name in ("cart_mass", "pole_mass", "length", "time_step", "max_velocity"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        for name in ("max_steps", "angle_cells", "velocity_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")

    @property
    def num_states(self) -> int:
        """Number of cells, S."""
        return self.angle_cells * self.velocity_cells

    @property
    def spec(self) -> EnvironmentSpec:
        """A cell to see; to push left, not at all or right."""
        return EnvironmentSpec(
            specs.DiscreteArray(self.num_states, name="cell"),
            specs.DiscreteArray(3, name="force"),
        )

    def draw(self, key: jax.Array) -> tuple[()]:
        """There is but one world."""
        del key
        return ()

    def reset(self, world: tuple[()], key: jax.Array) -> tuple[CartpoleState, dm_env.TimeStep]:
        """Lets the pole hang almost still."""
        del world
        spread = self.start_spread
        angle, velocity = jax.random.uniform(key, (2,), minval=-spread, maxval=spread)
        state = CartpoleState(pi + angle, velocity, jnp.int32(0))
        return state, first(self.cell(state))

    def step(
        self, world: tuple[()], state: CartpoleState, action: jax.Array
    ) -> tuple[CartpoleState, dm_env.TimeStep]:
        """Pushes for one time step."""
        del world
        state = self.advance(state, action)
        cut_off = state.steps >= self.max_steps
        return state, transition(self.cell(state), self.reward(state, action), truncated=cut_off)

    def cell(self, state: CartpoleState) -> jax.Array:
        """The observation of a state, int32."""
        angle = jnp.floor(state.angle / (2 * pi) * self.angle_cells + 0.5).astype(jnp.int32)
        velocity = jnp.floor((state.velocity / self.max_velocity + 1) / 2 * self.velocity_cells)
        velocity = jnp.clip(velocity, 0, self.velocity_cells - 1).astype(jnp.int32)
        return angle % self.angle_cells * self.velocity_cells + velocity

    def reward(self, state: CartpoleState, action: jax.Array) -> jax.Array:
        """The reward of an action that led to this state."""
        upright = jnp.cos(state.angle) > self.upright_cosine
        slow = jnp.abs(state.velocity) < self.slow_velocity
        return (upright & slow) - self.force_cost * jnp.abs(self._push(action))

    def advance(self, state: CartpoleState, action: jax.Array) -> CartpoleState:
        """One step of the Runge-Kutta method of order 4."""
        push, h = self._push(action), self.time_step

        def slope(angle: jax.Array, velocity: jax.Array) -> tuple[jax.Array, jax.Array]:
            return velocity, self._acceleration(angle, velocity, push)

        x, v, steps = state
        x1, v1 = slope(x, v)
        x2, v2 = slope(x + h / 2 * x1, v + h / 2 * v1)
        x3, v3 = slope(x + h / 2 * x2, v + h / 2 * v2)
        x4, v4 = slope(x + h * x3, v + h * v3)
        x += h / 6 * (x1 + 2 * x2 + 2 * x3 + x4)
        v += h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        return CartpoleState(x % (2 * pi), v, steps + 1)

    def true_mdp(self, resolution: int = 32) -> MDP:
        """The MDP of an agent that is anywhere in its cell with equal probability.

            p(s' | s, a) = the part of cell s from which a leads to cell s',
            r(s, a) = the mean reward of a over cell s.

        Cells are not Markov: what follows depends on where in the cell the pole is, hence on its
        past. Averaging over the cell is one way to forget it. It is done by the midpoint rule,
        without sampling. The outermost cells of velocity count up to `max_velocity` only.

        Args:
            resolution: n, each cell has n x n points.

        Returns:
            The dense MDP: S states, 3 actions, any of the S may follow.

        Raises:
            ValueError: the resolution is below 1.
        """
        if resolution < 1:
            raise ValueError(f"a resolution of {resolution} was given; expected at least 1")
        size = self.num_states
        points = self._midpoints(resolution)  # [S, P]
        action = jnp.arange(3)[None, :, None]
        points = jax.tree.map(lambda x: jnp.broadcast_to(x[:, None], (size, 3, x.shape[1])), points)
        after = self.advance(points, action)
        index = jnp.ogrid[:size, :3, :1]
        arrivals = jnp.zeros((size, 3, size)).at[index[0], index[1], self.cell(after)].add(1)
        return MDP(
            reward=self.reward(after, action).mean(axis=-1),
            successor=None,
            probability=arrivals / resolution**2,
        )

    def greedy_returns(self, q: jax.Array, keys: jax.Array) -> jax.Array:
        """Sums of rewards over `max_steps` actions that are greedy in the given values.

        The pole moves in its continuous space; the agent sees the cell.

        Args:
            q: `[S, 3]` action values; the first of the greatest wins.
            keys: `[N]`, one a start.

        Returns:
            `[N]` float32.

        Raises:
            AssertionError: the values' shape is not `[S, 3]`.
        """
        chex.assert_shape(q, (self.num_states, 3))
        policy = jnp.argmax(q, axis=-1)

        def act(state: CartpoleState, _: None) -> tuple[CartpoleState, jax.Array]:
            action = policy[self.cell(state)]
            state = self.advance(state, action)
            return state, self.reward(state, action)

        start = jax.vmap(lambda key: self.reset((), key)[0])(keys)
        return jnp.sum(jax.lax.scan(act, start, length=self.max_steps)[1], axis=0)

    def _push(self, action: jax.Array) -> jax.Array:
        return self.force * (action - 1.0)

    def _acceleration(self, angle: jax.Array, velocity: jax.Array, push: jax.Array) -> jax.Array:
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        mass, half = self.cart_mass + self.pole_mass, self.length / 2
        tau = (push + self.pole_mass * half * velocity**2 * sine) / mass
        inertia = half * (4 / 3 - self.pole_mass / mass * cosine**2)
        return (self.gravity * sine - cosine * tau) / inertia

    def _midpoints(self, resolution: int) -> CartpoleState:
        """The centres of a grid of n x n points in each cell, `[S, n²]`."""
        inside = (jnp.arange(resolution) + 0.5) / resolution
        i, j = jnp.divmod(jnp.arange(self.num_states)[:, None, None], self.velocity_cells)
        angle = (i - 0.5 + inside[None, :, None]) / self.angle_cells * 2 * pi % (2 * pi)
        velocity = ((j + inside[None, None]) / self.velocity_cells * 2 - 1) * self.max_velocity
        shape = (self.num_states, resolution, resolution)
        points = (jnp.broadcast_to(x, shape) for x in (angle, velocity, jnp.int32(0)))
        return CartpoleState(*(x.reshape(self.num_states, -1) for x in points))


def pseudo_regret(
    mdp: MDP, visits: chex.Array, *, discount: float = 0.99, sweeps: int = 2000
) -> jax.Array:
    """What the visited actions forgo in a known MDP.

        sum_{s, a} n(s, a) (max_a' Q*(s, a') - Q*(s, a)),

    where Q* are the optimal action values, by value iteration: 0 if all actions are optimal. The
    rewards' and the successors' noise is not in it.

    Args:
        mdp: the known MDP, S states and A actions.
        visits: `[..., S, A]` n, how often each action was taken.
        discount: γ of Q*, below 1.
        sweeps: of value iteration; Q* is off by at most γ^sweeps max|r| / (1 - γ).

    Returns:
        `[...]` float32.

    Raises:
        ValueError: the discount is not in [0, 1).
        AssertionError: the visits' last two axes are not S and A.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"a discount of {discount} was given; expected a number in [0, 1)")
    q = value_iteration(mdp, sweeps=sweeps, discount=discount)
    chex.assert_equal_shape_suffix([visits, q], 2)
    return jnp.tensordot(visits, q.max(axis=-1, keepdims=True) - q, axes=2, precision="highest")
