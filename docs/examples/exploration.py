"""An exploration strategy of one's own in the concurrent simulator: the team divides its labour.

Agent k is in charge of the k-th unknown: it plans as if that were worth finding out, until anyone
has; then, as everybody, in the mean of what is known.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from expedition.agents import Agent, TabularConfig, tabular
from expedition.environments import parallel_chains
from expedition.exploration import graph_beliefs, value_iteration
from expedition.runtime import simulate


class State(NamedTuple):
    """What the team knows; the simulator hands `params` to the agents."""

    params: Any


def divided_labour(graph, num_agents, *, bonus=100.0, sweeps=4):
    """Builds the agent; its hypotheses are MDPs made from the beliefs that all share."""
    beliefs, unknowns = graph_beliefs(graph), len(graph.loading)

    def best(belief, agent, vertex):
        mean, mine = beliefs.mean(belief), agent % unknowns
        prize = jnp.where(belief.is_known[mine], 0, bonus) * jnp.abs(graph.loading)[mine]
        hypothesis = mean._replace(reward=mean.reward + prize)
        return jnp.argmax(value_iteration(hypothesis, sweeps=sweeps)[vertex])

    def act(belief, agent, timestep, key):
        return jax.vmap(best, (None, 0, 0))(belief, agent, timestep.observation), (), agent

    def act_greedily(belief, agent, timestep):
        values = value_iteration(beliefs.mean(belief), sweeps=sweeps)
        return jnp.argmax(values[timestep.observation], axis=-1), agent

    def update(state, batch):
        return State(beliefs.update(state.params, batch.transitions)), {}

    return Agent(
        lambda key: State(beliefs.init(key, num_agents)), jnp.arange, act, act_greedily, update
    )


def main(agents=20):
    """The mean return in 256 worlds, beside that of agents with seeds and of optimists."""
    problem, worlds = parallel_chains(), jax.random.split(jax.random.key(0), 256)
    teams = {"divided_labour": divided_labour(problem.graph, agents)}
    for name in ("seed_sampling", "concurrent_ucrl"):
        teams[name] = tabular(TabularConfig(name, sweeps=4), graph_beliefs(problem.graph), agents)
    run = {"problem": problem, "keys": worlds, "num_agents": agents, "horizon": 30}
    return {name: float(simulate(team, **run).returns.mean()) for name, team in teams.items()}


if __name__ == "__main__":
    print(main())
