"""The return of the greedy policy on fresh episodes."""

from typing import Any, NamedTuple

import jax
import numpy as np

from expedition.agents.agent import Agent
from expedition.environments.interface import LAST, BatchedEnvironment
from expedition.runtime.supervision import StopRequest, Watchdog


class Evaluation(NamedTuple):
    """Returns of whole episodes, in the environment's own rewards."""

    returns: np.ndarray  # [episodes]

    def summary(self) -> dict[str, float]:
        """Mean, standard deviation and extremes over the episodes."""
        return {
            "mean": float(np.mean(self.returns)),
            "standard_deviation": float(np.std(self.returns)),
            "minimum": float(np.min(self.returns)),
            "maximum": float(np.max(self.returns)),
            "episodes": len(self.returns),
        }


def evaluate(
    agent: Agent,
    params: Any,
    environment: BatchedEnvironment,
    *,
    max_steps: int = 1_000_000,
    request: StopRequest | None = None,
    stall_timeout: float = 1800.0,
) -> Evaluation | None:
    """Plays one episode in each environment of the batch, and closes the batch.

    One episode per environment, all counted: taking those that end first would favour short ones.
    A step that takes longer than `stall_timeout` seconds ends the process, with all its stacks.

    Returns:
      The evaluation; None if the `request` to stop came first.

    Raises:
      RuntimeError: an episode did not end within `max_steps` actions.
    """
    with Watchdog(stall_timeout) as watchdog:
        try:
            return _play(agent, jax.device_put(params), environment, max_steps, request, watchdog)
        finally:
            environment.close()


def _play(
    agent: Agent,
    params: Any,
    environment: BatchedEnvironment,
    max_steps: int,
    request: StopRequest | None,
    watchdog: Watchdog,
) -> Evaluation | None:
    act = jax.jit(agent.act_greedily)
    actor_state = agent.initial_actor_state(environment.num_environments)
    timestep = environment.reset()
    returns = np.zeros(environment.num_environments)
    running = np.ones(environment.num_environments, bool)
    for _ in range(max_steps):
        action, actor_state = act(params, actor_state, timestep)
        timestep = environment.step(action)
        watchdog.feed()
        returns += np.where(running, timestep.reward, 0.0)
        running &= np.asarray(timestep.step_type) != LAST
        if not running.any():
            return Evaluation(returns)
        if request is not None and request.reason is not None:
            return None
    raise RuntimeError(f"{running.sum()} episodes did not end within {max_steps} actions")
