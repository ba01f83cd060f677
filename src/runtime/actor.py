"""An actor: one thread that drives a batch of environments with the newest parameters."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import dm_env
import jax
import numpy as np

from expedition.agents.agent import Agent, Trajectory
from expedition.environments.interface import BatchedEnvironment, EnvironmentSpec
from expedition.runtime.channel import BoundedQueue, QueueClosed
from expedition.runtime.parameters import ParameterServer
from expedition.runtime.timing import TimeSplit


class Episode(NamedTuple):
    """A finished episode, as the environment counts it (rewards not clipped)."""

    total_reward: float
    length: int  # actions


class Unroll(NamedTuple):
    """What an actor sends to the learner."""

    trajectory: Trajectory
    version: int  # of the parameters that chose all of its actions
    episodes: list[Episode]  # that ended in it


def jit_act(agent: Agent) -> Callable[..., Any]:
    """The agent's `act`, drawing with `fold_in(key, step)`; compiled once for all actors."""
    return jax.jit(
        lambda params, state, timestep, key, step: agent.act(
            params, state, timestep, jax.random.fold_in(key, step)
        )
    )


def abstract_trajectory(
    agent: Agent, params: Any, spec: EnvironmentSpec, num_environments: int, unroll_length: int
) -> Trajectory:
    """Shapes and types of an unroll (`jax.ShapeDtypeStruct`s), known before any is made."""
    num, shape = num_environments, jax.ShapeDtypeStruct
    observation = shape((num, *spec.observation.shape), spec.observation.dtype)
    row = dm_env.TimeStep(
        shape((num,), np.int8), shape((num,), np.float32), shape((num,), np.float32), observation
    )
    state = jax.eval_shape(lambda: agent.initial_actor_state(num))
    action, extras, _ = jax.eval_shape(agent.act, params, state, row, jax.random.key(0))

    def rows(count: int, tree: Any) -> Any:
        return jax.tree.map(lambda x: shape((count, *x.shape), x.dtype), tree)

    return Trajectory(
        observation=rows(unroll_length + 1, row.observation),
        step_type=rows(unroll_length + 1, row.step_type),
        action=rows(unroll_length, action),
        extras=rows(unroll_length, extras),
        reward=rows(unroll_length, row.reward),
        discount=rows(unroll_length, row.discount),
        actor_state=state,
    )


class Actor:
    """Unrolls a policy in a batch of environments; usable with or without a thread.

    Args:
      act: the shared `jit_act(agent)`.
      like: shapes and types of an unroll, from `abstract_trajectory`.
      actor_state: the agent's initial actor state for the whole batch.
      environment: the batch to drive; the actor closes it.
      server: where the newest parameters are.
      key: names every action that this actor draws.
    """

    def __init__(
        self,
        act: Callable[..., Any],
        like: Trajectory,
        actor_state: Any,
        environment: BatchedEnvironment,
        server: ParameterServer,
        key: jax.Array,
    ) -> None:
        self._act = act
        self._like = like
        self._actor_state = actor_state
        self._environment = environment
        self._server = server
        self._key = key
        self._timestep: Any = None  # the last one; None before the first
        self._stopped: Callable[[], bool] = lambda: False
        self.started = threading.Event()  # environments are reset, everything is compiled
        self._step = 0
        self._episodes = _EpisodeCounter(environment.num_environments)
        self.env_steps = 0
        self.time = TimeSplit("parameters", "act", "environment", "record", "queue")

    def run(
        self, queue: BoundedQueue[Unroll], device: jax.Device, after: threading.Event | None = None
    ) -> None:
        """Sends unrolls, computed on the device, until the queue is closed.

        Waits for `after`, another actor's `started`, if it is given: that one compiles for both.
        """
        self._stopped = lambda: queue.closed
        try:
            with jax.default_device(device):
                while after is not None and not after.wait(timeout=0.5):
                    self._check_stopped()
                self._start()
                while True:
                    unroll = self.unroll()
                    queue.put(unroll)
                    self.time.lap("queue")
        except QueueClosed:
            self._environment.close()
        except BaseException as error:
            try:
                self._environment.close()
            except Exception as second:  # the first one is what went wrong
                error.add_note(f"closing the environment then raised {second!r}")
            raise

    def unroll(self) -> Unroll:
        """Takes the newest parameters and steps every environment T times with them."""
        if self._timestep is None:
            self._start()
        version, params = self._server.latest()
        actor_state = self._actor_state
        self.time.lap("parameters")
        trajectory = self._empty_trajectory(actor_state)
        for t in range(len(trajectory.reward)):
            self._check_stopped()
            action, extras, self._actor_state = self._act(
                params, self._actor_state, self._timestep, self._key, np.uint32(self._step)
            )
            self._step += 1
            action = jax.block_until_ready(action)
            self.time.lap("act")
            timestep = self._environment.step(action)
            self.time.lap("environment")
            self._record(trajectory, t, action, extras, timestep)
            self._timestep = timestep
            self.time.lap("record")
        self.env_steps += int(np.sum(trajectory.is_transition))
        episodes = self._episodes.count(trajectory)
        self.time.lap("record")
        return Unroll(trajectory, version, episodes)

    def _check_stopped(self) -> None:
        if self._stopped():
            raise QueueClosed

    def _start(self) -> None:
        """Resets the environments, and chooses actions once in vain: both are then compiled."""
        self._timestep = self._environment.reset()
        self.time.lap("environment")
        params = self._server.latest().params
        jax.block_until_ready(
            self._act(params, self._actor_state, self._timestep, self._key, np.uint32(0))
        )
        self.time.lap("act")
        self.started.set()

    def _empty_trajectory(self, actor_state: Any) -> Trajectory:
        """Buffers with row 0 filled in; fresh for each unroll, since JAX may alias its inputs."""
        trajectory = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), self._like)
        trajectory.observation[0] = self._timestep.observation
        trajectory.step_type[0] = self._timestep.step_type
        return trajectory._replace(actor_state=jax.tree.map(np.asarray, actor_state))

    @property
    def env_frames(self) -> int:
        """Simulator frames that the environment steps lasted."""
        return self.env_steps * self._environment.frames_per_step

    @staticmethod
    def _record(trajectory: Trajectory, t: int, action: Any, extras: Any, timestep: Any) -> None:
        trajectory.action[t] = action
        for buffer, value in zip(
            jax.tree.leaves(trajectory.extras), jax.tree.leaves(extras), strict=True
        ):
            buffer[t] = value
        trajectory.reward[t] = timestep.reward
        trajectory.discount[t] = timestep.discount
        trajectory.observation[t + 1] = timestep.observation
        trajectory.step_type[t + 1] = timestep.step_type


class _EpisodeCounter:
    """Adds up rewards and lengths across unrolls."""

    def __init__(self, num_environments: int) -> None:
        self._total_reward = np.zeros(num_environments)
        self._length = np.zeros(num_environments, int)

    def count(self, trajectory: Trajectory) -> list[Episode]:
        """The episodes that ended in the unroll."""
        episodes = []
        rows = zip(trajectory.reward, trajectory.is_transition, ~trajectory.continues, strict=True)
        for reward, is_transition, ended in rows:
            self._total_reward += np.where(is_transition, reward, 0.0)
            self._length += is_transition
            for i in np.flatnonzero(ended):
                episodes.append(Episode(float(self._total_reward[i]), int(self._length[i])))
                self._total_reward[i], self._length[i] = 0.0, 0
        return episodes
