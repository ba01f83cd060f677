"""Each actor, and each one's batch of environments, has random numbers of its own."""

import itertools

import jax
import numpy as np

from expedition.runtime import train
from experiments.impala import EXPERIMENT
from experiments.job import make_actor_environment, make_environment
from fakes import FakeEnvironment, fake_agent, fake_config


def test_actors_that_see_the_same_act_by_keys_of_their_own():
    agent, environments = fake_agent(), [FakeEnvironment() for _ in range(3)]
    taken = {environment: [] for environment in environments}
    for environment, actions in taken.items():
        environment.step = lambda given, step=environment.step, actions=actions: (
            actions.append(np.array(given)) or step(given)
        )

    def act(params, actor_state, timestep, key):
        _, extras, actor_state = agent.act(params, actor_state, timestep, key)
        return jax.random.randint(key, timestep.step_type.shape, 0, 2), extras, actor_state

    config = fake_config(20, deterministic=True)  # so that actors take turns
    train(agent._replace(act=act), environments, config, key=jax.random.key(0))
    shortest = min(map(len, taken.values()))
    assert shortest >= 40
    drawn = [np.array(actions[:shortest]) for actions in taken.values()]
    for one, other in itertools.combinations(drawn, 2):
        assert 0.2 < np.mean(one == other) < 0.8  # and not opposites


def test_actors_environments_begin_differently_and_not_as_those_of_evaluation():
    config = EXPERIMENT.parse(["--environment", "catch"])
    number = config.runtime.environments_per_actor
    batches = [make_actor_environment(config, actor) for actor in range(4)]
    batches.append(make_environment(config, number, "evaluation"))
    first = [np.array(batch.reset().observation) for batch in batches]
    for one, other in itertools.combinations(first, 2):
        assert not np.array_equal(one, other)
