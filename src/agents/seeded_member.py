"""One member of seeded IMPALA: what it acts by, and how it learns from data that all share."""

from dataclasses import dataclass, field, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from expedition.agents.actor_critic import ActorCriticAgent, Gradient, ImpalaConfig, ImpalaState
from expedition.agents.agent import Metrics, Trajectory
from expedition.agents.unroll_memory import Rows, UnrollMemory, minibatches
from expedition.environments.interface import EnvironmentSpec
from expedition.exploration.experience import Minibatch
from expedition.exploration.seeds import gaussian
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


@dataclass(frozen=True)
class SeededMember:
    """A member as an actor-critic, `PolicyAndValue`, of which all but the prior is learnt."""

    config: SeededImpalaConfig
    spec: EnvironmentSpec
    network: nn.Module
    prior_network: nn.Module
    optimizer: optax.GradientTransformation
    prior: Any  # θ̂, frozen

    @property
    def agent(self) -> ActorCriticAgent:
        """The member as an agent, which learns from rewards as they are given."""
        as_given = replace(self.config.impala, max_abs_reward=None, reward_scale=1.0)
        temperature = self.config.temperature
        return ActorCriticAgent(
            as_given, self.spec, self, self.optimizer, None, temperature=temperature
        )

    def init(self, key: jax.Array, observation: Any, reset: Any, state: Any) -> Any:
        """Draws θ."""
        del reset, state
        return self.network.init(key, observation[0])

    def apply(self, params: Any, observation: Any, reset: Any, state: Any) -> Any:
        """Logits, values, and the state as it was."""
        del reset
        return *self.policy_and_value(params, observation), state

    def initial_state(self, batch_size: int) -> Any:
        """There is no recurrent state."""
        del batch_size
        return ()

    def policy_and_value(self, params: Any, observation: Any) -> tuple[jax.Array, jax.Array]:
        """Logits `[..., A]` and values `[...]`, for observations of any leading axes."""
        outputs = self.outputs(params, observation, self.frozen(observation))
        if self.config.temperature is None:
            return outputs[..., :-1], outputs[..., -1]
        return boltzmann(outputs, self.config.temperature)

    def outputs(self, params: Any, observation: Any, frozen: jax.Array) -> jax.Array:
        """f(θ) + β g(θ̂), `[..., config.num_outputs(A)]`, given what is frozen of it."""
        return self._evaluate(self.network, params, observation) + frozen

    def frozen(self, observation: Any) -> jax.Array:
        """β g(θ̂), which learning does not change."""
        return self.config.prior_scale * self._evaluate(self.prior_network, self.prior, observation)

    def learn(
        self, own: ImpalaState, rows: Rows, number: jax.Array, noise_key: jax.Array
    ) -> tuple[ImpalaState, Metrics]:
        """The update of member `number` from a batch."""
        batch = self._perturbed(rows, number, noise_key)

        def step(own: ImpalaState, _: None) -> tuple[ImpalaState, Metrics]:
            return self.agent.descend(own, self.agent.gradient(own.params, batch))

        own, metrics = jax.lax.scan(step, own, None, length=self.config.passes)
        return own, jax.tree.map(lambda x: x[-1], metrics)

    def fit(
        self,
        own: ImpalaState,
        acting: Any,
        memory: UnrollMemory,
        number: jax.Array,
        noise_key: jax.Array,
    ) -> tuple[ImpalaState, Metrics]:
        """The update of member `number` from all that was seen: of targets of `acting`, its θ⁻."""
        config = self.config
        drawn = minibatches(memory, config.minibatch, number, config.passes)

        def loss(params: Any, batch: Trajectory, frozen: jax.Array, target: jax.Array) -> jax.Array:
            q = self.outputs(params, batch.observation[:-1], frozen[:-1])
            q = jnp.take_along_axis(q, batch.action[..., None], axis=-1)[..., 0]
            weight = batch.is_transition.astype(q.dtype)
            return value_loss(q, target, weight_tm1=weight, reduction=config.impala.reduction)

        def step(own: ImpalaState, rows: Rows) -> tuple[ImpalaState, Metrics]:
            batch = self._perturbed(rows, number, noise_key)
            frozen = self.frozen(batch.observation)
            q = self.outputs(acting, batch.observation, frozen)
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
            return self.agent.descend(own, found)

        own, metrics = jax.lax.scan(step, own, drawn)
        return own, jax.tree.map(jnp.mean, metrics)

    def _perturbed(self, rows: Rows, number: jax.Array, noise_key: jax.Array) -> Trajectory:
        """With the member's own rewards."""
        noise = self.config.noise_variance**0.5 * gaussian(noise_key, number, rows.number)
        return rows.batch._replace(reward=rows.batch.reward + noise)

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

    def _evaluate(self, network: nn.Module, params: Any, observation: Any) -> jax.Array:
        """A network's outputs, for observations of any leading axes."""
        seen = self.spec.observation.shape
        leading = observation.shape[: observation.ndim - len(seen)]
        outputs: Any = network.apply(params, observation.reshape(-1, *seen))
        shaped: jax.Array = outputs.reshape(*leading, -1)
        return shaped
