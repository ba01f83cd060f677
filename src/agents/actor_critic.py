"""What IMPALA, A3C and a member of seeded IMPALA have in common: acting, loss and descent.

Source: Espeholt et al. (2018), IMPALA: Scalable Distributed Deep-RL with Importance Weighted
Actor-Learner Architectures, https://arxiv.org/abs/1802.01561
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple

import dm_env
import jax
import jax.numpy as jnp
import optax
from dm_env import specs

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.environments.interface import FIRST, EnvironmentSpec
from expedition.exploration.threefry import without_loop
from expedition.losses import boltzmann_loss, categorical, diagonal_gaussian, impala_loss
from expedition.networks.actor_critic import PolicyAndValue


@dataclass(frozen=True)
class ImpalaConfig:
    """The algorithm's settings, named as in the paper."""

    # The defaults are the paper's for Atari-57 (table G.1).
    discount: float = 0.99
    """Discount gamma per action, in [0, 1]."""
    lambda_: float = 1.0
    """Trace decay lambda, in [0, 1]."""
    rho_bar: float = 1.0
    """Truncation of the importance weights of the temporal differences."""
    c_bar: float = 1.0
    """Truncation of the importance weights of the trace; at most rho_bar."""
    rho_bar_pg: float = 1.0
    """Truncation of the importance weights of the policy gradient."""
    baseline_cost: float = 0.5
    """Weight of the value loss."""
    entropy_cost: float = 0.01
    """Weight of the entropy bonus."""
    reduction: Literal["sum", "mean"] = "sum"
    """How the loss adds up over time and batch; the paper's sums."""
    max_abs_reward: float | None = 1.0
    """Rewards are clipped to [-x, x] for training; None: unclipped."""
    reward_scale: float = 1.0
    """Factor of the rewards, after that, for training: large values take long to be learnt."""
    correction: Literal["vtrace", "none"] = "vtrace"
    """Whether V-trace weights what a stale policy did, or it is learnt from as if it were one's own
    (as A2C and A3C do)."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """Gradient-descent rule."""
    learning_rate: float = 6e-4
    """Learning rate at the start; it falls linearly to 0 at the last update."""
    rmsprop_decay: float = 0.99
    """Decay of RMSProp's mean square."""
    rmsprop_momentum: float = 0.0
    """Momentum of RMSProp."""
    rmsprop_epsilon: float = 0.01
    """Epsilon of RMSProp, inside the root as in TensorFlow."""
    global_norm_clip: float = 40.0
    """Gradients of a larger global norm are scaled down to it."""

    def __post_init__(self) -> None:
        for name in ("discount", "lambda_", "rmsprop_decay"):
            value = getattr(self, name)
            _require(0 <= value <= 1, name, value, "a number in [0, 1]")
        for name in (
            "rho_bar",
            "c_bar",
            "rho_bar_pg",
            "reward_scale",
            "learning_rate",
            "global_norm_clip",
        ):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        for name in ("baseline_cost", "entropy_cost", "rmsprop_momentum", "rmsprop_epsilon"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _require(self.rho_bar >= self.c_bar, "c_bar", self.c_bar, f"at most rho_bar {self.rho_bar}")
        if self.max_abs_reward is not None:
            _require(self.max_abs_reward > 0, "max_abs_reward", self.max_abs_reward, "positive")
        for name, known in (
            ("reduction", ("sum", "mean")),
            ("correction", ("vtrace", "none")),
            ("optimizer", ("rmsprop", "adam")),
        ):
            _require(getattr(self, name) in known, name, getattr(self, name), " or ".join(known))

    def training_reward(self, reward: Any) -> Any:
        """Clips and scales an array of the environment's rewards."""
        bound, scale = self.max_abs_reward, self.reward_scale
        return scale * (reward if bound is None else reward.clip(-bound, bound))


def _require(ok: bool, name: str, value: Any, expected: str) -> None:
    if not ok:
        raise ValueError(f"{name} is {value!r}; expected {expected}")


class ImpalaState(NamedTuple):
    """What the learner carries from update to update."""

    params: Any  # the actor-critic's variables
    optimizer_state: Any


class Behaviour(NamedTuple):
    """What the actor records of the policy mu that it followed."""

    log_prob: jax.Array  # [B] log mu(action | observation)
    policy: Any  # [B, ...] the policy's parameters


class Gradient(NamedTuple):
    """Gradient of a batch's loss, with the metrics to log."""

    gradient: Any  # like the parameters
    losses: Metrics
    behaviour_kl: jax.Array  # [] estimates KL(mu, pi) to second order: 0 iff on policy


@dataclass(frozen=True)
class ActorCriticAgent:
    """What IMPALA, A3C and a member of seeded IMPALA have in common: all but the gradient's use."""

    config: ImpalaConfig
    spec: EnvironmentSpec
    network: PolicyAndValue
    optimizer: optax.GradientTransformation
    axis_name: str | None
    temperature: float | None = None
    """Of a network whose policy is softmax(Q/temperature): Q is learnt (`boltzmann_loss`); None:
    IMPALA's loss, for any network."""

    def bundle(self, update: Callable[..., Any], digest: Callable[..., Any] | None = None) -> Agent:
        """The agent that learns by this update."""
        return Agent(
            self.init,
            self.network.initial_state,
            self.act,
            self.act_greedily,
            update,
            training_reward=self.config.training_reward,
            digest=digest,
        )

    def init(self, key: jax.Array) -> ImpalaState:
        """Draws the parameters."""
        spec = self.spec.observation
        observation, reset = jnp.zeros((1, 1, *spec.shape), spec.dtype), jnp.ones((1, 1), bool)
        params = self.network.init(key, observation, reset, self.network.initial_state(1))
        return ImpalaState(params, self.optimizer.init(params))

    def act(
        self, params: Any, actor_state: Any, timestep: dm_env.TimeStep, key: jax.Array
    ) -> tuple[jax.Array, Behaviour, Any]:
        """Draws from the policy."""
        parameters, actor_state = self._step(params, actor_state, timestep)
        return *choose(self._policy, parameters, key), actor_state

    def act_greedily(
        self, params: Any, actor_state: Any, timestep: dm_env.TimeStep
    ) -> tuple[jax.Array, Any]:
        """Takes the policy's mode."""
        parameters, actor_state = self._step(params, actor_state, timestep)
        return self._policy.mode(parameters), actor_state

    def gradient(self, params: Any, batch: Trajectory) -> Gradient:
        """The gradient of the loss."""
        gradient, (losses, behaviour_kl) = jax.grad(self._loss, has_aux=True)(params, batch)
        return Gradient(gradient, losses, behaviour_kl)

    def descend(self, state: ImpalaState, found: Gradient) -> tuple[ImpalaState, Metrics]:
        """A step against the gradient, of all devices' parts of the batch together."""
        if self.axis_name is not None:
            # A sum over the batch is the sum of its parts' sums; a mean the mean of their means.
            combine = jax.lax.psum if self.config.reduction == "sum" else jax.lax.pmean
            gradient, losses = combine((found.gradient, found.losses), self.axis_name)
            found = Gradient(gradient, losses, jax.lax.pmean(found.behaviour_kl, self.axis_name))
        updates, optimizer_state = self.optimizer.update(
            found.gradient, state.optimizer_state, state.params
        )
        metrics = found.losses | {
            "gradient_norm": optax.tree.norm(found.gradient),
            "behaviour_kl": found.behaviour_kl,
        }
        return ImpalaState(optax.apply_updates(state.params, updates), optimizer_state), metrics

    def _step(self, params: Any, actor_state: Any, timestep: dm_env.TimeStep) -> tuple[Any, Any]:
        """Evaluates one time step as an unroll of length 1: the learner's own code."""
        observation, starts = timestep.observation[None], (timestep.step_type == FIRST)[None]
        parameters, _, actor_state = self.network.apply(params, observation, starts, actor_state)
        return jax.tree.map(lambda x: x[0], parameters), actor_state

    @property
    def _policy(self) -> ModuleType:
        is_discrete = isinstance(self.spec.action, specs.DiscreteArray)
        return categorical if is_discrete else diagonal_gaussian

    def _loss(self, params: Any, batch: Trajectory) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        config, policy = self.config, self._policy
        parameters, value, _ = self.network.apply(
            params, batch.observation, batch.starts, batch.actor_state
        )
        parameters = jax.tree.map(lambda x: x[:-1], parameters)
        log_prob, behaviour = policy.log_prob(parameters, batch.action), batch.extras.log_prob
        reward = config.training_reward(batch.reward)
        rows: tuple[Any, ...] = (
            log_prob,
            behaviour if config.correction == "vtrace" else jax.lax.stop_gradient(log_prob),
            policy.entropy(parameters),
            value[:-1],
            value[1:],
            reward,
            config.discount * batch.discount,
        )
        settings: dict[str, Any] = {
            "lambda_": config.lambda_,
            "rho_bar": config.rho_bar,
            "c_bar": config.c_bar,
            "continuation_t": batch.continues.astype(reward.dtype),
            "weight_tm1": batch.is_transition.astype(reward.dtype),
            "reduction": config.reduction,
        }
        total, losses = self._terms(rows, settings)
        return total, (losses, 0.5 * jnp.mean(jnp.square(log_prob - behaviour)))

    def _terms(self, rows: tuple[Any, ...], settings: dict[str, Any]) -> tuple[jax.Array, Metrics]:
        """The loss, and the metrics to log."""
        config = self.config
        if self.temperature is not None:
            regression = boltzmann_loss(*rows, **settings, temperature=self.temperature)
            return regression.total, {"loss": regression.total, "entropy": regression.entropy}
        terms = impala_loss(
            *rows,
            **settings,
            rho_bar_pg=config.rho_bar_pg,
            baseline_cost=config.baseline_cost,
            entropy_cost=config.entropy_cost,
        )
        return terms.total, {
            "loss": terms.total,
            "policy_loss": terms.policy,
            "value_loss": terms.value,
            "entropy": terms.entropy,
        }


def choose(policy: ModuleType, parameters: Any, key: jax.Array) -> tuple[jax.Array, Behaviour]:
    """Draws actions from a policy of `expedition.losses` with these parameters."""
    action = policy.sample(parameters, without_loop(key))
    return action, Behaviour(policy.log_prob(parameters, action), parameters)


def make_optimizer(config: ImpalaConfig, num_updates: int | None) -> optax.GradientTransformation:
    """Global-norm clipping, then RMSProp or Adam with a linearly falling learning rate, or not."""
    learning_rate: optax.ScalarOrSchedule = config.learning_rate
    if num_updates is not None:
        _require(num_updates > 0, "num_updates", num_updates, "at least 1")
        learning_rate = optax.linear_schedule(config.learning_rate, 0.0, num_updates)
    if config.optimizer == "adam":
        rule = optax.adam(learning_rate)
    else:
        rule = optax.rmsprop(
            learning_rate,
            decay=config.rmsprop_decay,
            eps=config.rmsprop_epsilon,
            initial_scale=1.0,  # TensorFlow, and so the paper, starts the mean square at 1
            momentum=config.rmsprop_momentum or None,
        )
    return optax.chain(optax.clip_by_global_norm(config.global_norm_clip), rule)
