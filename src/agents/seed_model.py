"""One model of seed TD's ensemble: its values, and how it learns from data that all share."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from expedition.exploration.experience import Experience, Minibatch, draw_minibatches
from expedition.exploration.seeds import Seeds, bernoulli, gaussian
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
    """Learning rate of Adam."""
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


class _Batch(NamedTuple):
    """A minibatch, and what does not change as a network learns from it."""

    data: Transitions
    prior_q: jax.Array  # [N, A] of the prior before the action
    q_t: jax.Array  # [N, A] after the action
    noise: jax.Array  # [N] z
    is_used: jax.Array  # [N] bool


@dataclass(frozen=True)
class SeedModel:
    """What every model does; which one it is, its number, prior and networks say, as arguments."""

    config: SeedEnsembleConfig
    network: nn.Module
    prior_network: nn.Module

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The rule by which each network learns."""
        return optax.adam(self.config.learning_rate)

    def values(self, networks: Any, prior: Any, observation: chex.Array) -> jax.Array:
        """Q, `[N, A]`: the mean of H networks `[H, ...]`, plus their prior."""
        q = jax.vmap(self._evaluate, in_axes=(0, None))(networks, observation)
        return jnp.mean(q, axis=0) + self._prior(prior, observation)

    def learn(
        self,
        experience: Experience,
        seeds: Seeds,
        key: jax.Array,
        number: jax.Array,
        prior: Any,
        online: Any,
        target: Any,
        optimizer_state: Any,
    ) -> tuple[Any, Any, jax.Array]:
        """An update of the model's H networks.

        Args:
            experience: the data of all agents.
            seeds: those of all models.
            key: names this update's draws, of all models.
            number: the model's.
            prior: θ̂.
            online: [H, ...] θ.
            target: [H, ...] θ⁻.
            optimizer_state: [H, ...].

        Returns:
            θ, the optimiser's states, and the mean loss `[H]` of the steps.
        """
        keys = jax.random.split(jax.random.fold_in(key, number), self.config.networks)
        next_target = jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), target)
        make_batches = partial(self._batches, experience, seeds, number, prior)
        batches = jax.vmap(make_batches)(keys, online, next_target)
        return jax.vmap(self._descend)(online, optimizer_state, batches)

    def _batches(
        self,
        experience: Experience,
        seeds: Seeds,
        number: jax.Array,
        prior: Any,
        key: jax.Array,
        online: Any,
        target: Any,
    ) -> _Batch:
        """All minibatches of a network's update: nothing in them depends on its steps."""
        config = self.config
        drawn = draw_minibatches(
            experience, config.minibatch, seeds.replacement, number, key, config.steps
        )
        data, datum = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), drawn)
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
            noise=config.noise_variance**0.5 * gaussian(seeds.noise, number, datum),
            is_used=bernoulli(seeds.mask, number, datum, config.mask_probability),
        )
        batches: _Batch = jax.tree.map(
            lambda x: x.reshape(config.steps, config.minibatch.size, *x.shape[1:]), batch
        )
        return batches

    def _descend(
        self, online: Any, optimizer_state: Any, batches: _Batch
    ) -> tuple[Any, Any, jax.Array]:
        """One network's gradient steps, a minibatch each."""
        config = self.config

        def loss(online: Any, batch: _Batch) -> jax.Array:
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

        def step(carry: tuple[Any, Any], batch: _Batch) -> tuple[tuple[Any, Any], jax.Array]:
            online, optimizer_state = carry
            value, gradient = jax.value_and_grad(loss)(online, batch)
            change, optimizer_state = self.optimizer.update(gradient, optimizer_state)
            return (optax.apply_updates(online, change), optimizer_state), value

        (online, optimizer_state), losses = jax.lax.scan(step, (online, optimizer_state), batches)
        return online, optimizer_state, jnp.mean(losses)

    def _evaluate(self, theta: Any, observation: chex.Array) -> jax.Array:
        """A network's f, without the prior."""
        q: jax.Array = self.network.apply(theta, observation)  # type: ignore[assignment]
        return q

    def _prior(self, theta: Any, observation: chex.Array) -> jax.Array:
        """β g(θ̂)."""
        q: jax.Array = self.prior_network.apply(theta, observation)  # type: ignore[assignment]
        return self.config.prior_scale * q
