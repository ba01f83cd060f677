"""Seeded IMPALA: an ensemble of actor-critics, each with its seed, that explores together.

docs/seeded_impala.md says what it samples, and where that is heuristic.

Sources: Espeholt et al. (2018), IMPALA, https://arxiv.org/abs/1802.01561; Dimakopoulou, Osband &
Van Roy (2018), Scalable Coordinated Exploration in Concurrent Reinforcement Learning,
https://arxiv.org/abs/1805.08948 (seeds, and the "seed policy gradient" of its section 3.2); Osband,
Aslanides & Cassirer (2018), Randomized Prior Functions, https://arxiv.org/abs/1806.03335.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import dm_env
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from dm_env import specs

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.agents.impala import (
    ActorCriticAgent,
    Behaviour,
    Gradient,
    ImpalaConfig,
    ImpalaState,
)
from expedition.agents.members import own_members, rows_of
from expedition.agents.unroll_memory import Rows, UnrollMemory, make_memory, minibatches, remember
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.experience import Minibatch
from expedition.exploration.seeds import gaussian, make_seeds
from expedition.losses.actor_critic import value_loss
from expedition.losses.boltzmann import BoltzmannTargets, boltzmann, boltzmann_targets
from expedition.losses.rows import reduce_rows


@dataclass(frozen=True)
class SeededImpalaConfig:
    """The algorithm's settings: the seeds', and those of each member's IMPALA."""

    num_members: int = 16
    """Members E; environment k of all is acted in by member k modulo E."""
    prior_scale: float = 3.0
    """Scale beta of each member's frozen prior network."""
    noise_variance: float = 0.01
    """Variance v of the noise z that a member's seed adds to each reward."""
    temperature: float | None = 0.01
    """Of the policy softmax(Q/temperature), whose action values Q each member learns; in units of
    value. None: members have a policy and a value apart, and follow IMPALA's own loss."""
    passes: int = 1
    """Gradient steps of each member after each batch. Without replay all are from that batch, with
    V-trace made anew for each; with replay each is from a minibatch of its own."""
    replay: int | None = None
    """Unrolls that a member's view of a buffer holds, at least half as many as come at once:
    members learn from minibatches of them, in place of the newest batch alone. Each device and
    checkpoint holds twice as many. None: no buffer."""
    minibatch: Minibatch = field(default_factory=lambda: Minibatch(4, rewarded_part=0.25))
    """With replay: the unrolls of a gradient step."""
    target_rate: float = 0.5
    """With replay: how far the parameters that act, and that targets are made of, move at each
    batch towards those that learn."""
    impala: ImpalaConfig = field(default_factory=ImpalaConfig)
    """With a temperature, rho_bar_pg, baseline_cost and entropy_cost mean nothing."""

    def __post_init__(self) -> None:
        for name in ("num_members", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("prior_scale", "noise_variance"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(
                f"temperature is {self.temperature}; expected a positive number, or None"
            )
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate is {self.target_rate}; expected a number in (0, 1]")
        if self.replay is not None and (
            self.replay < 1 or self.temperature is None or self.impala.correction == "none"
        ):
            raise ValueError(
                f"replay is {self.replay}, temperature {self.temperature} and correction "
                f"{self.impala.correction!r}; expected at least 1 unroll, action values and V-trace"
            )

    def num_outputs(self, num_actions: int) -> int:
        """What a member's network gives: action values, or logits and a value."""
        return num_actions + (self.temperature is None)


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
    parts = _SeededImpala(
        config,
        spec,
        network,
        prior_network or network,
        None if num_updates is None else num_updates * config.passes,
        unroll_length or 0,
        axis_name,
    )
    return Agent(
        parts.init,
        jnp.arange,
        parts.act,
        parts.act_greedily,
        parts.update,
        training_reward=parts.alone.training_reward,
    )


@dataclass(frozen=True)
class _Member:
    """A member's network as an actor-critic, `PolicyAndValue`; only its own part is learnt."""

    config: SeededImpalaConfig
    network: nn.Module
    prior_network: nn.Module
    prior: Any

    def init(self, key: jax.Array, observation: Any, reset: Any, state: Any) -> Any:
        del reset, state
        return self.network.init(key, observation[0])

    def apply(self, params: Any, observation: Any, reset: Any, state: Any) -> Any:
        seen = observation.reshape(-1, *observation.shape[2:])
        learnt: Any = self.network.apply(params, seen)
        frozen: Any = self.prior_network.apply(self.prior, seen)
        outputs = learnt + self.config.prior_scale * frozen
        outputs = outputs.reshape(*reset.shape, -1)
        if self.config.temperature is None:
            return outputs[..., :-1], outputs[..., -1], state
        return *boltzmann(outputs, self.config.temperature), state

    def initial_state(self, batch_size: int) -> Any:
        del batch_size
        return ()


@dataclass(frozen=True)
class _SeededImpala:
    config: SeededImpalaConfig
    spec: EnvironmentSpec
    network: nn.Module
    prior_network: nn.Module
    num_steps: int | None
    unroll_length: int
    axis_name: str | None

    def member(self, prior: Any) -> ActorCriticAgent:
        """Of this prior; it learns from rewards as they are given."""
        network = _Member(self.config, self.network, self.prior_network, prior)
        return replace(self.alone, network=network, config=self._as_given)

    @property
    def alone(self) -> ActorCriticAgent:
        """A member that must not be asked for its network's outputs."""
        network = _Member(self.config, self.network, self.prior_network, None)
        return ActorCriticAgent(
            self.config.impala,
            self.spec,
            network,
            self.num_steps,
            None,
            temperature=self.config.temperature,
        )

    @property
    def _as_given(self) -> ImpalaConfig:
        return replace(self.config.impala, max_abs_reward=None, reward_scale=1.0)

    def init(self, key: jax.Array) -> SeededState:
        number = self.config.num_members
        seed_key, network_key = jax.random.split(key)
        draw_key = jax.random.fold_in(key, 2)  # beside the two above
        seeds = make_seeds(seed_key)
        nothing = jnp.zeros((1, *self.spec.observation.shape), self.spec.observation.dtype)

        def keys(stream: jax.Array) -> jax.Array:
            return jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(number))

        priors = jax.vmap(lambda key: self.prior_network.init(key, nothing))(keys(seeds.prior))
        states = jax.vmap(self.alone.init)(keys(network_key))
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
        seen = jax.tree.map(lambda x: jnp.asarray(x)[:, None], timestep)  # each a batch of one
        logits = jax.vmap(self._logits)(members, seen)[:, 0]
        return *self.alone.choose(logits, key), agents

    def act_greedily(
        self, params: SeededParams, agents: jax.Array, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, jax.Array]:
        logits = jax.vmap(self._logits, in_axes=(0, None))(params, timestep)
        return jnp.argmax(jnp.mean(jax.nn.softmax(logits), axis=0), axis=-1), agents

    def _logits(self, member: SeededParams, timestep: dm_env.TimeStep) -> jax.Array:
        """Of one member, [B, A]."""
        logits: jax.Array = self.member(member.prior).step(member.members, (), timestep)[0]
        return logits

    def update(self, state: SeededState, batch: Trajectory) -> tuple[SeededState, Metrics]:
        batch = batch._replace(actor_state=(), extras=batch.extras._replace(policy=()))
        if self.axis_name is not None:  # before rows are numbered
            batch = jax.lax.all_gather(batch, self.axis_name, axis=1, tiled=True)
        batch = batch._replace(reward=self.alone.training_reward(batch.reward))
        valid = batch.is_transition
        number = state.data + jnp.cumsum(valid, dtype=jnp.int32).reshape(valid.shape) - 1
        rows = Rows(batch, jnp.maximum(number, 0))
        acting, prior = rows_of(state.params, state.numbers)
        memory = state.memory
        if memory is None:
            learn = partial(self._learn, state.noise_key, rows)
            own, metrics = jax.vmap(learn)(state.numbers, prior, state.own)
            acting = own.params
        else:
            memory = remember(memory, rows)
            fit = partial(self._fit, state.noise_key, memory)
            own, metrics = jax.vmap(fit)(state.numbers, prior, acting, state.own)
            acting = optax.incremental_update(own.params, acting, self.config.target_rate)
        metrics = jax.tree.map(jnp.mean, metrics)
        if self.axis_name is not None:
            acting = jax.lax.all_gather(acting, self.axis_name, tiled=True)
            metrics = jax.lax.pmean(metrics, self.axis_name)
        data = state.data + jnp.sum(valid, dtype=jnp.int32)
        params = state.params._replace(members=acting)
        return state._replace(params=params, own=own, data=data, memory=memory), metrics

    def _perturbed(self, noise_key: jax.Array, rows: Rows, member: jax.Array) -> Trajectory:
        """A member's own rewards."""
        noise = self.config.noise_variance**0.5 * gaussian(noise_key, member, rows.number)
        return rows.batch._replace(reward=rows.batch.reward + noise)

    def _learn(
        self, noise_key: jax.Array, rows: Rows, member: jax.Array, prior: Any, own: ImpalaState
    ) -> tuple[ImpalaState, Metrics]:
        """One member's update from a batch."""
        batch = self._perturbed(noise_key, rows, member)
        parts = self.member(prior)

        def step(own: ImpalaState, _: None) -> tuple[ImpalaState, Metrics]:
            return parts.descend(own, parts.gradient(own.params, batch))

        own, metrics = jax.lax.scan(step, own, None, length=self.config.passes)
        return own, jax.tree.map(lambda x: x[-1], metrics)

    def _fit(
        self,
        noise_key: jax.Array,
        memory: UnrollMemory,
        member: jax.Array,
        prior: Any,
        acting: Any,
        own: ImpalaState,
    ) -> tuple[ImpalaState, Metrics]:
        """One member's update from all that was seen: of targets of the parameters that act."""
        config = self.config
        drawn = minibatches(memory, config.minibatch, member, config.passes)

        def loss(params: Any, batch: Trajectory, frozen: jax.Array, target: jax.Array) -> jax.Array:
            q = self._outputs(self.network, params, batch.observation[:-1]) + frozen[:-1]
            q = jnp.take_along_axis(q, batch.action[..., None], axis=-1)[..., 0]
            weight = batch.is_transition.astype(q.dtype)
            return value_loss(q, target, weight_tm1=weight, reduction=config.impala.reduction)

        def step(own: ImpalaState, rows: Rows) -> tuple[ImpalaState, Metrics]:
            batch = self._perturbed(noise_key, rows, member)
            x = batch.observation
            frozen = config.prior_scale * self._outputs(self.prior_network, prior, x)
            q = self._outputs(self.network, acting, x) + frozen
            targets = self._targets(q, batch)
            given = batch, frozen, targets.action_values
            value, gradient = jax.value_and_grad(loss)(own.params, *given)
            entropy = reduce_rows(
                lambda row: row,
                targets.entropy,
                weight_tm1=batch.is_transition.astype(q.dtype),
                reduction=config.impala.reduction,
            )
            kl = 0.5 * jnp.mean(jnp.square(targets.log_rho))
            found = Gradient(gradient, {"loss": value, "entropy": entropy}, kl)
            return self.alone.descend(own, found)

        own, metrics = jax.lax.scan(step, own, drawn)
        return own, jax.tree.map(jnp.mean, metrics)

    def _targets(self, q: jax.Array, batch: Trajectory) -> BoltzmannTargets:
        """What the actions taken are worth, for Q of all observations."""
        config = self.config.impala
        return boltzmann_targets(
            q,
            batch.action,
            batch.extras.log_prob,
            batch.reward,
            config.discount * batch.discount,
            temperature=self.config.temperature,
            lambda_=config.lambda_,
            rho_bar=config.rho_bar,
            c_bar=config.c_bar,
            continuation_t=batch.continues.astype(q.dtype),
        )

    def _outputs(self, network: nn.Module, params: Any, observation: Any) -> jax.Array:
        """A network's, `[..., A]`, for observations of any leading axes."""
        seen = self.spec.observation.shape
        leading = observation.shape[: observation.ndim - len(seen)]
        outputs: Any = network.apply(params, observation.reshape(-1, *seen))
        shaped: jax.Array = outputs.reshape(*leading, -1)
        return shaped
