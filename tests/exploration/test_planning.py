"""Value iteration against the enumeration of all policies."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.exploration.planning import MDP, value_iteration

STATES, ACTIONS = 3, 2
SEEDS = pytest.mark.parametrize("seed", range(3))
plan = jax.jit(value_iteration, static_argnames=("sweeps", "discount", "step_size"))


def random_mdp(seed, successors=STATES, states=STATES):
    """Any successors, in any order; some of an action's may be the same state."""
    rng = np.random.default_rng(seed)
    shape = (states, ACTIONS)
    return MDP(
        rng.normal(size=shape).astype(np.float32),
        rng.integers(states, size=(*shape, successors), dtype=np.int32),
        rng.dirichlet(np.ones(successors), size=shape).astype(np.float32),
    )


def dense(mdp):
    """The same MDP with all states as successors of each action, float64."""
    states, actions, _ = mdp.successor.shape
    probability = np.zeros((states, actions, states))
    for s, a, b in np.ndindex(mdp.successor.shape):
        probability[s, a, mdp.successor[s, a, b]] += mdp.probability[s, a, b]
    return MDP(np.asarray(mdp.reward, np.float64), None, probability)


def forms(mdp):
    """The same MDP with few successors, with all states as successors, and with none named."""
    probability = dense(mdp).probability.astype(np.float32)
    every = np.broadcast_to(np.arange(len(probability), dtype=np.int32), probability.shape)
    return mdp, MDP(mdp.reward, every, probability), MDP(mdp.reward, None, probability)


def stationary_policies(mdp):
    """Every choice of an action that the state has, for each state."""
    return itertools.product(*(np.flatnonzero(np.isfinite(row)) for row in mdp.reward))


def value_of_a_plan(mdp, policies, discount):
    """What every state is worth if one policy after the other is followed, [S]."""
    states = np.arange(len(mdp.reward))
    occupancy, value = np.eye(len(states)), np.zeros(len(states))
    for step, policy in enumerate(policies):
        value += discount**step * occupancy @ mdp.reward[states, policy]
        occupancy = occupancy @ mdp.probability[states, policy]
    return value


def best_of_all_plans(mdp, length, discount):
    """The optimal Q with `length` actions left: each state's best plan for what follows."""
    plans = itertools.product(list(stationary_policies(mdp)), repeat=length - 1)
    value = np.max([value_of_a_plan(mdp, list(plan), discount) for plan in plans], axis=0)
    return mdp.reward + discount * mdp.probability @ value


def best_of_all_stationary_policies(mdp, discount):
    """The optimal Q for ever: each state's best policy, which solves a linear system."""
    states = np.arange(len(mdp.reward))
    values = [
        np.linalg.solve(
            np.eye(len(states)) - discount * mdp.probability[states, policy],
            mdp.reward[states, policy],
        )
        for policy in map(list, stationary_policies(mdp))
    ]
    return mdp.reward + discount * mdp.probability @ np.max(values, axis=0)


@pytest.mark.parametrize("discount", [1.0, 0.7])
@SEEDS
def test_from_zero_it_finds_the_best_of_all_plans(seed, discount):
    mdp = random_mdp(seed)
    for length in (1, 2, 3):
        expected = best_of_all_plans(dense(mdp), length, discount)
        planned = plan(mdp, sweeps=length, discount=discount)
        assert planned.dtype == jnp.float32
        np.testing.assert_allclose(planned, expected, rtol=1e-5, atol=1e-5)


@SEEDS
def test_with_a_discount_it_finds_the_best_of_all_stationary_policies(seed):
    mdp = random_mdp(seed)
    expected = best_of_all_stationary_policies(dense(mdp), 0.6)
    np.testing.assert_allclose(plan(mdp, sweeps=40, discount=0.6), expected, rtol=1e-5, atol=1e-5)
    bound = 0.6**3 * np.abs(mdp.reward).max() / 0.4
    error = np.abs(plan(mdp, sweeps=3, discount=0.6) - expected).max()
    assert 0.01 * bound < error <= bound


@pytest.mark.parametrize("successors", [1, 2])
def test_few_successors_plan_as_all_states(successors):
    few, every, unnamed = (
        plan(form, sweeps=9, discount=0.9) for form in forms(random_mdp(3, successors, states=7))
    )
    np.testing.assert_allclose(few, every, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(few, unnamed, rtol=1e-5, atol=1e-5)
    assert np.ptp(few) > 1


@SEEDS
def test_a_missing_action_is_never_chosen(seed):
    mdp = random_mdp(seed)
    reward = mdp.reward.copy()
    best = np.argmax(plan(mdp, sweeps=3)[0])
    reward[0, best] = -np.inf
    is_there = np.isfinite(reward)
    mdp = mdp._replace(reward=reward)
    of_plans = best_of_all_plans(dense(mdp), 3, 1.0)
    of_policies = best_of_all_stationary_policies(dense(mdp), 0.6)
    for form in (forms(mdp)[0], forms(mdp)[2]):
        for expected, options in (
            (of_plans, {"sweeps": 3}),
            (of_policies, {"sweeps": 40, "discount": 0.6}),
        ):
            planned = np.asarray(plan(form, **options))
            assert planned[0, best] == -np.inf
            np.testing.assert_allclose(planned[is_there], expected[is_there], rtol=1e-5, atol=1e-5)


def test_sweeps_from_the_last_values_continue_them():
    mdp = random_mdp(0)
    whole = plan(mdp, sweeps=5, discount=0.9)
    parts = plan(mdp, sweeps=3, discount=0.9, initial=plan(mdp, sweeps=2, discount=0.9))
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    assert np.abs(whole - plan(mdp, sweeps=3, discount=0.9)).max() > 0.1
    np.testing.assert_array_equal(plan(mdp, sweeps=0, initial=whole), whole)


def test_one_sweep_is_one_backup():
    mdp, q = random_mdp(1), np.arange(STATES * ACTIONS, dtype=np.float32).reshape(STATES, ACTIONS)
    expected = dense(mdp).reward + 0.9 * dense(mdp).probability @ q.max(axis=1)
    np.testing.assert_allclose(plan(mdp, sweeps=1, discount=0.9, initial=q), expected, rtol=1e-5)


def test_many_models_are_planned_as_each_alone():
    every_form = zip(*(forms(random_mdp(seed)) for seed in range(3)), strict=True)
    for models in every_form:
        stacked = jax.tree.map(lambda *x: np.stack(x), *models)
        together = jax.jit(jax.vmap(partial(value_iteration, sweeps=4)))(stacked)
        each = [plan(mdp, sweeps=4) for mdp in models]
        np.testing.assert_allclose(together, each, rtol=1e-5, atol=1e-6)


def test_a_small_step_goes_part_of_the_way():
    mdp, q = random_mdp(1), np.ones((STATES, ACTIONS), np.float32)
    whole = plan(mdp, sweeps=1, initial=q)
    part = plan(mdp, sweeps=1, initial=q, step_size=0.25)
    np.testing.assert_allclose(part, 0.75 * q + 0.25 * whole, rtol=1e-5, atol=1e-6)


AXES = list(itertools.product([None, 0], repeat=3))


@pytest.mark.parametrize("inner", AXES[1:], ids=str)
@pytest.mark.parametrize("outer", AXES[1:], ids=str)
def test_two_axes_of_models_are_planned_as_each_alone(outer, inner):
    """Whichever of rewards, successors and first values have either axis."""
    few = [random_mdp(seed, 2) for seed in range(6)]
    starts = np.random.default_rng(0).normal(size=(6, STATES, ACTIONS)).astype(np.float32)

    def grid(values, place):
        """[2, 3, ...] values, those that have no axis all as the first along it."""
        values = np.stack(values).reshape(2, 3, *values[0].shape)
        values = values[:1] if outer[place] is None else values
        return values[:, :1] if inner[place] is None else values

    def without_missing_axes(values, place):
        values = values if inner[place] == 0 else values[:, 0]
        return values if outer[place] == 0 else values[0]

    parts = [
        grid(values, place)
        for place, values in enumerate(
            ([m.reward for m in few], [m.successor for m in few], list(starts))
        )
    ]

    def one(reward, successor, start):
        mdp = MDP(reward, successor, jnp.asarray(few[0].probability))
        return value_iteration(mdp, sweeps=3, discount=0.9, initial=start)

    nested = jax.jit(jax.vmap(jax.vmap(one, in_axes=inner), in_axes=outer))
    together = nested(*map(without_missing_axes, parts, range(3)))
    every = [np.broadcast_to(part, (2, 3, *part.shape[2:])) for part in parts]
    for i, j in np.ndindex(together.shape[:2]):
        alone = one(*(part[i, j] for part in every))
        np.testing.assert_allclose(together[i, j], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reward": np.zeros(STATES, np.float32)},
        {"reward": np.zeros((STATES, ACTIONS + 1), np.float32)},
        {"reward": np.zeros((STATES + 1, ACTIONS), np.float32)},
        {"successor": np.zeros((STATES, ACTIONS), np.int32)},
        {"probability": np.ones((STATES, ACTIONS, 1), np.float32)},
        {"probability": np.ones((STATES, ACTIONS, STATES + 1), np.float32), "successor": None},
        {"probability": np.ones((STATES, ACTIONS), np.float32), "successor": None},
        {"probability": np.ones((STATES, 1, STATES), np.float32), "successor": None},
    ],
    ids=lambda wrong: f"{'-'.join(wrong)}{next(iter(wrong.values())).shape}",
)
def test_arrays_that_do_not_fit_are_refused(wrong):
    with pytest.raises(AssertionError):
        value_iteration(random_mdp(0)._replace(**wrong), sweeps=1)


@pytest.mark.parametrize("shape", [(STATES,), (STATES, 1), (1, ACTIONS)], ids=str)
def test_values_that_do_not_fit_the_model_are_refused(shape):
    with pytest.raises(AssertionError):
        value_iteration(random_mdp(0), sweeps=1, initial=jnp.zeros(shape))
