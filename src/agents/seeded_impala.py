"""Seeded IMPALA: an ensemble of actor-critics, each with its seed, that explores together.

docs/seeded_impala.md says what it samples, and where that is heuristic.

Sources: Espeholt et al. (2018), IMPALA, https://arxiv.org/abs/1802.01561; Dimakopoulou, Osband &
Van Roy (2018), Scalable Coordinated Exploration in Concurrent Reinforcement Learning,
https://arxiv.org/abs/1805.08948 (seeds, and the "seed policy gradient" of its section 3.2); Osband,
Aslanides & Cassirer (2018), Randomized Prior Functions, https://arxiv.org/abs/1806.03335.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from dm_env import specs

from expedition.agents.actor_critic import Behaviour, ImpalaState, choose, make_optimizer
from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.agents.members import own_members, rows_of
from expedition.agents.seeded_member import SeededImpalaConfig, SeededMember
from expedition.agents.unroll_memory import Rows, UnrollMemory, make_memory, remember
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.seeds import make_seeds
from expedition.losses import categorical


class SeededParams(NamedTuple):
    """What actors need of the members."""

    members: Any  # [E, ...] what is learnt
    prior: Any  # [E, ...] frozen


class SeededState(NamedTuple):
    """What a learner's device holds: all that actors need, and its own members M."""

    params: SeededParams
    numbers: jax.Array  # [M] int32, of its members
    own: ImpalaState  # [M, ...]
    noise_key: jax.Array
    data: jax.Array  # [] int32, how many there were so far
    memory: UnrollMemory | None  # of all devices' unrolls; None without replay


def seeded_impala(
    config: SeededImpalaConfig,
    spec: EnvironmentSpec,
    network: nn.Module,
    *,
    num_updates: int | None,
    unroll_length: int | None = None,
    prior_network: nn.Module | None = None,
    axis_name: str | None = None,
) -> Agent:
    """Builds the agent.

    Member e's network is `f(θ_e) + β g(θ̂_e)`, where θ̂_e is its sample of the prior, frozen. It
    gives action values Q_e, and so the policy π_e = softmax(Q_e/τ) and the value V_e = Σ π_e Q_e.
    Each environment is acted in by one member for ever. Every trajectory goes to every member,
    which learns from it under its own rewards, `r_j + z_ej` with z_ej ~ N(0, v) a function of its
    seed and of the datum's number j, and with V-trace from the policy that acted to its own:

        Q_e(x_t, a_t) -> r_t + z_et + γ_t v_{t+1}

    (`boltzmann_loss`). Without a temperature the network gives logits and a value, and the loss is
    IMPALA's. One member without noise and prior then is IMPALA. Evaluation takes the action that is
    most probable in the mixture of all members' policies.

    With replay each member fits Q_e in several gradient steps to targets from minibatches of all
    unrolls, with V-trace from the policies that acted, however long ago. Targets are made of the
    averaged parameters that also act, which move once a batch.

    Args:
      config: the algorithm's settings.
      spec: shapes of one observation, and a discrete action.
      network: f, which maps observations `[N, ...]` to `[N, config.num_outputs(A)]`.
      num_updates: updates after which the learning rate has fallen to 0; None: it stays.
      unroll_length: T, of all unrolls; needed with replay.
      prior_network: g; the same as f if there is none.
      axis_name: the `pmap` axis over which members are divided and data are shared; the number of
        devices must divide that of the members. Gradients never leave a device. `init` and `update`
        then need the axis.

    Raises:
      ValueError: the action is no discrete one, or replay has no unroll length.
    """
    if not isinstance(spec.action, specs.DiscreteArray):
        raise ValueError(f"the action is {spec.action}; expected a discrete one")
    if config.replay is not None and unroll_length is None:
        raise ValueError("replay was given without unroll_length; expected the unrolls' length")
    num_steps = None if num_updates is None else num_updates * config.passes
    parts = _SeededImpala(
        config,
        spec,
        network,
        prior_network or network,
        make_optimizer(config.impala, num_steps),
        unroll_length or 0,
        axis_name,
    )
    return Agent(
        parts.init,
        jnp.arange,
        parts.act,
        parts.act_greedily,
        parts.update,
        training_reward=config.impala.training_reward,
    )


@dataclass(frozen=True)
class _SeededImpala:
    config: SeededImpalaConfig
    spec: EnvironmentSpec
    network: nn.Module
    prior_network: nn.Module
    optimizer: optax.GradientTransformation
    unroll_length: int
    axis_name: str | None

    def init(self, key: jax.Array) -> SeededState:
        number = self.config.num_members
        seed_key, network_key = jax.random.split(key)
        draw_key = jax.random.fold_in(key, 2)  # beside the two above
        seeds = make_seeds(seed_key)
        nothing = jnp.zeros((1, *self.spec.observation.shape), self.spec.observation.dtype)

        def keys(stream: jax.Array) -> jax.Array:
            return jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(number))

        priors = jax.vmap(lambda key: self.prior_network.init(key, nothing))(keys(seeds.prior))
        draw = jax.vmap(lambda prior, key: self._member(prior).agent.init(key))
        states = draw(priors, keys(network_key))
        numbers = own_members(number, self.axis_name)
        params = SeededParams(states.params, priors)
        memory = None
        if self.config.replay is not None:
            memory = make_memory(
                self.spec,
                self.unroll_length,
                self.config.replay,
                self.config.minibatch,
                replacement_key=seeds.replacement,
                draw_key=draw_key,
            )
        own = rows_of(states, numbers)
        return SeededState(params, numbers, own, seeds.noise, jnp.int32(0), memory)

    def act(
        self, params: SeededParams, agents: jax.Array, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Behaviour, jax.Array]:
        members = rows_of(params, agents % self.config.num_members)
        logits = jax.vmap(self._logits)(members, timestep.observation)
        return *choose(categorical, logits, key), agents

    def act_greedily(
        self, params: SeededParams, agents: jax.Array, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, jax.Array]:
        logits = jax.vmap(self._logits, in_axes=(0, None))(params, timestep.observation)
        return jnp.argmax(jnp.mean(jax.nn.softmax(logits), axis=0), axis=-1), agents

    def update(self, state: SeededState, batch: Trajectory) -> tuple[SeededState, Metrics]:
        batch = batch._replace(actor_state=(), extras=batch.extras._replace(policy=()))
        if self.axis_name is not None:  # before rows are numbered
            batch = jax.lax.all_gather(batch, self.axis_name, axis=1, tiled=True)
        batch = batch._replace(reward=self.config.impala.training_reward(batch.reward))
        valid = batch.is_transition
        number = state.data + jnp.cumsum(valid, dtype=jnp.int32).reshape(valid.shape) - 1
        rows = Rows(batch, jnp.maximum(number, 0))
        acting, prior = rows_of(state.params, state.numbers)
        memory = state.memory
        if memory is None:
            own, metrics = jax.vmap(
                lambda own, prior, member: self._member(prior).learn(
                    own, rows, member, state.noise_key
                )
            )(state.own, prior, state.numbers)
            acting = own.params
        else:
            memory = remember(memory, rows)
            own, metrics = jax.vmap(
                lambda own, acting, prior, member: self._member(prior).fit(
                    own, acting, memory, member, state.noise_key
                )
            )(state.own, acting, prior, state.numbers)
            acting = optax.incremental_update(own.params, acting, self.config.target_rate)
        metrics = jax.tree.map(jnp.mean, metrics)
        if self.axis_name is not None:
            acting = jax.lax.all_gather(acting, self.axis_name, tiled=True)
            metrics = jax.lax.pmean(metrics, self.axis_name)
        data = state.data + jnp.sum(valid, dtype=jnp.int32)
        params = state.params._replace(members=acting)
        return state._replace(params=params, own=own, data=data, memory=memory), metrics

    def _member(self, prior: Any) -> SeededMember:
        """The member that has this prior."""
        return SeededMember(
            self.config, self.spec, self.network, self.prior_network, self.optimizer, prior
        )

    def _logits(self, params: SeededParams, observation: Any) -> jax.Array:
        """One member's logits, for observations of any leading axes."""
        return self._member(params.prior).policy_and_value(params.members, observation)[0]
