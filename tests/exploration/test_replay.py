"""The shared buffer against agents that each keep a buffer of their own."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compilation import FOR_USERS
from expedition.exploration.replay import extend, make_replay, sample, sample_newest
from expedition.exploration.seeds import datum_in_slot, make_seeds, replacement_slot

KEY = make_seeds(jax.random.key(0)).replacement
AGENTS, BATCH = 3, 4096
CAPACITIES = pytest.mark.parametrize("capacity", [1, 7])
EXAMPLE = {"number": jnp.int32(0), "row": (jnp.zeros((2, 3)), jnp.zeros(1, bool))}


def data(numbers):
    """[B, ...] data that tell their number, traced or not."""
    numbers = numbers if isinstance(numbers, jax.Array) else np.asarray(numbers, np.int32)
    row = numbers[:, None, None].astype(np.float32) + np.zeros((1, 2, 3), np.float32)
    return {"number": numbers, "row": (row, numbers[:, None] % 2 == 1)}


def assert_data_tell(drawn, numbers):
    jax.tree.map(np.testing.assert_array_equal, drawn, data(numbers))


@cache
def own_buffers(capacity):
    """[5C + 1, agents, C]: after each datum, what agents hold that overwrite their own arrays."""
    size = 5 * capacity
    slot = jax.jit(replacement_slot, static_argnames="capacity")(
        KEY, np.arange(AGENTS)[:, None], np.arange(size)[None], capacity
    )
    buffers = [np.full((AGENTS, capacity), -1)]
    for datum in range(size):
        buffer = buffers[-1].copy()
        buffer[np.arange(AGENTS), slot[:, datum]] = datum
        buffers.append(buffer)
    return np.stack(buffers)


@partial(jax.jit, static_argnames="capacity")
def filled(size, capacity):
    """A buffer to which that many data were added."""

    def add(replay, number):
        return extend(replay, data(number[None]), (number < size)[None]), None

    return jax.lax.scan(add, make_replay(EXAMPLE, capacity), jnp.arange(5 * capacity))[0]


def draw_once(replay, agent, key):
    return sample(replay, KEY, agent, key, BATCH)


draw = jax.jit(draw_once)
add = jax.jit(extend)


@CAPACITIES
def test_every_slot_holds_what_the_agents_own_buffer_holds(capacity):
    expected = own_buffers(capacity)
    size, agent, slot = np.ogrid[: len(expected), :AGENTS, :capacity]
    drawn = jax.jit(datum_in_slot, static_argnames="capacity")(KEY, agent, slot, size, capacity)
    np.testing.assert_array_equal(drawn, expected)


@CAPACITIES
def test_samples_are_uniform_over_the_agents_own_buffer(capacity):
    for size in range(1, 5 * capacity + 1, max(1, capacity // 2)):
        replay = filled(size, capacity)
        for agent in range(AGENTS):
            drawn, numbers = draw(replay, agent, jax.random.key(agent))
            assert_data_tell(drawn, numbers)
            held = own_buffers(capacity)[size, agent]
            counts = np.bincount(numbers, minlength=size)
            np.testing.assert_array_equal(np.flatnonzero(counts), np.sort(held[held >= 0]))
            mean = BATCH / min(size, capacity)
            np.testing.assert_allclose(counts[counts > 0], mean, atol=4 * mean**0.5)


def test_agents_see_different_selections():
    views = own_buffers(7)[-4]  # within a cycle, where the orders show
    assert len({tuple(sorted(view)) for view in views}) == AGENTS


def test_sampling_under_vmap_equals_each_agent_alone():
    """Also with buffers of which only one has overwritten data."""
    replays = filled(3, 7), filled(20, 7)
    key = jax.random.key(0)
    of_agents = jax.vmap(draw_once, in_axes=(None, 0, None))
    of_buffers = jax.jit(jax.vmap(of_agents, in_axes=(0, None, None)))
    stacked = jax.tree.map(lambda *x: np.stack(x), *replays)
    _, numbers = of_buffers(stacked, np.arange(AGENTS), key)
    each = [[draw(replay, agent, key)[1] for agent in range(AGENTS)] for replay in replays]
    np.testing.assert_array_equal(numbers, each)


def test_another_key_draws_another_batch():
    (_, first), (_, second) = (draw(filled(20, 7), 0, jax.random.key(i)) for i in range(2))
    assert (first != second).mean() > 0.8


def test_an_empty_buffer_gives_numbers_that_say_so():
    _, numbers = draw(make_replay(EXAMPLE, 7), 0, jax.random.key(0))
    np.testing.assert_array_equal(numbers, -1)


def test_valid_data_are_numbered_in_their_order_and_invalid_ones_change_nothing():
    rng = np.random.default_rng(0)
    capacity, added = 4, 0
    replay = expected = make_replay(EXAMPLE, capacity)
    for _ in range(12):
        is_valid = rng.random(6) < 0.5
        numbers = np.where(is_valid, added + np.cumsum(is_valid) - 1, -99)
        replay = add(replay, data(numbers), is_valid)
        for number in numbers[is_valid]:
            expected = add(expected, data([number]), np.array([True]))
        added += is_valid.sum()
        assert replay.size == expected.size == added
        jax.tree.map(np.testing.assert_array_equal, replay, expected)
    assert added > 4 * capacity

    unchanged = add(replay, data([-99] * 6), np.zeros(6, bool))
    jax.tree.map(np.testing.assert_array_equal, unchanged, replay)


def test_the_ring_holds_the_newest_data_of_two_cycles():
    replay = filled(17, 7)
    assert replay.capacity == 7
    np.testing.assert_array_equal(replay.data["number"], [14, 15, 16, *range(3, 14)])


def test_as_many_data_as_rows_fill_the_ring_at_once():
    replay = add(filled(3, 7), data(range(3, 17)), np.ones(14, bool))
    np.testing.assert_array_equal(replay.data["number"], [14, 15, 16, *range(3, 14)])


@pytest.mark.parametrize("rows", [1, 2])
def test_a_device_writes_into_its_ring_and_copies_nothing_of_it(rows):
    def step(replay, is_valid):
        replay = extend(replay, data(jnp.arange(rows)), is_valid)
        return replay, sample(replay, KEY, 0, jax.random.key(0), 2)

    def memory(capacity):
        replay = jax.tree.map(lambda x: x[None], make_replay(EXAMPLE, capacity))
        program = jax.pmap(step, donate_argnums=0).lower(replay, np.ones((1, rows), bool))
        ring = sum(x.nbytes for x in jax.tree.leaves(replay))
        found = program.compile(FOR_USERS).memory_analysis()
        assert found.alias_size_in_bytes == ring
        return found.temp_size_in_bytes

    assert memory(1000) == memory(100_000)


def test_adding_and_sampling_in_a_scan_copies_no_ring():
    def step(replay, number):
        replay = extend(replay, data(number[None]), (number % 2 == 0)[None])
        return replay, sample(replay, KEY, 0, jax.random.key(0), 2)

    def loop(replay):
        return jax.lax.scan(step, replay, jnp.arange(10))

    replay = make_replay(EXAMPLE, 100_000)
    compiled = jax.jit(loop, donate_argnums=0).lower(replay).compile(FOR_USERS)
    ring = sum(x.nbytes for x in jax.tree.leaves(replay))
    assert compiled.memory_analysis().temp_size_in_bytes < ring / 100


def test_wrong_data_are_named():
    replay = make_replay(EXAMPLE, 2)
    one = jnp.ones(1, bool)
    for wrong in ({"number": jnp.zeros(1, jnp.int32)}, data([1, 2]), data([1])["row"]):
        with pytest.raises(ValueError, match=r"were given; expected .*like the example"):
            extend(replay, wrong, one)
    with pytest.raises(ValueError, match="int32"):
        extend(replay, data([1]) | {"number": jnp.zeros(1)}, one)
    for is_valid in (jnp.ones(5, bool), jnp.ones(1), jnp.bool_(True), jnp.ones(0, bool)):
        with pytest.raises(ValueError, match=r"expected bool \[B\], 1 ≤ B ≤ 4"):
            extend(replay, data([1]), is_valid)
    for example, capacity in ((EXAMPLE, 0), ((), 2)):
        with pytest.raises(ValueError, match="expected at least 1 of both"):
            make_replay(example, capacity)


@CAPACITIES
@pytest.mark.parametrize("newest", [1, 3, 100])
def test_the_newest_are_drawn_uniformly(capacity, newest):
    for size in (1, 2, capacity, 3 * capacity + 1):
        if size > 5 * capacity:
            continue
        replay = filled(size, capacity)
        drawn, number = sample_newest(replay, jax.random.key(size), BATCH, newest)
        assert_data_tell(drawn, np.asarray(number))
        count = min(size, newest, capacity)
        found = np.bincount(size - 1 - np.asarray(number), minlength=count)
        assert len(found) == count
        np.testing.assert_allclose(found, BATCH / count, atol=5 * (BATCH / count) ** 0.5)
