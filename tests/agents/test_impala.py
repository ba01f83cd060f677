"""The IMPALA agent: its loss against an oracle, its settings, and the probes it must solve."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dm_env import specs

from actors import make_actor
from expedition.agents import ImpalaConfig, Trajectory, impala
from expedition.agents.actor_critic import Behaviour, make_optimizer
from expedition.environments import PROBES, FunctionalBatch, Probe
from expedition.environments.interface import FIRST, LAST, MID, EnvironmentSpec
from expedition.losses import categorical
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime import AXIS, RuntimeConfig, evaluate, train

SPEC = EnvironmentSpec(specs.Array((2,), "float32"), specs.DiscreteArray(3))
NETWORK = ActorCritic(MLPTorso((8,)), policy_head(SPEC.action))


def random_batch(seed=0, length=7, width=3):
    """A trajectory with episode ends of both kinds and a behaviour that is not the policy."""
    rng = np.random.default_rng(seed)
    step_type = np.full((length + 1, width), MID, np.int8)
    step_type[3, 0], step_type[4, 0] = LAST, FIRST
    step_type[5, 1], step_type[6, 1] = LAST, FIRST
    discount = np.ones((length, width), np.float32)
    discount[2, 0] = 0.0  # a termination; the other episode is truncated
    logits = rng.normal(size=(length, width, 3)).astype(np.float32)
    action = rng.integers(0, 3, (length, width))
    log_prob = np.asarray(categorical.log_prob(logits, action))
    return Trajectory(
        observation=rng.normal(size=(length + 1, width, 2)).astype(np.float32),
        step_type=step_type,
        action=action,
        extras=Behaviour(log_prob, logits),
        reward=(3 * rng.normal(size=(length, width))).astype(np.float32),
        discount=discount,
        actor_state=(),
    )


def oracle(config, batch, logits, values):
    """The loss's terms in float64, episode piece by episode piece, from the definition."""
    logits, values = np.asarray(logits, np.float64), np.asarray(values, np.float64)
    log_pi = logits - np.log(np.sum(np.exp(logits), -1, keepdims=True))
    clipped = np.clip(batch.reward, -config.max_abs_reward, config.max_abs_reward)
    reward = config.reward_scale * clipped
    policy_loss = value_loss = entropy = 0.0
    length, width = batch.reward.shape
    for b in range(width):
        for s in range(length):
            if batch.step_type[s, b] == LAST:
                continue
            target, advantage = values[s, b], None
            trace = 1.0
            for t in range(s, length):
                log_prob = log_pi[t, b, batch.action[t, b]]
                ratio = np.exp(log_prob - batch.extras.log_prob[t, b])
                gamma = config.discount * batch.discount[t, b]
                delta = reward[t, b] + gamma * values[t + 1, b] - values[t, b]
                target += trace * min(config.rho_bar, ratio) * delta
                if t == s:
                    weight, next_target = min(config.rho_bar_pg, ratio), values[s + 1, b]
                    next_trace = 1.0
                else:
                    next_target += next_trace * min(config.rho_bar, ratio) * delta
                    next_trace *= gamma * config.lambda_ * min(config.c_bar, ratio)
                trace *= gamma * config.lambda_ * min(config.c_bar, ratio)
                if batch.step_type[t + 1, b] == LAST:
                    break
            gamma = config.discount * batch.discount[s, b]
            advantage = weight * (reward[s, b] + gamma * next_target - values[s, b])
            policy_loss -= log_pi[s, b, batch.action[s, b]] * advantage
            value_loss += 0.5 * (target - values[s, b]) ** 2
            entropy -= np.sum(np.exp(log_pi[s, b]) * log_pi[s, b])
    return {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_update_minimises_the_loss_of_the_definition(reduction):
    config = ImpalaConfig(
        discount=0.9,
        lambda_=0.8,
        rho_bar=1.7,
        c_bar=0.9,
        rho_bar_pg=1.2,
        max_abs_reward=2.0,
        reward_scale=0.7,
        reduction=reduction,
    )
    agent = impala(config, SPEC, NETWORK, num_updates=5)
    state, batch = agent.init(jax.random.key(0)), random_batch()
    noise = iter(jax.random.split(jax.random.key(1), 20))
    params = jax.tree.map(lambda x: x + jax.random.normal(next(noise), x.shape), state.params)
    logits, values, _ = NETWORK.apply(params, batch.observation, batch.starts, ())
    _, metrics = jax.jit(agent.update)(state._replace(params=params), batch)
    expected = oracle(config, batch, logits, values)
    scale = 1 if reduction == "sum" else batch.reward.size
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value / scale, rtol=1e-4, err_msg=name)
    total = expected["policy_loss"] + 0.5 * expected["value_loss"] - 0.01 * expected["entropy"]
    np.testing.assert_allclose(metrics["loss"], total / scale, rtol=1e-4)


def test_the_row_that_restarts_an_episode_changes_nothing():
    config = ImpalaConfig(max_abs_reward=None, global_norm_clip=1e9)
    agent = impala(config, SPEC, NETWORK, num_updates=5)
    state, batch = agent.init(jax.random.key(0)), random_batch()

    def rows(count):
        """The first column, whose first episode ends with row 2; row 3 is the restart."""
        return jax.tree.map(lambda x: x[:count, :1], batch)._replace(
            observation=batch.observation[: count + 1, :1],
            step_type=batch.step_type[: count + 1, :1],
        )

    with_restart = rows(4)
    with_restart.reward[3] = 9999.0
    alone, _ = jax.jit(agent.update)(state, rows(3))
    together, _ = jax.jit(agent.update)(state, with_restart)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
        alone.params,
        together.params,
    )


def test_one_step_on_the_entropy_term_alone_raises_the_entropy():
    config = ImpalaConfig(
        baseline_cost=0.0,
        entropy_cost=1.0,
        learning_rate=0.1,
        reduction="mean",
        max_abs_reward=None,
    )
    agent = impala(config, SPEC, NETWORK, num_updates=100)
    state = agent.init(jax.random.key(0))
    params = state.params
    params["params"]["head"]["Dense_0"]["kernel"] = jax.random.normal(jax.random.key(1), (8, 3))
    # Rewards that make every advantage zero leave nothing but the entropy.
    batch = random_batch()._replace(discount=np.zeros((7, 3), np.float32))
    _, values, _ = NETWORK.apply(params, batch.observation, batch.starts, ())
    batch = batch._replace(reward=np.asarray(values[:-1]))
    update = jax.jit(agent.update)
    after, before = update(state, batch)
    assert abs(float(before["policy_loss"])) < 1e-6
    _, later = update(after, batch)
    assert float(later["entropy"]) > float(before["entropy"]) + 1e-3


def test_rewards_are_clipped_for_training_only_as_far_as_asked():
    batch = random_batch()
    tight = impala(ImpalaConfig(max_abs_reward=0.5), SPEC, NETWORK, num_updates=5)
    loose = impala(ImpalaConfig(max_abs_reward=None), SPEC, NETWORK, num_updates=5)
    state = tight.init(jax.random.key(0))
    clipped = batch._replace(reward=np.clip(batch.reward, -0.5, 0.5))
    _, ours = tight.update(state, batch)
    _, expected = loose.update(state, clipped)
    np.testing.assert_allclose(ours["loss"], expected["loss"], rtol=1e-6)
    assert not np.isclose(ours["loss"], loose.update(state, batch)[1]["loss"])


def test_rmsprop_takes_the_papers_first_step_and_the_rate_falls_to_zero():
    optimizer = make_optimizer(ImpalaConfig(), num_updates=2)
    gradient = {"w": jnp.array([3.0, -4.0])}
    state = optimizer.init(gradient)
    update, state = optimizer.update(gradient, state)
    mean_square = 0.99 * 1.0 + 0.01 * np.square([3.0, -4.0])
    expected = -6e-4 * np.array([3.0, -4.0]) / np.sqrt(mean_square + 0.01)
    np.testing.assert_allclose(update["w"], expected, rtol=1e-5)
    _, state = optimizer.update(gradient, state)
    update, _ = optimizer.update(gradient, state)
    np.testing.assert_array_equal(update["w"], 0.0)


def test_gradients_are_clipped_by_their_global_norm():
    optimizer = make_optimizer(ImpalaConfig(global_norm_clip=5.0), num_updates=2)
    reference = make_optimizer(ImpalaConfig(global_norm_clip=1e9), num_updates=2)
    gradient = {"a": jnp.array([30.0]), "b": jnp.array([40.0])}
    scaled = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    ours, _ = optimizer.update(gradient, optimizer.init(gradient))
    expected, _ = reference.update(scaled, reference.init(scaled))
    assert float(optax.tree.norm(gradient)) == 50.0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


def test_the_behaviours_log_prob_is_that_of_the_action_taken():
    probe = Probe("observation_action", continuous=True)
    environment = FunctionalBatch(probe, 5, jax.random.key(0))
    network = ActorCritic(MLPTorso((8,)), policy_head(environment.spec.action))
    agent = impala(ImpalaConfig(), environment.spec, network, num_updates=1)
    params = agent.init(jax.random.key(0)).params
    actor = make_actor(agent, environment, params, 50)
    trajectory = actor.unroll().content
    assert np.max(np.abs(trajectory.action)) > 1.0  # stored unclipped
    mean, log_std = (np.asarray(x, np.float64) for x in trajectory.extras.policy)
    z = (trajectory.action - mean) / np.exp(log_std)
    expected = np.sum(-0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi), -1)
    np.testing.assert_allclose(trajectory.extras.log_prob, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discount": 1.1}, r"discount is 1.1; expected a number in \[0, 1\]"),
        ({"c_bar": 2.0}, r"c_bar is 2.0; expected at most rho_bar 1.0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a positive number"),
        ({"entropy_cost": -1.0}, "entropy_cost is -1.0; expected at least 0"),
        ({"max_abs_reward": 0.0}, "max_abs_reward is 0.0; expected positive"),
        ({"reward_scale": 0.0}, "reward_scale is 0.0; expected a positive number"),
        ({"reduction": "max"}, "reduction is 'max'; expected sum or mean"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; expected rmsprop or adam"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ImpalaConfig(**settings)


VALUES = {
    "constant_value": {0.0: 1.0},
    "observation_value": {-1.0: -1.0, 1.0: 1.0},
    "discounting": {0.0: 0.9, 1.0: 1.0},
    "action_reward": {0.0: 1.0},
    "observation_action": {-1.0: 1.0, 1.0: 1.0},
}


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "gaussian"])
@pytest.mark.parametrize("name", PROBES)
def test_the_whole_agent_solves_the_probe(name, continuous):
    runtime = RuntimeConfig(
        total_steps=60_000, unroll_length=8, batch_size=32, environments_per_actor=16
    )
    probe = Probe(name, continuous)
    config = ImpalaConfig(
        discount=0.9,
        optimizer="adam",
        learning_rate=1e-2,
        reduction="mean",
        entropy_cost=0.003,
        max_abs_reward=None,
    )
    network = ActorCritic(MLPTorso((16,)), policy_head(probe.spec.action))
    agent = impala(config, probe.spec, network, num_updates=runtime.num_updates, axis_name=AXIS)
    batches = [FunctionalBatch(probe, 16, jax.random.key(i)) for i in range(2)]
    params = train(agent, batches, runtime, key=jax.random.key(7)).params
    for shown, expected in VALUES[name].items():
        observation = jnp.full((1, 1, 1), shown)
        _, value, _ = network.apply(params, observation, jnp.zeros((1, 1), bool), ())
        assert float(value[0, 0]) == pytest.approx(expected, abs=0.1), shown
    if "action" in name:
        evaluation = evaluate(agent, params, FunctionalBatch(probe, 32, jax.random.key(9)))
        assert np.min(evaluation.returns) > 0.9
