"""Seed TD with an ensemble of networks: the team of the paper's figure 3.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, sections 3.2, 3.3 and 4.2.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import chex
import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.agents.members import own_members, rows_of
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.experience import (
    Experience,
    Minibatch,
    draw_minibatches,
    make_experience,
    record,
)
from expedition.exploration.seeds import Seeds, bernoulli, gaussian, make_seeds
from expedition.exploration.threefry import without_loop
from expedition.exploration.transitions import Transitions
from expedition.losses.seed_td import seed_td_loss


@dataclass(frozen=True)
class SeedEnsembleConfig:
    """The algorithm's settings. An update is a call of `update`, for whatever it brings."""

    num_models: int = 30
    """Models E; agent k acts by model k modulo E, so that all are used alike. E >= K: one each."""
    networks: int = 1
    """Networks of each model, which have its prior and its seed in common and whose mean it acts
    by. The targets of each take the next one's values: with two of them and `double`, as van
    Hasselt (2010), Double Q-learning, has it (but there each datum is one network's only)."""
    prior_scale: float = 3.0
    """Scale beta of each model's frozen prior network."""
    noise_variance: float = 0.01
    """Variance v of the noise z that a model's seed adds to each datum's target."""
    mask_probability: float = 1.0
    """Probability that a model uses a datum at all, by its seed: the Bernoulli bootstrap."""
    discount: float = 0.99
    """Discount gamma per action."""
    learning_rate: float = 1e-3
    """Of Adam."""
    minibatch: Minibatch = field(default_factory=Minibatch)
    """The data of each gradient step, drawn from the team's for each network alone."""
    steps: int = 1
    """Gradient steps of each network at each update."""
    target_period: int = 1
    """Updates after which the parameters that targets bootstrap from are brought up to date."""
    target_rate: float = 1.0
    """How far they are moved towards the newest then: 1 for all the way, less to average them."""
    act_by_target: bool = False
    """Whether agents act by those parameters, rather than by the newest."""
    double: bool = False
    """Whether the parameters before the update choose the action that the targets' parameters
    evaluate. No difference where these are the same."""
    value_range: tuple[float, float] | None = None
    """Lowest and highest value that targets bootstrap from, as rewards allow; None: any."""
    capacity: int = 1_000_000
    """Data that a model's view of the buffer holds; older ones are overwritten at random."""

    def __post_init__(self) -> None:
        for name in ("num_models", "networks", "steps", "target_period", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("prior_scale", "noise_variance"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 0")
        if not (0 <= self.discount <= 1 and 0 < self.mask_probability <= 1):
            raise ValueError(
                f"discount is {self.discount} and mask_probability {self.mask_probability}; "
                "expected a number in [0, 1] and one in (0, 1]"
            )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected a positive number")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range is {self.value_range}; expected (lowest, highest)")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate is {self.target_rate}; expected a number in (0, 1]")


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
    parts = _SeedEnsemble(config, spec, network, prior_network or network, axis_name)
    return Agent(parts.init, jnp.arange, parts.act, parts.act_greedily, parts.update)


@dataclass(frozen=True)
class _SeedEnsemble:
    config: SeedEnsembleConfig
    spec: EnvironmentSpec
    network: nn.Module
    prior_network: nn.Module
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
        networks = draw(self.network, online_key, config.num_models * config.networks)
        acting = jax.tree.map(lambda x: x.reshape(*each, *x.shape[1:]), networks)
        members = own_members(config.num_models, self.axis_name)
        own = rows_of(acting, members)
        datum = Transitions(nothing, jnp.int32(0), jnp.float32(0), jnp.float32(0), nothing, ())
        return SeedEnsembleState(
            params=EnsembleParams(acting, draw(self.prior_network, seeds.prior, config.num_models)),
            members=members,
            online=own,
            target=own,
            optimizer_state=jax.vmap(jax.vmap(self._optimizer.init))(own),
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
        online, optimizer_state, loss = jax.vmap(partial(self._learn, state))(
            state.members, state.online, state.target, state.optimizer_state
        )
        updates = state.updates + 1
        rate = jnp.where(updates % config.target_period == 0, config.target_rate, 0.0)
        target = optax.incremental_update(online, state.target, rate)
        acting = target if config.act_by_target else online
        metrics = {"loss": jnp.mean(loss), "data": state.experience.everything.size}
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

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.config.learning_rate)

    def _evaluate(self, theta: Any, observation: chex.Array) -> jax.Array:
        """Of a network, without the prior."""
        q: jax.Array = self.network.apply(theta, observation)  # type: ignore[assignment]
        return q

    def _prior(self, theta: Any, observation: chex.Array) -> jax.Array:
        q: jax.Array = self.prior_network.apply(theta, observation)  # type: ignore[assignment]
        return self.config.prior_scale * q

    def _values(self, params: EnsembleParams, observation: chex.Array) -> jax.Array:
        """Of one model, [N, A]."""
        q = jax.vmap(self._evaluate, in_axes=(0, None))(params.acting, observation)
        return jnp.mean(q, axis=0) + self._prior(params.prior, observation)

    def _learn(
        self,
        state: SeedEnsembleState,
        member: jax.Array,
        online: Any,
        target: Any,
        optimizer_state: Any,
    ) -> tuple[Any, Any, jax.Array]:
        """One model's update: its H networks', [H, ...] each."""
        key = jax.random.fold_in(jax.random.fold_in(without_loop(state.draw_key), state.updates), member)
        keys = jax.random.split(key, self.config.networks)
        next_target = jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), target)
        descend = jax.vmap(partial(self._descend, state, member))
        return descend(keys, online, next_target, optimizer_state)

    def _descend(
        self,
        state: SeedEnsembleState,
        member: jax.Array,
        key: jax.Array,
        online: Any,
        target: Any,
        optimizer_state: Any,
    ) -> tuple[Any, Any, jax.Array]:
        """One network's gradient steps at an update."""
        config = self.config
        batches = self._targets(state, member, key, online, target)

        def loss(online: Any, batch: "_Batch") -> jax.Array:
            return seed_td_loss(
                self._evaluate(online, batch.data.observation) + batch.prior_q,
                batch.data.action,
                batch.data.reward,
                config.discount * batch.data.discount,
                batch.q_t,
                batch.noise,
                weight_tm1=batch.is_used.astype(jnp.float32),
                reduction="mean",
            ).loss

        def step(carry: tuple[Any, Any], batch: "_Batch") -> tuple[tuple[Any, Any], jax.Array]:
            online, optimizer_state = carry
            value, gradient = jax.value_and_grad(loss)(online, batch)
            change, optimizer_state = self._optimizer.update(gradient, optimizer_state)
            return (optax.apply_updates(online, change), optimizer_state), value

        (online, optimizer_state), losses = jax.lax.scan(step, (online, optimizer_state), batches)
        return online, optimizer_state, jnp.mean(losses)

    def _targets(
        self, state: SeedEnsembleState, member: jax.Array, key: jax.Array, online: Any, target: Any
    ) -> "_Batch":
        """All minibatches of an update: nothing in them depends on its steps."""
        config = self.config
        drawn = draw_minibatches(
            state.experience,
            config.minibatch,
            state.seeds.replacement,
            member,
            key,
            config.steps,
        )
        data, number = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), drawn)
        prior = rows_of(state.params.prior, member)
        next_prior_q = self._prior(prior, data.next_observation)
        q_t = self._evaluate(target, data.next_observation) + next_prior_q
        if config.double:
            chosen = self._evaluate(online, data.next_observation) + next_prior_q
            q_t = jnp.take_along_axis(q_t, jnp.argmax(chosen, axis=-1)[:, None], axis=-1)
            q_t = jnp.broadcast_to(q_t, chosen.shape)
        if config.value_range is not None:
            q_t = jnp.clip(q_t, *config.value_range)
        batch = _Batch(
            data,
            prior_q=self._prior(prior, data.observation),
            q_t=q_t,
            noise=config.noise_variance**0.5 * gaussian(state.seeds.noise, member, number),
            is_used=bernoulli(state.seeds.mask, member, number, config.mask_probability),
        )
        batches: _Batch = jax.tree.map(
            lambda x: x.reshape(config.steps, config.minibatch.size, *x.shape[1:]), batch
        )
        return batches


class _Batch(NamedTuple):
    """A minibatch, and what does not change as a network learns from it."""

    data: Transitions
    prior_q: jax.Array  # [N, A] of the prior before the action
    q_t: jax.Array  # [N, A] after the action
    noise: jax.Array  # [N] z
    is_used: jax.Array  # [N] bool
