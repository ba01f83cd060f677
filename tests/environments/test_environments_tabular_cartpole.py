"""The tabular cart-pole: its physics, its cells, its rewards, and the MDP made of its cells."""

from dataclasses import replace
from functools import cache
from math import cos, pi, sin

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from expedition.agents.tabular import TabularConfig, tabular
from expedition.environments.interface import FIRST, LAST, MID
from expedition.environments.tabular_cartpole import (
    CartpoleState,
    TabularCartpole,
    pseudo_regret,
)
from expedition.exploration.dirichlet import dirichlet_beliefs
from expedition.exploration.planning import MDP, value_iteration
from expedition.runtime.simulator import simulate

PAPER = TabularCartpole()
OTHER = TabularCartpole(
    cart_mass=2.0, pole_mass=0.7, length=1.6, gravity=5.0, force=7.0, time_step=0.02
)
PROBLEMS = pytest.mark.parametrize("problem", [PAPER, OTHER], ids=["paper", "other"])


def state(angle, velocity, steps=0):
    return CartpoleState(jnp.float32(angle), jnp.float32(velocity), jnp.int32(steps))


def exact(problem, angle, velocity, action):
    """One step, from the two coupled equations of cart and pole, in float64."""
    m, half = problem.pole_mass, problem.length / 2
    force = (-problem.force, 0.0, problem.force)[action]

    def slope(_, y):
        angle, velocity = y
        masses = [
            [problem.cart_mass + m, m * half * cos(angle)],
            [m * half * cos(angle), 4 / 3 * m * half**2],
        ]
        pushes = [
            force + m * half * velocity**2 * sin(angle),
            m * problem.gravity * half * sin(angle),
        ]
        return [velocity, np.linalg.solve(masses, pushes)[1]]

    start = [float(angle), float(velocity)]
    end = solve_ivp(slope, (0, problem.time_step), start, method="DOP853", rtol=1e-11, atol=1e-12)
    return end.y[:, -1]


def random_states(count, seed=0):
    rng = np.random.default_rng(seed)
    angle, velocity = rng.uniform(0, 2 * pi, count), rng.uniform(-8, 8, count)
    return angle.astype(np.float32), velocity.astype(np.float32), rng.integers(3, size=count)


def errors(problem, count=30):
    """Of one step each from random states: the greatest of the angle's and the velocity's."""
    angle, velocity, action = random_states(count)
    start = CartpoleState(angle, velocity, jnp.zeros(count, jnp.int32))
    end = jax.jit(jax.vmap(problem.advance))(start, action)
    expected = np.array([exact(problem, *x) for x in zip(angle, velocity, action, strict=True)])
    off = (np.asarray(end.angle, np.float64) - expected[:, 0] + pi) % (2 * pi) - pi
    return np.abs(off).max(), np.abs(end.velocity - expected[:, 1]).max()


@PROBLEMS
def test_a_step_is_that_of_the_coupled_equations(problem):
    off_angle, off_velocity = errors(problem)
    assert off_angle < 2e-6
    assert off_velocity < 5e-6


def test_the_error_of_a_step_is_of_order_five():
    steps = (0.05, 0.1, 0.2)
    size = [errors(replace(PAPER, time_step=step))[1] for step in steps]
    order = np.diff(np.log2(size))
    assert np.all((order > 4) & (order < 6.5)), order


@PROBLEMS
def test_without_force_the_energy_stays(problem):
    problem = replace(problem, time_step=0.002)

    def energy(x):
        m, mass, half = problem.pole_mass, problem.cart_mass + problem.pole_mass, problem.length / 2
        angle, velocity = np.asarray(x.angle, np.float64), np.asarray(x.velocity, np.float64)
        inertia = m * half**2 * (4 / 3 - m / mass * np.cos(angle) ** 2)
        return inertia * velocity**2 / 2 + m * problem.gravity * half * np.cos(angle)

    def step(x, _):
        x = problem.advance(x, jnp.int32(1))
        return x, x

    _, path = jax.lax.scan(step, state(2.0, 3.0), length=1500)
    assert np.ptp(path.velocity) > 3  # it swings
    height = problem.pole_mass * problem.gravity * problem.length  # from hanging to upright
    np.testing.assert_allclose(energy(path), energy(state(2.0, 3.0)), atol=2e-4 * height)


def test_the_actions_push_left_not_at_all_and_right():
    """The pole leans against the push, by the force over the mass without the pole's inertia."""
    ends = [PAPER.advance(state(0, 0), jnp.int32(action)) for action in range(3)]
    speeds = [float(end.velocity) for end in ends]
    assert speeds[0] > 0 == speeds[1] > speeds[2]
    expected = 10 / 1.1 / (0.5 * (4 / 3 - 0.1 / 1.1)) * 0.01
    assert speeds[0] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("angle", "velocity", "i", "j"),
    [
        (0.0, 0.0, 0, 3),
        (pi, 0.0, 5, 3),
        (pi / 10 - 1e-3, 0.0, 0, 3),
        (pi / 10 + 1e-3, 0.0, 1, 3),
        (2 * pi - pi / 10 + 1e-3, 0.0, 0, 3),  # the cell of upright goes round
        (2 * pi - pi / 10 - 1e-3, 0.0, 9, 3),
        (2 * pi - 1e-6, 0.0, 0, 3),
        (0.0, 2 * pi / 7 - 1e-3, 0, 3),
        (0.0, 2 * pi / 7 + 1e-3, 0, 4),
        (0.0, -2 * pi / 7 - 1e-3, 0, 2),
        (0.0, 2 * pi + 1, 0, 6),
        (0.0, 30.0, 0, 6),
        (0.0, -30.0, 0, 0),
    ],
)
def test_cells(angle, velocity, i, j):
    observation = PAPER.cell(state(angle, velocity))
    assert observation == 7 * i + j
    assert observation.dtype == jnp.int32


def test_a_grid_has_the_cells_it_is_given():
    problem = TabularCartpole(angle_cells=4, velocity_cells=2, max_velocity=1.0)
    angles = [0, pi / 2, pi, 3 * pi / 2]
    cells = [int(problem.cell(state(x, v))) for x in angles for v in (-0.5, 0.5)]
    assert cells == list(range(8))
    assert problem.spec.observation.num_values == problem.num_states == 8
    assert problem.spec.action.num_values == 3


def test_the_velocity_itself_is_not_clipped():
    end = PAPER.advance(state(pi / 2, 9.0), jnp.int32(1))
    assert end.velocity > 9


@pytest.mark.parametrize(
    ("angle", "velocity", "pays"),
    [
        (0.0, 0.0, True),
        (0.72, 0.0, True),  # cos 0.7227 = 0.75
        (0.725, 0.0, False),
        (2 * pi - 0.72, 0.0, True),
        (2 * pi - 0.725, 0.0, False),
        (0.0, 0.99, True),
        (0.0, 1.01, False),
        (0.0, -0.99, True),
        (0.0, -1.01, False),
        (pi, 0.0, False),
    ],
)
def test_rewards(angle, velocity, pays):
    rewards = [float(PAPER.reward(state(angle, velocity), action)) for action in range(3)]
    assert rewards == pytest.approx([pays - 0.01, float(pays), pays - 0.01], abs=1e-6)


def test_a_step_pays_for_where_it_leads():
    before = state(0.7226, 0.5)  # upright only before
    after, timestep = PAPER.step((), before, jnp.int32(1))
    assert PAPER.reward(before, jnp.int32(1)) == 1
    assert timestep.reward == PAPER.reward(after, jnp.int32(1)) == 0
    assert timestep.observation == PAPER.cell(after)


def test_the_pole_starts_hanging():
    keys = jax.random.split(jax.random.key(0), 2000)
    start, timestep = jax.vmap(PAPER.reset, in_axes=(None, 0))((), keys)
    for x, centre in ((start.angle, pi), (start.velocity, 0)):
        assert np.abs(x - centre).max() <= 0.05 + 1e-6
        assert np.ptp(x) > 0.099
        assert np.mean(x) == pytest.approx(centre, abs=5 * 0.1 / 12**0.5 / 2000**0.5)
    assert abs(np.corrcoef(start.angle, start.velocity)[0, 1]) < 5 / 2000**0.5
    assert np.all(timestep.step_type == FIRST)
    assert np.all(timestep.observation == 5 * 7 + 3)


def test_the_time_limit_is_no_termination():
    problem = TabularCartpole(max_steps=3)
    x, _ = problem.reset(problem.draw(jax.random.key(0)), jax.random.key(1))
    kinds, discounts = [], []
    for _ in range(3):
        x, timestep = problem.step((), x, jnp.int32(0))
        kinds.append(int(timestep.step_type))
        discounts.append(float(timestep.discount))
    assert kinds == [MID, MID, LAST]
    assert discounts == [1, 1, 1]
    assert x.steps == 3


@cache
def true_mdp():
    return jax.jit(PAPER.true_mdp)()


def test_the_true_mdp_is_the_mean_over_random_states_of_each_cell():
    rng = np.random.default_rng(0)
    count, model = 4000, true_mdp()
    np.testing.assert_allclose(model.probability.sum(-1), 1, rtol=1e-6)
    i, j = np.divmod(np.arange(70), 7)
    angle = (i[:, None] + rng.uniform(-0.5, 0.5, (70, count))) * 2 * pi / 10 % (2 * pi)
    velocity = (j[:, None] - 3 + rng.uniform(-0.5, 0.5, (70, count))) * 4 * pi / 7
    start = CartpoleState(*(x.astype(np.float32) for x in (angle, velocity)), np.zeros_like(i))
    step = jax.vmap(jax.vmap(PAPER.step, in_axes=(None, 0, None)), in_axes=(None, 0, None))
    start = start._replace(steps=jnp.zeros((70, count), jnp.int32))
    for action in range(3):
        _, timestep = jax.jit(step)((), start, action)
        arrivals = jax.nn.one_hot(timestep.observation, 70).mean(1)
        error = 6 * 0.5 / count**0.5
        np.testing.assert_allclose(model.probability[:, action], arrivals, atol=error)
        np.testing.assert_allclose(
            model.reward[:, action], timestep.reward.mean(1), atol=error, rtol=0
        )


def test_the_true_mdp_of_one_point_a_cell_is_a_step_from_its_centre():
    """Upright and at rest it stays if nothing pushes; pushes move it, but not out of the cell."""
    model = PAPER.true_mdp(resolution=1)
    assert np.all(np.isin(model.probability, (0, 1)))
    np.testing.assert_allclose(model.reward[3], [0.99, 1, 0.99], rtol=1e-6)
    assert np.all(model.probability[3, :, 3] == 1)
    hanging = 5 * 7 + 3
    np.testing.assert_allclose(model.reward[hanging], [-0.01, 0, -0.01], atol=1e-6)


@cache
def optimal_values(discount=0.99):
    return value_iteration(true_mdp(), sweeps=2000, discount=discount)


def test_the_optimal_policy_swings_the_pole_up_from_every_start():
    keys = jax.random.split(jax.random.key(0), 10)
    returns = jax.jit(PAPER.greedy_returns)(optimal_values(), keys)
    assert returns.shape == (10,)
    assert returns.min() > 2500
    assert returns.max() <= 3000


def test_doing_nothing_collects_nothing():
    still = jnp.zeros((70, 3)).at[:, 1].set(1)
    np.testing.assert_array_equal(
        PAPER.greedy_returns(still, jax.random.split(jax.random.key(0))), 0
    )


def test_greedy_returns_are_sums_over_the_steps_of_the_problem():
    problem = TabularCartpole(max_steps=200)
    key = jax.random.key(4)
    x, timestep = problem.reset((), key)
    total, step = 0.0, jax.jit(problem.step)
    policy = np.argmax(optimal_values(), axis=1)
    while timestep.step_type != LAST:
        x, timestep = step((), x, policy[timestep.observation])
        total += float(timestep.reward)
    assert abs(total) > 0.1  # the policy does something
    assert problem.greedy_returns(optimal_values(), key[None])[0] == pytest.approx(total, rel=1e-4)


def test_pseudo_regret_by_hand():
    """Staying pays 1 for ever, leaving to the absorbing state 0: with γ = 0.5, 2 against 0."""
    probability = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    mdp = MDP(jnp.array([[1.0, 0.0], [0.0, -0.25]]), None, probability)
    visits = jnp.array([[7.0, 3.0], [5.0, 4.0]])
    assert pseudo_regret(mdp, visits, discount=0.5) == pytest.approx(3 * 2 + 4 * 0.25)
    many = pseudo_regret(mdp, jnp.stack([visits, 0 * visits]), discount=0.5)
    np.testing.assert_allclose(many, [7, 0], rtol=1e-5)


def test_pseudo_regret_is_zero_for_optimal_actions_only():
    best = np.argmax(optimal_values(), axis=1)
    visits = jax.nn.one_hot(best, 3)
    assert pseudo_regret(true_mdp(), visits) == pytest.approx(0, abs=1e-3)
    worst = jax.nn.one_hot(np.argmin(optimal_values(), axis=1), 3)
    assert pseudo_regret(true_mdp(), worst) > 1


@pytest.mark.parametrize("clock", ["poisson", "synchronous"])
def test_agents_share_what_they_see_until_each_has_made_its_actions(clock):
    problem, agents = TabularCartpole(max_steps=20), 3
    beliefs = dirichlet_beliefs(problem.num_states, 3)
    agent = tabular(TabularConfig(sweeps=1, discount=0.95, warm_start=True), beliefs, agents)
    keys = jax.random.split(jax.random.key(0))
    outcome = simulate(agent, problem, keys, num_agents=agents, horizon=60, clock=clock)
    np.testing.assert_array_equal(outcome.steps, np.full((2, agents), 20))
    belief = outcome.state.params.belief
    np.testing.assert_array_equal(belief.visits.sum((1, 2)), [60, 60])
    rewards = (belief.visits * belief.reward).sum((1, 2))
    np.testing.assert_allclose(rewards, outcome.returns.sum(1), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pole_mass": 0.0}, "pole_mass is 0.0; expected a positive number"),
        ({"time_step": -0.01}, "time_step is -0.01; expected a positive number"),
        ({"angle_cells": 0}, "angle_cells is 0; expected at least 1"),
        ({"max_steps": 0}, "max_steps is 0; expected at least 1"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TabularCartpole(**options)


def test_impossible_questions_are_refused():
    with pytest.raises(ValueError, match="a resolution of 0 was given; expected at least 1"):
        PAPER.true_mdp(resolution=0)
    with pytest.raises(ValueError, match=r"a discount of 1\.0 was given"):
        pseudo_regret(true_mdp(), jnp.zeros((70, 3)), discount=1.0)
    with pytest.raises(AssertionError):
        pseudo_regret(true_mdp(), jnp.zeros((3, 70)))
    with pytest.raises(AssertionError):
        PAPER.greedy_returns(jnp.zeros((69, 3)), jax.random.split(jax.random.key(0)))
