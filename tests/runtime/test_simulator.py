"""The simulator against the same schedule in plain Python, one event after the other."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.agents.agent import Agent, Trajectory
from expedition.agents.seed_td import linear_seed_td
from expedition.environments.chains import bipolar_chain
from expedition.environments.interface import FIRST, LAST, MID, first, transition
from expedition.exploration.regression import RegressionConfig, one_hot_regression
from expedition.runtime import simulator
from expedition.runtime.clocks import poisson_order
from expedition.runtime.simulator import simulate, simulation

AGENTS, WORLDS, HORIZON = 4, 4, 9.5
GOAL, LIMIT = 20, 7
KEYS = jax.random.split(jax.random.key(5), WORLDS)
# Compiles in half the time, and what it compiles runs for an instant.
compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def below(key, bound):
    """A random integer from 0; cheap to compile."""
    return (jax.random.bits(key) % bound).astype(jnp.int32)


class Walk:
    """Integers throughout, so that a sum is exact; ends at the goal or at the time limit."""

    def __init__(self, max_steps=None):
        self.max_steps = max_steps

    def draw(self, key):
        return 1 + below(key, 4)

    def reset(self, world, key):
        position = world + below(key, 4)
        return (position, jnp.int32(0)), first({"position": position})

    def step(self, world, state, action):
        position, steps = state[0] + world * action, state[1] + 1
        reward = (position - 3 * action).astype(jnp.float32)
        end = {"terminated": position >= GOAL, "truncated": steps >= LIMIT}
        return (position, steps), transition({"position": position}, reward, **end)


class GossipState(NamedTuple):
    """All that happened, in one number that depends on its order, and how much it was."""

    params: jax.Array  # checksum, count


def gossip():
    """Acts on everything that it may know; what it knows is all that it may."""

    def init(key):
        return GossipState(jnp.stack([below(key, 1000), jnp.int32(0)]))

    def initial_actor_state(batch_size):
        return {"agent": jnp.arange(batch_size), "memory": jnp.zeros(batch_size, jnp.int32)}

    def act(params, actor, timestep, key):
        keys = jax.vmap(partial(jax.random.fold_in, key))(actor["agent"])
        chance = jax.vmap(lambda key: below(key, 3))(keys)
        action = (params[0] + actor["memory"] + timestep.observation["position"] + chance) % 3
        memory = (5 * actor["memory"] + params[0] + timestep.reward.astype(jnp.int32)) % 1009
        return action, {"chance": chance}, actor | {"memory": memory}

    def update(state, batch):
        seen = batch.transitions
        row = (
            7 * seen.observation["position"]
            + 3 * seen.action
            + seen.reward.astype(jnp.int32)
            + 5 * seen.next_observation["position"]
            + 11 * seen.discount.astype(jnp.int32)
            + 13 * batch.actor_state["agent"]
            + 17 * batch.actor_state["memory"]
            + 19 * batch.extras["chance"].ravel()
        )

        def add(params, row_and_validity):
            row, is_valid = row_and_validity
            added = jnp.stack([(31 * params[0] + row) % 10007, params[1] + 1])
            return jnp.where(is_valid, added, params), None

        return GossipState(jax.lax.scan(add, state.params, (row, seen.is_valid))[0]), {}

    return Agent(init, initial_actor_state, act, None, update)


CLOCKS = pytest.mark.parametrize(
    ("clock", "max_steps"),
    [("poisson", None), ("poisson", LIMIT), ("synchronous", None), ("two at once", None)],
)
RESTARTS = pytest.mark.parametrize("clock", ["poisson", "two at once"])


def settings(clock, horizon=HORIZON):
    if clock == "two at once":
        return {"clock": "synchronous", "at_once": 2, "num_agents": AGENTS, "horizon": horizon}
    return {"clock": clock, "num_agents": AGENTS, "horizon": horizon}


def run(keys, clock="poisson", max_steps=None, horizon=HORIZON, restart=False):
    return simulate(gossip(), Walk(max_steps), keys, restart=restart, **settings(clock, horizon))


@cache
def outcome(clock, max_steps, restart=False):
    arguments = {"clock": clock, "max_steps": max_steps, "restart": restart}
    if restart:
        arguments["horizon"] = 2 * HORIZON  # for several episodes
    return jax.device_get(compiled(partial(run, **arguments))(KEYS))


def of_world(outcome, world):
    return jax.tree.map(lambda x: x[world], outcome)


@compiled
def draws(key):
    """The random numbers of a world: each purpose has its own part of the world's key."""
    world_key, start_key, agent_key, clock_key, act_key = jax.random.split(key, 5)
    keys = jax.vmap(
        lambda tick: jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(act_key, tick)))(
            jnp.arange(AGENTS)
        )
    )(jnp.arange(200))

    def restarts(tick):
        keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 5), tick), AGENTS)
        return jax.vmap(lambda key: below(key, 4))(keys)

    return {
        "world": Walk().draw(world_key),
        "start": jax.vmap(lambda key: below(key, 4))(jax.random.split(start_key, AGENTS)),
        "checksum": below(agent_key, 1000),
        "clock": jax.random.key_data(clock_key),
        "chance": jax.vmap(jax.vmap(lambda key: below(key, 3)))(keys),
        "restart": jax.vmap(restarts)(jnp.arange(200)),
    }


def event_by_event(key, clock, max_steps, restart=False):
    """The same world in plain Python: (world, returns, steps, checksum, count, memories)."""
    drawn = jax.device_get(draws(key))
    world, checksum, count = int(drawn["world"]), int(drawn["checksum"]), 0
    position = [world + int(start) for start in drawn["start"]]
    returns, steps, age, memory, reward, has_ended = ([0] * AGENTS for _ in range(6))
    horizon = 2 * HORIZON if restart else HORIZON
    if clock == "poisson":
        clock_key = jax.random.wrap_key_data(drawn["clock"])
        order = poisson_order(clock_key, AGENTS, horizon, max_steps)
        instants = [[int(agent)] if agent < AGENTS else [] for agent in order]
    elif clock == "synchronous":
        instants = [range(AGENTS)] * int(horizon)  # at the times 1, 2, ...
    else:
        instants = [[0, 1], [2, 3]] * int(horizon)

    for tick, instant in enumerate(instants):
        known = checksum  # before the instant
        for place, k in enumerate(instant):
            if has_ended[k] and not restart:
                continue
            if has_ended[k]:
                position[k], reward[k], age[k] = world + int(drawn["restart"][tick, place]), 0, 0
            chance = int(drawn["chance"][tick, k])
            action = (known + memory[k] + position[k] + chance) % 3
            remembered, before = memory[k], position[k]
            memory[k] = (5 * memory[k] + known + reward[k]) % 1009
            position[k] += world * action
            reward[k] = position[k] - 3 * action
            returns[k] += reward[k]
            steps[k], age[k] = steps[k] + 1, age[k] + 1
            has_ended[k] = position[k] >= GOAL or age[k] >= LIMIT
            row = 7 * before + 3 * action + reward[k] + 5 * position[k]
            row += 11 * (position[k] < GOAL) + 13 * k + 17 * remembered + 19 * chance
            checksum, count = (31 * checksum + row) % 10007, count + 1
    return world, returns, steps, [checksum, count], memory


@CLOCKS
def test_every_world_is_what_happens_event_by_event(clock, max_steps):
    found = outcome(clock, max_steps)
    assert found.steps.dtype == np.int32
    check_event_by_event(found, clock, max_steps)


@RESTARTS
def test_who_restarts_has_one_episode_after_the_other(clock):
    found = outcome(clock, None, restart=True)
    assert (found.steps > LIMIT).all()
    check_event_by_event(found, clock, None, restart=True)


def check_event_by_event(found, clock, max_steps, restart=False):
    for w, key in enumerate(KEYS):
        world, returns, steps, checksum_and_count, memory = event_by_event(
            key, clock, max_steps, restart
        )
        assert found.world[w] == world
        np.testing.assert_array_equal(found.returns[w], returns)
        np.testing.assert_array_equal(found.steps[w], steps)
        np.testing.assert_array_equal(found.state.params[w], checksum_and_count)
        np.testing.assert_array_equal(found.actor_state["memory"][w], memory)
        np.testing.assert_array_equal(found.actor_state["agent"][w], np.arange(AGENTS))


@CLOCKS
def test_an_update_sees_the_rows_that_acted_and_no_other(clock, max_steps):
    found = outcome(clock, max_steps)
    np.testing.assert_array_equal(found.state.params[:, 1], found.steps.sum(axis=1))
    assert found.steps.max() == LIMIT
    assert (found.steps < LIMIT).any()


@pytest.mark.parametrize("clock", ["poisson", "synchronous"])
def test_in_parts_it_is_the_same(clock):
    parts = simulation(gossip(), Walk(), **settings(clock))
    advance = compiled(parts.advance)
    running = compiled(parts.start)(KEYS)
    for until in range(2, parts.num_ticks + 2, 2):
        running = advance(running, until)
        if until == 4:
            assert (running.progress.agents.steps <= 4).all()
            assert running.progress.agents.steps.any()
    whole = outcome(clock, None)
    np.testing.assert_array_equal(running.progress.agents.returns, whole.returns)
    np.testing.assert_array_equal(running.progress.state.params, whole.state.params)


def test_how_far_it_looks_ahead_changes_nothing(monkeypatch):
    monkeypatch.setattr(simulator, "_LOOK_AHEAD", 1)
    found = compiled(run)(KEYS)
    jax.tree.map(np.testing.assert_array_equal, found, outcome("poisson", None))


def test_worlds_do_not_depend_on_each_other():
    problem = bipolar_chain(6)
    values = one_hot_regression(RegressionConfig(), 6, 2, AGENTS)
    agent = linear_seed_td(values, steps=6, learning_rate=0.5)
    run = compiled(partial(simulate, agent, problem, num_agents=AGENTS, horizon=HORIZON))
    together = run(keys=KEYS)._replace(state=())
    close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    for w in range(WORLDS):
        alone = run(keys=KEYS[w : w + 1])._replace(state=())
        jax.tree.map(close, of_world(alone, 0), of_world(together, w))
    assert len(np.unique(together.returns, axis=0)) == WORLDS


@pytest.mark.parametrize("devices", [2, 4])
def test_worlds_do_not_depend_on_the_devices(devices):
    sharded = jax.pmap(run, devices=jax.devices()[:devices])(KEYS.reshape(devices, -1))
    assert len(sharded.returns.sharding.device_set) == devices
    found = jax.tree.map(lambda x: np.asarray(x).reshape(WORLDS, *x.shape[2:]), sharded)
    jax.tree.map(np.testing.assert_array_equal, found, outcome("poisson", None))
    assert len({*found.state.params[:, 0]}) == WORLDS


def test_synchronous_clocks_tick_once_a_unit_of_time():
    """At the times 1 and 2 until 2.7; an agent that has not ended acts at each."""
    found = compiled(partial(run, clock="synchronous", horizon=2.7))(KEYS)
    np.testing.assert_array_equal(found.steps, 2)


def recorded_order(monkeypatch, *arguments):
    """The order and the exponentials between the ticks that made it."""
    drawn, exponential = [], jax.random.exponential

    def record(*args, **options):
        drawn.append(exponential(*args, **options))
        return drawn[-1]

    monkeypatch.setattr(jax.random, "exponential", record)
    order = np.asarray(poisson_order(*arguments))
    return order, np.asarray(drawn[0])


@pytest.mark.parametrize(("num_agents", "max_steps"), [(1, None), (5, None), (5, 3)])
def test_clocks_are_merged_in_the_order_of_time(monkeypatch, num_agents, max_steps):
    arguments = jax.random.key(1), num_agents, 4.0, max_steps
    order, between = recorded_order(monkeypatch, *arguments)
    assert between.shape[0] == num_agents
    times = np.cumsum(between.astype(np.float64), axis=1)
    assert (times[:, -1] > 4).all() if max_steps is None else times.shape[1] == max_steps
    ticks = sorted((t, k) for k in range(num_agents) for t in times[k] if t <= 4)
    assert len(ticks) > num_agents / 2
    np.testing.assert_array_equal(order[: len(ticks)], [k for _, k in ticks])
    np.testing.assert_array_equal(order[len(ticks) :], num_agents)
    assert order.dtype == np.int32


def test_the_ticks_of_a_clock_are_poisson():
    num_agents = 20_000
    order = np.asarray(poisson_order(jax.random.key(2), num_agents, 3.0))
    counts = np.bincount(order, minlength=num_agents + 1)[:num_agents]
    assert abs(counts.mean() - 3) < 4 * (3 / num_agents) ** 0.5
    # The fourth central moment of Poisson(3) is 3 + 3 * 3²; that of the sample variance follows.
    assert abs(counts.var() - 3) < 4 * ((30 - 9) / num_agents) ** 0.5
    found = np.bincount(np.minimum(counts, 9), minlength=10)
    expected = scipy.stats.poisson.pmf(np.arange(9), 3)
    expected = num_agents * np.append(expected, 1 - expected.sum())
    assert scipy.stats.chisquare(found, expected).pvalue > 0.01
    assert order[-1] == num_agents  # there was room for all ticks


def test_whose_tick_comes_next_is_anybodys_guess():
    """All agents are alike, and each tick's agent is independent of the last tick's."""
    keys = jax.random.split(jax.random.key(3), 8000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: poisson_order(key, 4, 3.0)))(keys))
    assert (orders[:, -1] == 4).all()
    total = (orders < 4).sum(axis=1)
    assert abs(total.mean() - 12) < 4 * (12 / len(keys)) ** 0.5
    for place in (0, 1, 5):
        pairs = orders[:, place : place + 2]
        pairs = pairs[(pairs < 4).all(axis=1)]
        counts = np.bincount(4 * pairs[:, 0] + pairs[:, 1], minlength=16)
        assert scipy.stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_agents": 0},
        {"horizon": 0.0},
        {"horizon": -1.0},
        {"clock": "sundial"},
        {"at_once": 1},
        {"at_once": 3, "clock": "synchronous"},
        {"at_once": 0, "clock": "synchronous"},
        {"unroll": 2},
        {"unroll": 0, "clock": "synchronous"},
        {"unroll": 10, "clock": "synchronous"},
        {"unroll": 3, "clock": "synchronous", "horizon": 8.0},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_named(wrong):
    arguments = {"num_agents": AGENTS, "horizon": HORIZON, "clock": "poisson"} | wrong
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        simulation(gossip(), Walk(), **arguments)


class Recorder(NamedTuple):
    """The newest trajectory, and how many there were."""

    params: jax.Array
    newest: Trajectory


def recorder(length, batch):
    """Agent k moves by k; the team keeps what an update sees."""

    def init(key):
        x = jnp.zeros((length, batch))
        number = x.astype(jnp.int32)
        seen = jnp.zeros((length + 1, batch), jnp.int32)
        newest = Trajectory(
            {"position": seen}, seen.astype(jnp.int8), number, {"params": number}, x, x, number[0]
        )
        return Recorder(jnp.int32(0), newest)

    def act(params, actor, timestep, key):
        return actor, {"params": jnp.broadcast_to(params, (batch,))}, actor

    def update(state, batch):
        return Recorder(state.params + 1, batch), {}

    return Agent(init, jnp.arange, act, None, update)


def test_an_unroll_is_acted_on_what_was_known_at_its_start():
    """Three actions of two agents, then an update; who ends on the way waits for its next turn."""
    parts = simulation(
        recorder(3, 2),
        Walk(),
        num_agents=4,
        horizon=9.0,
        clock="synchronous",
        at_once=2,
        unroll=3,
        restart=True,
    )
    advance, running = compiled(parts.advance), compiled(parts.start)(KEYS[:1])
    assert parts.num_ticks == 6
    world = int(running.worlds.world[0])
    before = running.progress.agents.environment
    for until in range(1, 7):
        first = 2 * ((until - 1) % 2)
        running = advance(running, until)
        seen, agents = running.progress.state.newest, running.progress.agents
        (seen, agents) = jax.tree.map(lambda x: np.asarray(x[0]), (seen, agents))
        np.testing.assert_array_equal(seen.extras["params"], until - 1)
        np.testing.assert_array_equal(seen.actor_state, [first, first + 1])
        for b, k in enumerate((first, first + 1)):
            position, age = (int(x[0, k]) for x in before)
            if position >= GOAL or age >= LIMIT:  # it restarted with the turn
                position, age = int(seen.observation["position"][0, b]), 0
                assert world <= position < world + 4
            types = [FIRST if age == 0 else MID]
            for t in range(3):
                assert seen.observation["position"][t, b] == position
                if types[-1] != LAST:
                    position, age = position + world * k, age + 1
                    assert seen.reward[t, b] == position - 3 * k
                    assert seen.discount[t, b] == (position < GOAL)
                    types.append(LAST if position >= GOAL or age >= LIMIT else MID)
                else:
                    types.append(LAST)
            np.testing.assert_array_equal(seen.step_type[1:, b], types[1:])
            assert agents.environment[0][k] == position
        before = running.progress.agents.environment
    assert agents.steps[0] == LIMIT  # the rest of its third turn it waits
