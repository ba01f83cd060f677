"""Seed TD with an ensemble of networks: the team of the paper's figure 3.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, sections 3.2, 3.3 and 4.2.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.agents.members import own_members, rows_of
from expedition.agents.seed_model import SeedEnsembleConfig, SeedModel
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.experience import Experience, make_experience, record
from expedition.exploration.seeds import Seeds, make_seeds
from expedition.exploration.threefry import without_loop
from expedition.exploration.transitions import Transitions


class EnsembleParams(NamedTuple):
    """What actors need of the models."""

    acting: Any  # [E, H, ...] θ of each model's H networks, or θ⁻
    prior: Any  # [E, ...] θ̂, frozen


class SeedEnsembleState(NamedTuple):
    """What a learner's device holds: all that actors need, all data, and its own models M."""

    params: EnsembleParams
    members: jax.Array  # [M] int32, the numbers of its models
    online: Any  # [M, H, ...] θ
    target: Any  # [M, H, ...] θ⁻
    optimizer_state: Any  # [M, H, ...]
    experience: Experience
    seeds: Seeds
    draw_key: jax.Array
    updates: jax.Array  # [] int32


def seed_ensemble(
    config: SeedEnsembleConfig,
    spec: EnvironmentSpec,
    network: nn.Module,
    *,
    prior_network: nn.Module | None = None,
    axis_name: str | None = None,
) -> Agent:
    """Builds the agent.

    Model e has the values `Q_e = f(θ_e) + β g(θ̂_e)` and follows

        L(θ_e) = mean_j (r_j + γ_j max_a Q⁻_e(s'_j, a) + z_ej - Q_e(s_j, a_j))²

    over minibatches of the data of all agents (double: Q⁻_e at the action that is best for Q_e, in
    place of the maximum). Its prior θ̂_e, its noise z_ej ~ N(0, v) and what its
    bootstrap leaves out are functions of its seed and of the datum's number. A model of several
    networks is as many θ_e: each follows the loss with the next one's Q⁻. Evaluation is greedy
    for the mean of all models.

    Args:
        config: the settings.
        spec: shapes of one observation, and a discrete action.
        network: f, which maps observations `[N, ...]` to action values `[N, A]`.
        prior_network: g; the same as f if there is none.
        axis_name: the `pmap` axis over which models are divided and data are shared; their number
            must divide that of the models. Gradients never leave a device. `init` and `update` then
            need the axis.
    """
    model = SeedModel(config, network, prior_network or network)
    parts = _SeedEnsemble(config, spec, model, axis_name)
    return Agent(parts.init, jnp.arange, parts.act, parts.act_greedily, parts.update)


@dataclass(frozen=True)
class _SeedEnsemble:
    config: SeedEnsembleConfig
    spec: EnvironmentSpec
    model: SeedModel
    axis_name: str | None

    def init(self, key: jax.Array) -> SeedEnsembleState:
        config = self.config
        seed_key, online_key, draw_key = jax.random.split(key, 3)
        seeds = make_seeds(seed_key)
        nothing = jnp.zeros(self.spec.observation.shape, self.spec.observation.dtype)

        def draw(network: nn.Module, stream: jax.Array, number: int) -> Any:
            keys = jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(number))
            return jax.vmap(lambda key: network.init(key, nothing[None]))(keys)

        each = config.num_models, config.networks
        networks = draw(self.model.network, online_key, config.num_models * config.networks)
        acting = jax.tree.map(lambda x: x.reshape(*each, *x.shape[1:]), networks)
        members = own_members(config.num_models, self.axis_name)
        own = rows_of(acting, members)
        datum = Transitions(nothing, jnp.int32(0), jnp.float32(0), jnp.float32(0), nothing, ())
        prior = draw(self.model.prior_network, seeds.prior, config.num_models)
        return SeedEnsembleState(
            params=EnsembleParams(acting, prior),
            members=members,
            online=own,
            target=own,
            optimizer_state=jax.vmap(jax.vmap(self.model.optimizer.init))(own),
            experience=make_experience(datum, config.capacity, config.minibatch),
            seeds=seeds,
            draw_key=draw_key,
            updates=jnp.int32(0),
        )

    def act(
        self, params: EnsembleParams, agents: jax.Array, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        del key  # all randomness is the seeds'
        models = rows_of(params, agents % self.config.num_models)
        q = jax.vmap(lambda model, x: self._values(model, x[None])[0])(models, timestep.observation)
        return jnp.argmax(q, axis=-1), (), agents

    def act_greedily(
        self, params: EnsembleParams, agents: jax.Array, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, jax.Array]:
        q = jax.vmap(self._values, in_axes=(0, None))(params, timestep.observation)
        return jnp.argmax(jnp.mean(q, axis=0), axis=-1), agents

    def update(
        self, state: SeedEnsembleState, batch: Trajectory
    ) -> tuple[SeedEnsembleState, Metrics]:
        config = self.config
        batch = batch._replace(extras=(), actor_state=())
        if self.axis_name is not None:  # before rows are numbered
            batch = jax.lax.all_gather(batch, self.axis_name, axis=1, tiled=True)
        seen = batch.transitions
        data, is_valid = seen._replace(is_valid=()), seen.is_valid
        experience = record(state.experience, data, is_valid, seen.reward > 0)
        state = state._replace(experience=experience)
        key = jax.random.fold_in(without_loop(state.draw_key), state.updates)
        prior = rows_of(state.params.prior, state.members)
        online, optimizer_state, loss = jax.vmap(
            partial(self.model.learn, experience, state.seeds, key)
        )(state.members, prior, state.online, state.target, state.optimizer_state)
        updates = state.updates + 1
        rate = jnp.where(updates % config.target_period == 0, config.target_rate, 0.0)
        target = optax.incremental_update(online, state.target, rate)
        acting = target if config.act_by_target else online
        metrics = {"loss": jnp.mean(loss), "data": experience.everything.size}
        if self.axis_name is not None:
            acting = jax.lax.all_gather(acting, self.axis_name, tiled=True)
            metrics["loss"] = jax.lax.pmean(metrics["loss"], self.axis_name)
        learnt = acting, online, target, optimizer_state, updates
        before = state.params.acting, state.online, state.target, state.optimizer_state
        # An update without data changes nothing.
        learnt = jax.tree.map(partial(jnp.where, is_valid.any()), learnt, (*before, state.updates))
        acting, online, target, optimizer_state, updates = learnt
        return state._replace(
            params=state.params._replace(acting=acting),
            online=online,
            target=target,
            optimizer_state=optimizer_state,
            updates=updates,
        ), metrics

    def _values(self, params: EnsembleParams, observation: Any) -> jax.Array:
        """Action values `[N, A]` of one model."""
        return self.model.values(params.acting, params.prior, observation)
