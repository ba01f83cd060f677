"""Which hypothesis each strategy plans in: whose seed, how old a belief, how optimistic."""

from functools import cache, partial

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from expedition.agents.agent import Trajectory
from expedition.agents.tabular import TabularConfig, tabular
from expedition.environments.chains import bipolar_chain, parallel_chains
from expedition.environments.interface import MID
from expedition.exploration.beliefs import graph_beliefs
from expedition.exploration.planning import value_iteration
from expedition.runtime.simulator import simulate

AGENTS, WORLDS = 40, 100
PROBLEMS = {
    "bipolar": bipolar_chain(6),
    "lingering": bipolar_chain(6, magnitude=1.0, step_cost=-0.3),
    "parallel": parallel_chains(4, 3),
}
BELIEFS = {name: graph_beliefs(problem.graph) for name, problem in PROBLEMS.items()}
STRATEGIES = ("seed_sampling", "thompson_resampling", "psrl", "concurrent_ucrl")
KEYS = jax.random.split(jax.random.key(0), WORLDS)
LEFT, RIGHT = 0, 1


def same_seed_for_all(beliefs):
    """What seeds are for, undone: every agent's sample is agent 0's."""
    return beliefs._replace(sampled=lambda belief, agent: beliefs.sampled(belief, agent * 0))


@cache
def make(name, strategy, num_agents=AGENTS, shared=False, **options):
    """The agent with its functions compiled."""
    beliefs = same_seed_for_all(BELIEFS[name]) if shared else BELIEFS[name]
    config = TabularConfig(strategy, **{"sweeps": 12, **options})
    agent = tabular(config, beliefs, num_agents)
    return agent._replace(
        act=jax.jit(agent.act),
        act_greedily=jax.jit(agent.act_greedily),
        update=jax.jit(agent.update),
    )


def at(vertices):
    """A time step of agents in the midst of their episodes."""
    vertices = jnp.asarray(vertices)
    zeros = jnp.zeros(vertices.shape)
    return dm_env.TimeStep(jnp.full(vertices.shape, MID, jnp.int8), zeros, zeros + 1, vertices)


def start(name, num_agents=AGENTS):
    return at(jnp.full(num_agents, PROBLEMS[name].start))


def actions(agent, params, timestep, key=KEYS[0]):
    actor = agent.initial_actor_state(len(timestep.observation))
    return np.asarray(agent.act(params, actor, timestep, key)[0])


@partial(jax.jit, static_argnames=("name", "strategy", "shared"))
def first_actions(name, strategy, shared=False):
    """[WORLDS, K]: where agents go first, each world with a key of its own for its seeds."""
    agent = make(name, strategy, shared=shared)

    def of_world(key):
        seeds, act = jax.random.split(key)
        actor = agent.initial_actor_state(AGENTS)
        return agent.act(agent.init(seeds).params, actor, start(name), act)[0]

    return jax.vmap(of_world)(KEYS)


def trajectory(problem, theta, vertices, edges):
    """What agents see that stand at these vertices and take these edges, an unroll of 1."""
    vertices, edges = np.array(vertices), np.array(edges)
    after = problem.graph.successor[vertices, edges]
    row = np.ones((1, len(vertices)), np.float32)
    return Trajectory(
        observation=np.stack([vertices, after]),
        step_type=np.full((2, len(vertices)), MID, np.int8),
        action=edges[None],
        extras=(),
        reward=np.asarray(problem.graph.rewards(jnp.float32(theta)))[vertices, edges][None],
        discount=row,
        actor_state=(),
    )


def learnt(agent, name, theta, vertices, edges, key=KEYS[1]):
    """The state of a team that has seen some edges."""
    data = trajectory(PROBLEMS[name], theta, vertices, edges)
    return agent.update(agent.init(key), data)[0]


def end_in_sight(theta):
    """At each vertex that is no end, the edge towards the good end."""
    return np.full(4, RIGHT if theta > 0 else LEFT)


@cache
def lone_agents(name, strategy, worlds):
    """Steps, returns and worlds of agents, each alone in a world of its own."""
    agent, keys = make(name, strategy, 1), jax.random.split(jax.random.key(2), worlds)
    run = partial(simulate, agent, PROBLEMS[name], num_agents=1, horizon=60, clock="synchronous")
    # Compiles in half the time.
    outcome = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})(keys)
    return [np.asarray(x) for x in (outcome.steps[:, 0], outcome.returns[:, 0], outcome.world)]


def test_with_one_agent_and_one_decision_seed_sampling_is_psrl():
    steps, *seeded = lone_agents("parallel", "seed_sampling", 16)
    _, *psrl = lone_agents("parallel", "psrl", 16)
    jax.tree.map(np.testing.assert_array_equal, seeded, psrl)
    np.testing.assert_array_equal(steps, 3)
    returns, theta = seeded
    chosen = np.argmax(theta == returns[:, None], axis=1)
    np.testing.assert_array_equal(theta[np.arange(16), chosen], returns)
    assert len(set(chosen)) == 4


def test_psrl_never_adapts_and_seed_sampling_does():
    vertices = np.tile(np.arange(1, 5), AGENTS // 4)
    for theta in (-6.0, 6.0):
        acts = {}
        for strategy in ("psrl", "seed_sampling"):
            agent = make("bipolar", strategy)
            before = agent.init(KEYS[1])
            after = learnt(agent, "bipolar", [theta], [1, 3], [LEFT, RIGHT])
            acts[strategy] = [
                actions(agent, state.params, at(vertices)) for state in (before, after)
            ]
            assert not before.params.belief.is_known.any()
            assert after.params.belief.is_known.all()
        np.testing.assert_array_equal(acts["psrl"][0], acts["psrl"][1])
        np.testing.assert_array_equal(acts["psrl"][0], acts["seed_sampling"][0])
        assert set(acts["psrl"][1]) == {LEFT, RIGHT}
        good = np.tile(end_in_sight(theta), AGENTS // 4)
        np.testing.assert_array_equal(acts["seed_sampling"][1], good)


def test_psrl_and_seed_sampling_act_as_their_seed_says_whatever_the_key_of_the_action():
    for strategy in ("psrl", "seed_sampling", "concurrent_ucrl"):
        agent = make("parallel", strategy)
        params = agent.init(KEYS[1]).params
        first, *others = (actions(agent, params, start("parallel"), key) for key in KEYS[:5])
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_an_agent_goes_where_its_own_sample_is_best():
    agent, sampled = make("parallel", "seed_sampling"), BELIEFS["parallel"].sampled
    params = agent.init(KEYS[1]).params
    pays = (PROBLEMS["parallel"].graph.loading != 0).any(axis=(0, 2))
    rewards = jax.jit(jax.vmap(lambda k: sampled(params.belief, k).reward))(jnp.arange(AGENTS))
    best = np.argmax(np.asarray(rewards)[:, pays, 0], axis=1)
    np.testing.assert_array_equal(actions(agent, params, start("parallel")), best)
    some = np.array([7, 3, 3, 20])
    actor = agent.initial_actor_state(4)._replace(agent=jnp.asarray(some))
    few, _, after = agent.act(params, actor, start("parallel", 4), KEYS[0])
    np.testing.assert_array_equal(few, best[some])
    np.testing.assert_array_equal(after.agent, some)


@pytest.mark.parametrize("name", ["bipolar", "parallel"])
def test_thompson_sampling_is_seed_sampling_whose_seed_is_drawn_at_each_action(name):
    thompson, seeded = make(name, "thompson_resampling"), make(name, "seed_sampling")
    state = thompson.init(KEYS[1])
    if name == "parallel":  # some of it is known
        state = learnt(thompson, name, [3.0, 0, -5.0, 0], [2, 8], [0, 0])
    drawn = []
    for key in KEYS[:10]:
        belief = state.params.belief._replace(seed_key=key)
        redrawn = state.params._replace(belief=belief)
        expected = actions(seeded, redrawn, start(name), KEYS[3])
        drawn.append(actions(thompson, state.params, start(name), key))
        np.testing.assert_array_equal(drawn[-1], expected)
    assert all(len(set(of_agent)) > 1 for of_agent in np.transpose(drawn))


def test_a_thompson_sampler_walks_at_random_until_it_meets_an_end():
    """A fair coin at each step: the law of the time at which a walk from 3 first meets 0 or 5."""
    steps, returns, theta = lone_agents("bipolar", "thompson_resampling", 4000)
    inside = (np.eye(4, k=1) + np.eye(4, k=-1)) / 2  # vertices 1 ... 4
    place, ends_at = np.eye(4)[2], []
    for _ in range(60):
        ends_at.append((place[0] + place[3]) / 2)
        place = place @ inside
    expected = len(steps) * np.append(ends_at[:14], 1 - sum(ends_at[:14]))[1:]
    counts = np.bincount(np.minimum(steps, 15), minlength=16)[2:]
    assert counts.sum() == len(steps)
    assert scipy.stats.chisquare(counts, expected).pvalue > 0.01
    won = returns + 0.1 * (steps - 1)
    np.testing.assert_allclose(np.abs(won), 6, rtol=1e-5)
    # The ruin of a gambler: from 3 of 5, three walks in five meet the right end, good or bad.
    is_right = won * theta[:, 0] > 0
    for of_sign in (is_right[theta[:, 0] > 0], is_right[theta[:, 0] < 0]):
        assert abs(of_sign.mean() - 3 / 5) < 4 * (6 / 25 / len(of_sign)) ** 0.5


def test_a_seed_commits_an_agent_to_the_end_that_it_chose():
    steps, returns, theta = lone_agents("bipolar", "seed_sampling", 4000)
    assert set(steps) == {2, 3}
    is_right = steps == 2
    assert abs(is_right.mean() - 0.5) < 4 * 0.5 / len(steps) ** 0.5
    expected = np.where(is_right, theta[:, 0] - 0.1, -theta[:, 0] - 0.2)
    np.testing.assert_allclose(returns, expected, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["seed_sampling", "thompson_resampling"])
def test_half_of_the_agents_go_each_way_and_none_knows_of_another(strategy):
    went = np.asarray(first_actions("bipolar", strategy), float)
    assert abs(went.mean() - 0.5) < 4 * 0.5 / went.size**0.5
    # Independent within a world too: the number that goes right is binomial there.
    of_world = went.sum(axis=1)
    variance = AGENTS / 4
    assert abs(of_world.var() / variance - 1) < 4 * (2 / WORLDS) ** 0.5
    of_agent = went.sum(axis=0)
    assert abs(of_agent.var() / (WORLDS / 4) - 1) < 4 * (2 / AGENTS) ** 0.5


def test_one_seed_for_all_takes_the_diversity_away():
    """The control of the test above, which therefore measures what seeds do."""
    went = np.asarray(first_actions("bipolar", "seed_sampling", shared=True))
    np.testing.assert_array_equal(went, np.broadcast_to(went[:, :1], went.shape))
    assert abs(went[:, 0].mean() - 0.5) < 4 * 0.5 / WORLDS**0.5


def test_optimists_all_choose_alike():
    np.testing.assert_array_equal(first_actions("bipolar", "concurrent_ucrl"), RIGHT)  # the nearer
    # Of the chains the last is the least certain.
    np.testing.assert_array_equal(first_actions("parallel", "concurrent_ucrl"), 3)
    for beta, theta, choice in ((2.0, 5.0, 2), (2.0, 50.0, 3), (0.0, 5.0, 3), (2.0, -50.0, 2)):
        agent = make("parallel", "concurrent_ucrl", beta=beta)
        params = learnt(agent, "parallel", [0, 0, 0, theta], [11], [0]).params
        np.testing.assert_array_equal(actions(agent, params, start("parallel")), choice)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_evaluation_is_greedy_for_what_all_data_say(strategy):
    agent = make("bipolar", strategy)
    for theta, vertex, edge in ((6.0, 1, LEFT), (-6.0, 1, LEFT), (6.0, 4, RIGHT), (-6.0, 4, RIGHT)):
        params = learnt(agent, "bipolar", [theta], [vertex], [edge]).params
        timestep = at(np.arange(1, 5))
        actor = agent.initial_actor_state(4)
        chosen, after = agent.act_greedily(params, actor, timestep)
        np.testing.assert_array_equal(chosen, end_in_sight(theta))
        jax.tree.map(np.testing.assert_array_equal, after, actor)


def test_a_warm_start_goes_on_where_the_last_plan_ended():
    options = {"discount": 0.9, "warm_start": True, "sweeps": 2}
    agent = make("bipolar", "seed_sampling", **options)
    params, actor = agent.init(KEYS[1]).params, agent.initial_actor_state(AGENTS)
    actor = actor._replace(q=jnp.full_like(actor.q, 2.0))
    plan = jax.jit(value_iteration, static_argnames=("sweeps", "discount"))
    for acts in range(1, 4):
        action, _, actor = agent.act(params, actor, start("bipolar"), KEYS[0])
        for k in (0, 1, 7):
            mdp = BELIEFS["bipolar"].sampled(params.belief, k)
            initial = jnp.full(mdp.reward.shape, 2.0)
            q = plan(mdp, sweeps=2 * acts, discount=0.9, initial=initial)
            np.testing.assert_allclose(actor.q[k], q, rtol=1e-5)
            assert action[k] == q[3].argmax()
    np.testing.assert_array_equal(actor.agent, np.arange(AGENTS))


def test_a_warm_start_acts_as_a_cold_one_if_the_sweeps_suffice():
    """Even though what it starts from was right before the data came."""
    options = {"discount": 0.8, "sweeps": 100}
    warm = make("bipolar", "seed_sampling", warm_start=True, **options)
    cold = make("bipolar", "seed_sampling", **options)
    actor = warm.initial_actor_state(AGENTS)
    actor = actor._replace(q=jnp.full_like(actor.q, -3.0))
    vertices = at(np.tile(np.arange(1, 5), AGENTS // 4))
    seen = []
    for state in (cold.init(KEYS[1]), learnt(cold, "bipolar", [6.0], [1], [LEFT])):
        action, _, actor = warm.act(state.params, actor, vertices, KEYS[0])
        seen.append(actions(cold, state.params, vertices))
        np.testing.assert_array_equal(action, seen[-1])
    assert (seen[0] != seen[1]).any()


def test_as_many_sweeps_see_as_many_steps_ahead():
    """From vertex 3 an end is two steps to the right, from vertex 2 to the left."""
    for sweeps, chosen in ((1, [LEFT, LEFT]), (2, [RIGHT, LEFT]), (3, [RIGHT, LEFT])):
        agent = make("bipolar", "concurrent_ucrl", beta=1.0, sweeps=sweeps)
        params = agent.init(KEYS[1]).params
        np.testing.assert_array_equal(actions(agent, params, at([3, 2])), chosen)


@pytest.mark.parametrize(("discount", "edge"), [(1.0, RIGHT), (0.5, LEFT), (0.0, LEFT)])
def test_the_discount_is_what_makes_an_agent_impatient(discount, edge):
    """The left end pays 1 at once; to stay away from both pays 0.3 a step, in sum 3.3 more."""
    agent = make("lingering", "seed_sampling", discount=discount)
    params = learnt(agent, "lingering", [-1.0], [1], [LEFT]).params
    np.testing.assert_array_equal(actions(agent, params, at([1, 1])), edge)
    chosen, _ = agent.act_greedily(params, agent.initial_actor_state(2), at([1, 1]))
    np.testing.assert_array_equal(chosen, edge)


def test_a_team_larger_than_it_was_made_for_is_refused():
    agent = make("bipolar", "seed_sampling")
    with pytest.raises(ValueError, match=f"^{AGENTS + 1} agents were asked for, of .* {AGENTS};"):
        agent.initial_actor_state(AGENTS + 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategy": "greedy"}, "^strategy is 'greedy'; expected one of"),
        ({"sweeps": 0}, "^sweeps is 0, discount 1.0 and beta 2.0; expected"),
        ({"discount": 1.1}, "discount 1.1"),
        ({"discount": -0.1}, "discount -0.1"),
        ({"beta": -1.0}, "beta -1.0"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        TabularConfig(**wrong)
