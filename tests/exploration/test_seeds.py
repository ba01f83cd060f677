"""The seeds are pure functions of key, agent and number, with the laws that they claim."""

import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.extend.random import threefry_2x32
from jax.sharding import NamedSharding, PartitionSpec

from compilation import FOR_USERS
from expedition.exploration.seeds import (
    bernoulli,
    datum_in_slot,
    exponential,
    exponential_of_all,
    gaussian,
    gaussian_of_all,
    make_seeds,
    replacement_slot,
    uniform,
)

SEEDS = make_seeds(jax.random.key(0))
AGENTS = DATA = 1024
CAPACITIES = pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 100, 1000])
# Each of (agent, 0 ... 6): the data of several cycles, the slots of a buffer in its third.
PURE = pytest.mark.parametrize(
    "draw",
    [
        partial(gaussian, SEEDS.noise),
        partial(replacement_slot, SEEDS.replacement, capacity=2),
        partial(datum_in_slot, SEEDS.replacement, size=17, capacity=7),
    ],
    ids=["gaussian", "slot", "datum"],
)


@cache
def normals(name="noise", seed=0):
    """[data, agents], of one stream."""
    key = getattr(make_seeds(jax.random.key(seed)), name)
    return np.asarray(gaussian_of_all(key, AGENTS, jnp.arange(DATA)), np.float64)


@cache
def slots(agents, cycles, capacity):
    """[agents, cycles, capacity], the order in which each cycle overwrites the slots."""
    data = jnp.arange(cycles * capacity)
    draw = jax.jit(partial(replacement_slot, capacity=capacity))
    drawn = draw(SEEDS.replacement, jnp.arange(agents)[:, None], data[None])
    return np.asarray(drawn).reshape(agents, cycles, capacity)


def test_bits_are_those_of_threefry():
    """One block a number: the agent and the number are its counter."""
    agent = np.array([0, 1, 2, 3, 999, 2**31 - 1], np.uint32)
    number = np.array([0, 7, 2**31 - 1, 3, 1, 2], np.uint32)
    first, second = np.asarray(jax.random.key_data(SEEDS.mask))
    bits = threefry_2x32((first, second), np.concatenate([agent, number]))[: len(agent)]
    expected = ((np.asarray(bits) >> 9) + 0.5) / 2**23
    np.testing.assert_array_equal(uniform(SEEDS.mask, agent, number), expected)


@pytest.mark.parametrize(
    ("draw", "draw_all"), [(gaussian, gaussian_of_all), (exponential, exponential_of_all)]
)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_all_agents_together_equal_each_alone(draw, draw_all, shape):
    number = np.arange(5, 5 + np.prod(shape, dtype=int)).reshape(shape)
    drawn = jax.jit(draw_all, static_argnums=1)(SEEDS.noise, 5, number)
    each = [jax.jit(draw)(SEEDS.noise, agent, number) for agent in range(5)]
    np.testing.assert_array_equal(drawn, np.stack(each, axis=-1))
    assert drawn.dtype == jnp.float32


@PURE
def test_a_draw_depends_on_nothing_but_agent_and_number(draw):
    agent, number = np.arange(5), np.array([6, 0, 3])
    draw = jax.jit(draw)
    together = draw(agent[:, None], number[None])
    of_one_agent = jax.vmap(draw, in_axes=(0, None))
    of_one_datum = jax.vmap(of_one_agent, in_axes=(None, 0), out_axes=1)
    np.testing.assert_array_equal(jax.jit(of_one_datum)(agent, number), together)

    some = draw(agent[3:0:-2, None].astype(np.uint32), number[None, ::-1])
    np.testing.assert_array_equal(some[:, ::-1], together[3:0:-2])
    np.testing.assert_array_equal([draw(2, j) for j in number], together[2])


@PURE
def test_a_draw_does_not_depend_on_the_devices(draw):
    agent, number = np.arange(16)[:, None], np.arange(7)[None]
    mesh = jax.make_mesh((8,), ("agents",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(agent, NamedSharding(mesh, PartitionSpec("agents")))
    drawn = jax.jit(draw)(sharded, number)
    assert len(drawn.sharding.device_set) == 8
    np.testing.assert_array_equal(drawn, jax.jit(draw)(agent, number))


@pytest.mark.parametrize("draw", [gaussian, partial(replacement_slot, capacity=7)])
def test_many_keys_under_vmap_draw_what_each_draws_alone(draw):
    keys, agent, number = jax.random.split(SEEDS.noise, 2), np.arange(3), np.arange(20, 23)
    drawn = jax.jit(jax.vmap(draw, in_axes=(0, None, None)))(keys, agent, number)
    draw = jax.jit(draw)
    np.testing.assert_array_equal(drawn, [draw(key, agent, number) for key in keys])


def test_agents_on_many_devices_exchange_nothing():
    mesh = jax.make_mesh((8,), ("agents",), axis_types=(jax.sharding.AxisType.Auto,))
    agent = jax.device_put(np.arange(16)[:, None], NamedSharding(mesh, PartitionSpec("agents")))
    compiled = (
        jax.jit(gaussian).lower(SEEDS.noise, agent, np.arange(8)[None]).compile(FOR_USERS).as_text()
    )
    for exchange in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert exchange not in compiled


def test_a_restart_draws_the_same():
    """Numbers written down once: they may never change, or no run can be continued."""
    agent, number = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 10**9])
    noise = gaussian(SEEDS.noise, agent, number)
    np.testing.assert_allclose(noise, [-1.4008839, 0.10123567, 2.4568093, 0.6765298], rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(gaussian)(SEEDS.noise, agent, number), noise)
    of_stream = [float(uniform(key, 5, 7)) for key in SEEDS]
    np.testing.assert_allclose(of_stream, [0.7386704, 0.7016689, 0.3237849, 0.6337897], rtol=1e-7)
    np.testing.assert_array_equal(slots(4, 2, 7)[3, 1], [4, 2, 6, 3, 0, 1, 5])


def test_another_draw_of_the_seed_differs():
    assert (normals(seed=0) != normals(seed=1)).mean() > 0.999


def test_laws():
    z = normals()
    n = z.size
    assert abs(z.mean()) < 4 / n**0.5
    assert abs(z.var() - 1) < 4 * (2 / n) ** 0.5
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 0.01
    e = np.asarray(exponential_of_all(SEEDS.mask, AGENTS, jnp.arange(DATA)), np.float64)
    assert abs(e.mean() - 1) < 4 / n**0.5
    assert abs(e.var() - 1) < 4 * (8 / n) ** 0.5
    assert scipy.stats.kstest(e.ravel(), "expon").pvalue > 0.01


def test_numbers_stay_in_the_open_interval():
    """So many draws that both extremes occur."""

    @jax.jit
    def extremes(number):
        drawn = [f(SEEDS.prior, 3, number) for f in (uniform, gaussian, exponential)]
        return jnp.array([[x.min(), x.max()] for x in drawn])

    u, z, e = np.asarray(extremes(jnp.arange(2**25)), np.float64)
    np.testing.assert_array_equal(u, [2**-24, 1 - 2**-24])
    assert -z[0] == z[1]
    np.testing.assert_allclose(z, scipy.stats.norm.ppf(u), rtol=1e-4)
    np.testing.assert_allclose(e, -np.log(u)[::-1], rtol=1e-6)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_bernoulli_is_true_at_its_rate(probability):
    kept = bernoulli(SEEDS.mask, jnp.arange(AGENTS)[:, None], jnp.arange(100)[None], probability)
    assert kept.dtype == bool
    deviation = (probability * (1 - probability) / kept.size) ** 0.5
    assert abs(kept.mean() - probability) <= 4 * deviation


def test_bernoulli_takes_a_probability_of_each_datum():
    kept = bernoulli(SEEDS.mask, jnp.arange(50)[:, None], jnp.arange(2)[None], jnp.eye(1, 2))
    np.testing.assert_array_equal(kept, np.tile([True, False], (50, 1)))


def test_draws_are_uncorrelated():
    """In value, size and sign, wherever a mistake would make one draw depend on another."""
    z = normals()
    above = np.triu_indices(DATA, 1)
    pairs = {
        "neighbouring agents": (z[:, :-1], z[:, 1:]),
        "even agents and odd ones": (z[:, ::2], z[:, 1::2]),
        "neighbouring data": (z[:-1], z[1:]),
        "agent and datum exchanged": (z[above], z.T[above]),
        "two keys": (z, normals(seed=1)),
    }
    for shift, skip in itertools.product((-2, -1, 1, 2), (1, 2)):
        pairs[f"datum + {shift}, agent + {skip}"] = z, np.roll(z, (shift, skip), axis=(0, 1))
    for one, other in itertools.combinations(SEEDS._fields, 2):
        pairs[f"{one} and {other}"] = normals(one), normals(other)

    for name, (x, y) in pairs.items():
        for part in (np.positive, np.square, np.sign):
            correlation = np.corrcoef(part(x).ravel(), part(y).ravel())[0, 1]
            assert abs(correlation) < 4 / x.size**0.5, (name, part)


def test_no_two_agents_and_no_two_data_are_correlated():
    """The largest of half a million correlations of 1024 draws each is below six deviations."""
    z = normals()
    for matrix in (np.corrcoef(z), np.corrcoef(z.T)):
        off_diagonal = matrix[np.triu_indices(len(matrix), 1)]
        assert np.abs(off_diagonal).max() < 6 / DATA**0.5


@CAPACITIES
def test_every_cycle_overwrites_every_slot_once(capacity):
    orders = slots(3, 4, capacity)
    assert orders.dtype == np.int32
    every_slot = np.broadcast_to(np.arange(capacity), orders.shape)
    np.testing.assert_array_equal(np.sort(orders), every_slot)
    np.testing.assert_array_equal(orders[:, 0], every_slot[:, 0])


@CAPACITIES
def test_the_newest_datum_in_a_slot_is_the_one_that_overwrote_it(capacity):
    """Right after datum j, its slot holds j; before, what is less than 2C data old, if anything."""
    slot = slots(3, 4, capacity).reshape(3, -1)
    datum = np.broadcast_to(np.arange(4 * capacity), slot.shape)
    newest = jax.jit(datum_in_slot, static_argnames="capacity")(
        SEEDS.replacement,
        np.arange(3)[:, None, None],
        slot[..., None],
        datum[..., None] + [0, 1],
        capacity,
    )
    before, after = np.moveaxis(newest, -1, 0)
    np.testing.assert_array_equal(after, datum)
    assert (before < datum).all()
    assert (before > datum - 2 * capacity).all()
    np.testing.assert_array_equal(before[:, :capacity], -1)


def test_orders_of_four_slots_are_equally_likely():
    orders = slots(24_000, 2, 4)[:, 1]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 0.01


def test_every_place_of_an_order_is_equally_likely_to_be_any_slot():
    orders = slots(1000, 5, 25)[:, 1:]
    for place in range(25):
        counts = np.bincount(orders[..., place].ravel(), minlength=25)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_half_of_the_orders_are_odd():
    parity = np.linalg.det(np.eye(25)[slots(1000, 5, 25)[:, 1:]]).round()
    np.testing.assert_array_equal(np.unique(parity), [-1, 1])
    assert abs(parity.mean()) < 4 / parity.size**0.5


@pytest.mark.parametrize("axis", [0, 1], ids=["agents", "cycles"])
def test_orders_are_independent(axis):
    """Two independent orders agree in one place in the mean, and in 1 ± 1 of them."""
    orders = np.moveaxis(slots(1000, 5, 25)[:, 1:], axis, 0)
    agreements = (orders[:-1] == orders[1:]).sum(axis=-1)
    assert abs(agreements.mean() - 1) < 4 / agreements.size**0.5


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="agent of type float32 was given; expected integers"):
        gaussian(SEEDS.noise, jnp.ones(3), 0)
    with pytest.raises(TypeError, match="number of type bool"):
        gaussian_of_all(SEEDS.noise, 3, jnp.array([True]))
    with pytest.raises(ValueError, match="'rbg' was given; expected 'threefry2x32'"):
        gaussian(jax.random.key(0, impl="rbg"), 0, 0)
    with pytest.raises(ValueError, match=r"keys of shape \(2,\) were given; expected a single key"):
        gaussian(jax.random.split(SEEDS.noise), 0, 0)
    with pytest.raises(ValueError, match="a capacity of 0 was given; expected at least 1"):
        replacement_slot(SEEDS.replacement, 0, 0, 0)
    with pytest.raises(ValueError, match="a capacity of -1"):
        datum_in_slot(SEEDS.replacement, 0, 0, 0, -1)
