"""An algorithm of one's own on the actor-learner runtime: REINFORCE with a learnt baseline."""

import jax
import jax.numpy as jnp
import optax

from expedition.agents import Agent, ImpalaState  # any tuple with `params`: these go to the actors
from expedition.environments import FIRST, Catch, FunctionalBatch
from expedition.losses import categorical, discounted_return, policy_gradient_loss, value_loss
from expedition.networks import ActorCritic, MLPTorso, policy_head
from expedition.runtime import AXIS, RuntimeConfig, train


def reinforce(spec, *, optimizer, discount=0.99):
    """Builds the agent; an unroll must end where an episode does, for its returns to be whole."""
    network = ActorCritic(MLPTorso((64,)), policy_head(spec.action))

    def init(key):
        board = jnp.zeros((1, 1, *spec.observation.shape))
        params = network.init(key, board, jnp.ones((1, 1)), ())
        return ImpalaState(params, optimizer.init(params))

    def logits(params, step):
        starts = step.step_type == FIRST
        return network.apply(params, step.observation[None], starts[None], ())[0][0]

    def act(params, nothing, step, key):
        return categorical.sample(logits(params, step), key), (), nothing

    def act_greedily(params, nothing, step):
        return categorical.mode(logits(params, step)), nothing

    def loss(params, batch):
        logits, value, _ = network.apply(params, batch.observation, batch.starts, ())
        log_prob, b = categorical.log_prob(logits[:-1], batch.action), value[:-1]
        rewards = batch.reward, discount * batch.discount
        ends, rows = {"continuation_t": batch.continues}, {"weight_tm1": batch.is_transition}
        regression = value_loss(b, discounted_return(*rewards, **ends), **rows, reduction="mean")
        rows |= {"baseline_tm1": b, **ends}
        return policy_gradient_loss(log_prob, *rewards, **rows, reduction="mean") + regression

    def update(state, batch):
        found, gradient = jax.lax.pmean(jax.value_and_grad(loss)(state.params, batch), AXIS)
        step, rest = optimizer.update(gradient, state.optimizer_state)
        return ImpalaState(optax.apply_updates(state.params, step), rest), {"loss": found}

    return Agent(init, lambda size: (), act, act_greedily, update)


def main():
    """The mean returns on catch, whose episodes have 9 steps: 10 rows with the restart's."""
    runtime = RuntimeConfig(total_steps=100_000, unroll_length=10, log_seconds=0.5)
    actors = [FunctionalBatch(Catch(), 32, jax.random.key(actor)) for actor in range(2)]
    agent, rows = reinforce(Catch().spec, optimizer=optax.adam(5e-3)), []
    train(agent, actors, runtime, key=jax.random.key(0), log=rows.append)
    return [row["return_mean"] for row in rows]


if __name__ == "__main__":
    print(main())
