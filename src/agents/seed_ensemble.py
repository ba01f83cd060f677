"""Seed TD with an ensemble of networks: the team of the paper's figure 3.

Source: Dimakopoulou, Osband & Van Roy (2018), Scalable Coordinated Exploration in Concurrent
Reinforcement Learning, https://arxiv.org/abs/1805.08948, sections 3.2, 3.3 and 4.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import chex
import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.replay import Replay, extend, make_replay, sample, sample_newest
from expedition.exploration.seeds import Seeds, bernoulli, gaussian, make_seeds
from expedition.exploration.transitions import Transitions
from expedition.losses.seed_td import seed_td_loss


@dataclass(frozen=True)
class SeedEnsembleConfig:
    """The algorithm's settings. An update is a call of `update`, for whatever it brings."""

    num_models: int = 30
    """Models E; agent k acts by model k modulo E, so that all are used alike. E >= K: one each."""
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
    batch_size: int = 16
    """Data of each gradient step, drawn uniformly from the team's buffer, for each model alone."""
    steps: int = 1
    """Gradient steps of each model at each update."""
    target_period: int = 1
    """Updates after which the parameters that targets bootstrap from are brought up to date."""
    target_rate: float = 1.0
    """How far they are moved towards the newest then: 1 for all the way, less to average them."""
    act_by_target: bool = False
    """Whether agents act by those parameters, rather than by the newest."""
    double: bool = False
    """Double Q-learning: the parameters before the update choose the action that the targets'
    parameters evaluate. No difference where these are the same."""
    value_range: tuple[float, float] | None = None
    """Lowest and highest value that targets bootstrap from, as rewards allow; None: any."""
    recent_part: float = 0.0
    """Part of a minibatch that is drawn from the newest data only."""
    recent_data: int = 1
    """How many data are the newest."""
    capacity: int = 1_000_000
    """Data that a model's view of the buffer holds; older ones are overwritten at random."""

    def __post_init__(self) -> None:
        for name in (
            *("num_models", "batch_size", "steps", "target_period", "capacity", "recent_data"),
        ):
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
        if not (0 < self.target_rate <= 1 and 0 <= self.recent_part <= 1):
            raise ValueError(
                f"target_rate is {self.target_rate} and recent_part {self.recent_part}; expected a "
                "number in (0, 1] and one in [0, 1]"
            )


class EnsembleParams(NamedTuple):
    """What actors need of the models."""

    acting: Any  # [E, ...] θ, or θ⁻
    prior: Any  # [E, ...] θ̂, frozen


class SeedEnsembleState(NamedTuple):
    """What a learner's device holds: all that actors need, all data, and its own models M."""

    params: EnsembleParams
    members: jax.Array  # [M] int32, the numbers of its models
    online: Any  # [M, ...] θ
    target: Any  # [M, ...] θ⁻
    optimizer_state: Any  # [M, ...]
    replay: Replay
    seeds: Seeds
    draw_key: jax.Array
    updates: jax.Array  # [] int32


def seed_ensemble(
    config: SeedEnsembleConfig,
    spec: EnvironmentSpec,
    network: nn.Module,
    *,
    axis_name: str | None = None,
) -> Agent:
    """Builds the agent.

    Model e has the values `Q_e = f(θ_e) + β f(θ̂_e)` and follows

        L(θ_e) = mean_j (r_j + γ_j max_a Q⁻_e(s'_j, a) + z_ej - Q_e(s_j, a_j))²

    over minibatches of the data of all agents (double: Q⁻_e at the action that is best for Q_e, in
    place of the maximum). Its prior θ̂_e, its noise z_ej ~ N(0, v) and what its
    bootstrap leaves out are functions of its seed and of the datum's number. Evaluation is greedy
    for the mean of all models.

    Args:
        config: the settings.
        spec: shapes of one observation, and a discrete action.
        network: maps observations `[N, ...]` to action values `[N, A]`.
        axis_name: the `pmap` axis over which models are divided and data are shared; their number
            must divide that of the models. Gradients never leave a device. `init` and `update` then
            need the axis.
    """
    optimizer = optax.adam(config.learning_rate)
    evaluate: Callable[..., jax.Array] = network.apply  # type: ignore[assignment]
    nothing = jnp.zeros(spec.observation.shape, spec.observation.dtype)
    datum = Transitions(nothing, jnp.int32(0), jnp.float32(0), jnp.float32(0), nothing, ())

    def values(params: EnsembleParams, observation: chex.Array) -> jax.Array:
        """Of one model."""
        prior = config.prior_scale * evaluate(params.prior, observation)
        return evaluate(params.acting, observation) + prior

    def init(key: jax.Array) -> SeedEnsembleState:
        seed_key, online_key, draw_key = jax.random.split(key, 3)
        seeds = make_seeds(seed_key)

        def draw(stream: jax.Array) -> Any:
            keys = jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(config.num_models))
            return jax.vmap(lambda key: network.init(key, nothing[None]))(keys)

        params = EnsembleParams(draw(online_key), draw(seeds.prior))
        members = _members(config.num_models, axis_name)
        own = _rows(params.acting, members)
        return SeedEnsembleState(
            params=params,
            members=members,
            online=own,
            target=own,
            optimizer_state=jax.vmap(optimizer.init)(own),
            replay=make_replay(datum, config.capacity),
            seeds=seeds,
            draw_key=draw_key,
            updates=jnp.int32(0),
        )

    def act(
        params: EnsembleParams, agents: jax.Array, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        del key  # all randomness is the seeds'
        models = _rows(params, agents % config.num_models)
        q = jax.vmap(lambda model, x: values(model, x[None])[0])(models, timestep.observation)
        return jnp.argmax(q, axis=-1), (), agents

    def act_greedily(
        params: EnsembleParams, agents: jax.Array, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, jax.Array]:
        q = jax.vmap(values, in_axes=(0, None))(params, timestep.observation)
        return jnp.argmax(jnp.mean(q, axis=0), axis=-1), agents

    def minibatches(state: SeedEnsembleState, member: jax.Array) -> tuple[Transitions, jax.Array]:
        """One model's data of all steps of an update, and their numbers."""
        key = jax.random.fold_in(jax.random.fold_in(state.draw_key, state.updates), member)
        of_all_key, newest_key = jax.random.split(key)
        newest = round(config.recent_part * config.batch_size)
        counts = config.steps * (config.batch_size - newest), config.steps * newest
        of_all = sample(state.replay, state.seeds.replacement, member, of_all_key, counts[0])
        of_newest = sample_newest(state.replay, newest_key, counts[1], config.recent_data)

        def joined(*parts: jax.Array) -> jax.Array:  # in each minibatch
            shape = parts[0].shape[1:]
            parts = tuple(x.reshape(config.steps, len(x) // config.steps, *shape) for x in parts)
            return jnp.concatenate(parts, axis=1).reshape(-1, *shape)

        return jax.tree.map(joined, of_all, of_newest)

    def learn(
        state: SeedEnsembleState, member: jax.Array, online: Any, target: Any, optimizer_state: Any
    ) -> tuple[Any, Any, jax.Array]:
        """One model's gradient steps at an update."""
        prior = _rows(state.params.prior, member)
        seen, number = minibatches(state, member)
        noise = config.noise_variance**0.5 * gaussian(state.seeds.noise, member, number)
        is_used = bernoulli(state.seeds.mask, member, number, config.mask_probability)
        # Nothing here depends on the steps, so it is done for all of them at once.
        q_t = values(EnsembleParams(target, prior), seen.next_observation)
        if config.double:
            chosen = jnp.argmax(values(EnsembleParams(online, prior), seen.next_observation), -1)
            q_t = jnp.take_along_axis(q_t, chosen[:, None], axis=-1)
            q_t = jnp.broadcast_to(q_t, (len(number), spec.action.num_values))
        if config.value_range is not None:
            q_t = jnp.clip(q_t, *config.value_range)
        prior_q = config.prior_scale * evaluate(prior, seen.observation)

        def loss(online: Any, rows: Any) -> jax.Array:
            seen, prior_q, q_t, noise, is_used = rows
            return seed_td_loss(
                evaluate(online, seen.observation) + prior_q,
                seen.action,
                seen.reward,
                config.discount * seen.discount,
                q_t,
                noise,
                weight_tm1=is_used.astype(jnp.float32),
                reduction="mean",
            ).loss

        def step(carry: tuple[Any, Any], rows: Any) -> tuple[tuple[Any, Any], jax.Array]:
            online, optimizer_state = carry
            value, gradient = jax.value_and_grad(loss)(online, rows)
            change, optimizer_state = optimizer.update(gradient, optimizer_state)
            return (optax.apply_updates(online, change), optimizer_state), value

        rows = jax.tree.map(
            lambda x: x.reshape(config.steps, config.batch_size, *x.shape[1:]),
            (seen, prior_q, q_t, noise, is_used),
        )
        (online, optimizer_state), losses = jax.lax.scan(step, (online, optimizer_state), rows)
        return online, optimizer_state, jnp.mean(losses)

    def update(state: SeedEnsembleState, batch: Trajectory) -> tuple[SeedEnsembleState, Metrics]:
        batch = batch._replace(extras=(), actor_state=())
        if axis_name is not None:  # before rows are numbered
            batch = jax.lax.all_gather(batch, axis_name, axis=1, tiled=True)
        seen = batch.transitions
        replay = extend(state.replay, seen._replace(is_valid=()), seen.is_valid)
        state = state._replace(replay=replay)
        online, optimizer_state, loss = jax.vmap(partial(learn, state))(
            state.members, state.online, state.target, state.optimizer_state
        )
        updates = state.updates + 1
        rate = jnp.where(updates % config.target_period == 0, config.target_rate, 0.0)
        target = optax.incremental_update(online, state.target, rate)
        acting = target if config.act_by_target else online
        metrics = {"loss": jnp.mean(loss), "data": replay.size}
        if axis_name is not None:
            acting = jax.lax.all_gather(acting, axis_name, tiled=True)
            metrics["loss"] = jax.lax.pmean(metrics["loss"], axis_name)
        learnt = acting, online, target, optimizer_state, updates
        before = state.params.acting, state.online, state.target, state.optimizer_state
        # An update without data changes nothing.
        learnt = jax.tree.map(
            partial(jnp.where, seen.is_valid.any()), learnt, (*before, state.updates)
        )
        acting, online, target, optimizer_state, updates = learnt
        return state._replace(
            params=state.params._replace(acting=acting),
            online=online,
            target=target,
            optimizer_state=optimizer_state,
            updates=updates,
        ), metrics

    return Agent(init, jnp.arange, act, act_greedily, update)


def _members(num_models: int, axis_name: str | None) -> jax.Array:
    """The numbers of the models on this device."""
    if axis_name is None:
        return jnp.arange(num_models)
    devices = jax.lax.axis_size(axis_name)
    if num_models % devices:
        raise ValueError(
            f"{num_models} models were given for {devices} devices; expected a multiple of them"
        )
    own = num_models // devices
    return jax.lax.axis_index(axis_name) * own + jnp.arange(own)


def _rows(tree: Any, index: jax.Array) -> Any:
    return jax.tree.map(lambda x: x[index], tree)
