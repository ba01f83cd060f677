"""Cart-pole swing-up from a sparse reward, the task of a team: dm_control's model in pure JAX."""

from dataclasses import dataclass
from math import pi
from typing import Literal, NamedTuple, get_args

import chex
import dm_env
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs

from expedition.environments.interface import EnvironmentSpec, first, transition

Goal = Literal["scaled", "metric"]

CART_MASS, POLE_MASS = 1.0, 0.1  # kg
LENGTH, RADIUS = 1.0, 0.045  # m, of the pole, a capsule whose ends are half balls beyond its length
GRAVITY = 9.81  # m/s²
FORCE = 10.0  # N
RAIL = 1.8  # m, from the middle to the soft stop
TIME_STEP = 0.01  # s
CART_DAMPING, POLE_DAMPING = 5e-4, 2e-6  # N s/m, N m s
# MuJoCo's constraint at the rail's ends: time constant in s, damping ratio 1; its impedance grows
# from the first to the second number as the cart goes in by the width, in m.
STOP_TIME, STOP_IMPEDANCE, STOP_WIDTH = 0.08, (0.9, 0.95), 0.001


class SwingupState(NamedTuple):
    """Where an agent's cart and pole are."""

    position: jax.Array  # [] m, of the cart
    angle: jax.Array  # [] rad, 0 upright, pi hanging
    velocity: jax.Array  # [] m/s, of the cart
    spin: jax.Array  # [] rad/s
    steps: jax.Array  # [] int32


def _moments() -> tuple[float, float, float]:
    """Total mass, the pole's first moment and its second about the hinge."""
    tube, balls = RADIUS**2 * LENGTH, 4 / 3 * RADIUS**3
    tube, balls = (POLE_MASS * part / (tube + balls) for part in (tube, balls))
    inertia = tube * (LENGTH**2 / 12 + RADIUS**2 / 4)
    inertia += balls * (2 / 5 * RADIUS**2 + LENGTH**2 / 4 + 3 / 8 * LENGTH * RADIUS)
    return CART_MASS + POLE_MASS, POLE_MASS * LENGTH / 2, inertia + POLE_MASS * LENGTH**2 / 4


MASS, MOMENT, INERTIA = _moments()
STOP_WEIGHT = INERTIA / (MASS * INERTIA - MOMENT**2)  # 1/kg, the cart's with the pole upright


def accelerations(
    position: chex.Array,
    angle: chex.Array,
    velocity: chex.Array,
    spin: chex.Array,
    force: chex.Array,
) -> tuple[chex.Array, chex.Array]:
    """Accelerations of cart, m/s², and pole, rad/s², as MuJoCo's forward dynamics have them.

    All arguments have one shape, in m, rad, m/s, rad/s and N.

        M (x'', φ'') = (F - d x' + m l/2 φ'^2 sin φ, m g l/2 sin φ - d_φ φ') + (stop's force, 0)

    The stop's force is that of MuJoCo's soft constraint, `max(0, (a* - a) / (A + R))` towards the
    middle for the acceleration a that the cart would have without, and none inside the rail.

    Source: https://mujoco.readthedocs.io/en/stable/computation/index.html and
    .../modeling.html#solver-parameters.
    """
    coupling = MOMENT * jnp.cos(angle)
    determinant = MASS * INERTIA - coupling**2
    push = force - CART_DAMPING * velocity + MOMENT * jnp.sin(angle) * spin**2
    torque = GRAVITY * MOMENT * jnp.sin(angle) - POLE_DAMPING * spin
    free = (INERTIA * push - coupling * torque) / determinant
    weight = INERTIA / determinant

    outwards = jnp.sign(position)
    depth = jnp.abs(position) - RAIL
    soft, hard = STOP_IMPEDANCE
    inside = jnp.clip(depth / STOP_WIDTH, 0, 1)
    curve = jnp.where(inside < 0.5, 2 * inside**2, 1 - 2 * (1 - inside) ** 2)
    impedance = soft + (hard - soft) * curve
    wanted = 2 / (hard * STOP_TIME) * outwards * velocity
    wanted += impedance / (hard * STOP_TIME) ** 2 * depth
    resistance = (1 - impedance) / impedance * STOP_WEIGHT
    stop = jnp.maximum((wanted + outwards * free) / (weight + resistance), 0)
    push -= jnp.where(depth > 0, outwards * stop, 0)
    return (
        (INERTIA * push - coupling * torque) / determinant,
        (MASS * torque - coupling * push) / determinant,
    )


@dataclass(frozen=True)
class Swingup:
    """A cart of 1 kg on a rail, a pole of .1 kg and 1 m; a team shares the start.

    Actions push with -10, 0 or 10 N for .01 s: one step of the Runge-Kutta method of order 4. The
    reward is 1 where the new state is in the goal, less the cost of a push. Nothing ends the
    episode but its length.

    Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
    Reinforcement Learning, https://arxiv.org/abs/1805.08948, section 4.2; physics of Tassa et al.
    (2018), DeepMind Control Suite, https://arxiv.org/abs/1801.00690.
    """

    goal: Goal = "scaled"
    """Whether |x| < .1, |x'| < 1, |φ'| < 1 are in units of 2 m, 10 m/s, 10 rad/s or in metric ones;
    the authors' own trajectories say the former."""
    position_scale: float = 10.0
    """m; what a position is divided by in the features, as printed; the authors' data have 2."""
    push_cost: float = 0.1
    """What an action that pushes costs."""
    start_deviation: float = 0.01
    """Standard deviation of the start's four numbers around hanging at rest in the middle."""
    max_steps: int = 3000
    """Length of an episode."""

    def __post_init__(self) -> None:
        if self.goal not in get_args(Goal):
            raise ValueError(f"goal is {self.goal!r}; expected one of {get_args(Goal)}")
        if self.max_steps < 1 or not self.position_scale > 0:
            raise ValueError(
                f"max_steps is {self.max_steps} and position_scale {self.position_scale}; expected "
                "at least 1 and a positive number"
            )

    @property
    def spec(self) -> EnvironmentSpec:
        """Six features to see; to push left, not at all or right."""
        return EnvironmentSpec(
            specs.Array((6,), np.float32, "features"), specs.DiscreteArray(3, name="force")
        )

    def draw(self, key: jax.Array) -> SwingupState:
        """The start that all agents share."""
        position, angle, velocity, spin = self.start_deviation * jax.random.normal(key, (4,))
        return SwingupState(position, pi + angle, velocity, spin, jnp.int32(0))

    def reset(self, world: SwingupState, key: jax.Array) -> tuple[SwingupState, dm_env.TimeStep]:
        """Puts an agent at the start."""
        del key
        return world, first(self.features(world))

    def step(
        self, world: SwingupState, state: SwingupState, action: jax.Array
    ) -> tuple[SwingupState, dm_env.TimeStep]:
        """Pushes for one time step."""
        del world
        state = self.advance(state, action)
        cut_off = state.steps >= self.max_steps
        return state, transition(
            self.features(state), self.reward(state, action), truncated=cut_off
        )

    def advance(self, state: SwingupState, action: jax.Array) -> SwingupState:
        """The state after one time step."""
        force, h = FORCE * (action - 1), TIME_STEP

        def slope(x: jax.Array) -> jax.Array:
            position, angle, velocity, spin = x
            moved = accelerations(position, angle, velocity, spin, force)
            return jnp.stack([velocity, spin, *moved])

        x = jnp.stack(state[:4])
        k1 = slope(x)
        k2 = slope(x + h / 2 * k1)
        k3 = slope(x + h / 2 * k2)
        k4 = slope(x + h * k3)
        x += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        position, angle, velocity, spin = x
        return SwingupState(position, angle, velocity, spin, state.steps + 1)

    def features(self, state: SwingupState) -> jax.Array:
        """`cos φ, sin φ, φ'/10, x/scale, x'/10`, and whether x is in the goal's range, `[6]`."""
        return jnp.stack([
            jnp.cos(state.angle),
            jnp.sin(state.angle),
            state.spin / 10,
            state.position / self.position_scale,
            state.velocity / 10,
            jnp.abs(state.position) < self._range,
        ]).astype(jnp.float32)  # fmt: skip

    def is_goal(self, state: SwingupState) -> jax.Array:
        """Whether the pole is up, near the middle and slow."""
        speed = 10 if self.goal == "scaled" else 1
        return (
            (jnp.cos(state.angle) > 0.95)
            & (jnp.abs(state.position) < self._range)
            & (jnp.abs(state.velocity) < speed)
            & (jnp.abs(state.spin) < speed)
        )

    @property
    def _range(self) -> float:
        return 0.2 if self.goal == "scaled" else 0.1  # m

    def reward(self, state: SwingupState, action: jax.Array) -> jax.Array:
        """The reward of an action that led to this state."""
        return self.is_goal(state) - self.push_cost * jnp.abs(action - 1)
