"""dm_env environments as one batched environment, and the dm_env wrappers that it needs."""

from collections.abc import Mapping, Sequence

import dm_env
import numpy as np
from dm_env import specs

from expedition.environments.interface import FIRST, Array, EnvironmentSpec, check_shape

UNLIMITED = 1e10  # the bound by which dm_control says that there is none (MuJoCo's mjMAXVAL)
MAX_ACTIONS = 100_000  # of a grid; more would fill the memory before a policy chose from them


class DmEnvBatch:
    """Steps a list of dm_env environments in turn, on the calling thread.

    Observations that are dictionaries are flattened, in the order of the observation spec, into
    one float32 vector. Real actions are in units of the action's range: [-1, 1] is mapped onto
    [minimum, maximum] and what lies outside is clipped here, so that an agent stores, and takes
    log-probabilities of, the action that it drew.
    """

    def __init__(self, environments: Sequence[dm_env.Environment], frames_per_step: int = 1):
        if not environments:
            raise ValueError("no environments were given; expected at least one")
        self._environments = list(environments)
        observation_spec = environments[0].observation_spec()
        self.spec = EnvironmentSpec(
            flat_observation_spec(observation_spec), environments[0].action_spec()
        )
        self._names = list(observation_spec) if isinstance(observation_spec, Mapping) else None
        self._discrete = isinstance(self.spec.action, specs.DiscreteArray)
        if not self._discrete:
            self._low, self._high = finite_bounds(self.spec.action)
        self.num_environments = len(self._environments)
        self.frames_per_step = frames_per_step
        self._ended = np.ones(self.num_environments, bool)

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode in every environment."""
        self._ended[:] = True
        return self._collect(np.empty(self.num_environments, object))

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment; an ended one starts its next episode."""
        actions = np.asarray(actions)
        check_shape(actions, self.spec.action, self.num_environments)
        if not self._discrete:
            actions = to_range(actions, self._low, self._high).astype(self.spec.action.dtype)
        return self._collect(actions)

    def close(self) -> None:
        """Closes every environment."""
        for environment in self._environments:
            environment.close()

    def _collect(self, actions: np.ndarray) -> dm_env.TimeStep:
        # Fresh arrays a step: the actor and JAX may still hold the last ones.
        num = self.num_environments
        observations = np.empty((num, *self.spec.observation.shape), self.spec.observation.dtype)
        rewards = np.zeros(num, np.float32)
        discounts = np.ones(num, np.float32)
        step_types = np.empty(num, np.int8)
        for i, environment in enumerate(self._environments):
            timestep = environment.reset() if self._ended[i] else environment.step(actions[i])
            if timestep.step_type != FIRST:
                rewards[i], discounts[i] = timestep.reward, timestep.discount
            step_types[i] = timestep.step_type
            self._ended[i] = timestep.last()
            observation = timestep.observation
            observations[i] = observation if self._names is None else self._flatten(observation)
        return dm_env.TimeStep(step_types, rewards, discounts, observations)

    def _flatten(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([np.ravel(observation[name]) for name in self._names or ()])


def flat_observation_spec(spec: specs.Array | Mapping[str, specs.Array]) -> specs.Array:
    """The spec of one array: the given one (floats as float32), or a dictionary's vector."""
    if isinstance(spec, specs.Array):
        is_float = np.issubdtype(spec.dtype, np.floating)
        return specs.Array(spec.shape, np.float32, spec.name) if is_float else spec
    if not isinstance(spec, Mapping) or not all(isinstance(s, specs.Array) for s in spec.values()):
        raise TypeError(f"observation spec {spec!r} was given; expected an array or a dict of them")
    size = sum(int(np.prod(entry.shape)) for entry in spec.values())
    return specs.Array((size,), np.float32, "observation")


def finite_bounds(spec: specs.Array) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of a real action, each in the action's shape."""
    if not isinstance(spec, specs.BoundedArray) or not np.issubdtype(spec.dtype, np.floating):
        raise ValueError(f"action spec {spec!r} was given; expected a bounded real action")
    low, high = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
    if not np.all((np.abs(low) < UNLIMITED) & (np.abs(high) < UNLIMITED)):
        raise ValueError(f"actions in [{low}, {high}] were given; expected finite bounds")
    return low, high


def to_range(actions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Clips to [-1, 1], and maps that onto [low, high]."""
    return low + (np.clip(actions, -1.0, 1.0) + 1.0) * (high - low) / 2.0


class _Wrapper(dm_env.Environment):
    """Passes everything on to the wrapped environment."""

    def __init__(self, environment: dm_env.Environment):
        self._environment = environment

    def reset(self) -> dm_env.TimeStep:
        return self._environment.reset()

    def step(self, action: Array) -> dm_env.TimeStep:
        return self._environment.step(action)

    def observation_spec(self) -> specs.Array:
        return self._environment.observation_spec()

    def action_spec(self) -> specs.Array:
        return self._environment.action_spec()

    def reward_spec(self) -> specs.Array:
        return self._environment.reward_spec()

    def discount_spec(self) -> specs.Array:
        return self._environment.discount_spec()

    def close(self) -> None:
        self._environment.close()


class DiscreteActions(_Wrapper):
    """Offers a grid of `bins` evenly spaced values per action dimension as one discrete action."""

    def __init__(self, environment: dm_env.Environment, bins: int):
        super().__init__(environment)
        spec = environment.action_spec()
        low, high = finite_bounds(spec)
        if bins < 2:
            raise ValueError(f"{bins} action bins were given; expected at least 2")
        if bins**low.size > MAX_ACTIONS:
            raise ValueError(
                f"{bins} bins in each of {low.size} dimensions were given; "
                f"expected at most {MAX_ACTIONS} actions in all"
            )
        axes = [np.linspace(*bounds, bins) for bounds in zip(low.flat, high.flat, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        self._actions = grid.reshape(-1, *spec.shape).astype(spec.dtype)

    def action_spec(self) -> specs.DiscreteArray:
        """One of `bins ** dimensions` actions."""
        return specs.DiscreteArray(len(self._actions), name="action")

    def step(self, action: Array) -> dm_env.TimeStep:
        """Steps with the grid's action of that number."""
        return self._environment.step(self._actions[action])


class ActionRepeat(_Wrapper):
    """Repeats each action `repeat` times, or to the episode's end, and adds the rewards."""

    def __init__(self, environment: dm_env.Environment, repeat: int):
        super().__init__(environment)
        if repeat < 1:
            raise ValueError(f"an action repeat of {repeat} was given; expected at least 1")
        self._repeat = repeat

    def reward_spec(self) -> specs.Array:
        """A sum is not bound to the range of one reward."""
        spec = self._environment.reward_spec()
        return specs.Array(spec.shape, spec.dtype, spec.name)

    def step(self, action: Array) -> dm_env.TimeStep:
        """The last of the repeated steps, with the sum of their rewards."""
        reward = 0.0
        for _ in range(self._repeat):
            timestep = self._environment.step(action)
            if timestep.first():
                return timestep
            reward += timestep.reward
            if timestep.last():
                break
        return timestep._replace(reward=reward)
