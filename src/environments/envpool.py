"""EnvPool's environments (Atari, dm_control, classic control and more), stepped in C++ threads."""

import difflib
import math
import warnings
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np

from expedition.environments.gym import GymBatch, make_seeds

if TYPE_CHECKING:
    from gymnasium.spaces import Space
    from gymnasium.vector import VectorEnv

# As in `atari_batch`.
ATARI = {
    "max_episode_steps": 27_000,
    "stack_num": 4,
    "frame_skip": 4,
    "noop_max": 30,
    "repeat_action_probability": 0.0,
    "episodic_life": False,
    "reward_clip": False,
    "use_fire_reset": False,
}


def envpool_batch(
    name: str, num_environments: int, key: jax.Array, *, action_repeat: int = 1
) -> GymBatch:
    """Makes `num_environments` copies of an EnvPool environment, each with its own random seed.

    Observations that are a dictionary of numbers are joined, in its order; images have their
    channels last. Atari games get the preprocessing that `atari_batch` describes.

    Its Gymnasium interface is used: the one to dm_env says discount 0 where a time limit ends an
    episode of a Gymnasium task (version 1.2.5).

    Args:
      name: the environment's id, such as `Pong-v5` or `ReacherEasy-v1`.
      num_environments: how many copies.
      key: names the copies' seeds.
      action_repeat: frames that one action lasts, for an environment with such a setting; 1: as
        many as it has by itself.

    Raises:
      ModuleNotFoundError: envpool is not installed.
      ValueError: there is no such environment, it does not have the setting, or it has spaces that
        do not fit.
    """
    try:
        import envpool
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; pip install '.[envpool]'"
        ) from error
    known = envpool.list_all_envs()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["Pong-v5", "CartPole-v1"]
        raise ValueError(f"EnvPool environment {name!r} was given; try {', '.join(near)}")
    settings: dict[str, Any] = {}
    has = envpool.make_spec(name).config._fields
    if {"stack_num", "noop_max"} <= set(has):
        settings = dict(ATARI)
    if action_repeat != 1:
        if "frame_skip" not in has:
            raise ValueError(f"action_repeat {action_repeat} was given; {name} has no such setting")
        settings["frame_skip"] = action_repeat
    seeds = make_seeds(key, num_environments)
    pool = _Pool(name, seeds.tolist(), settings)
    return GymBatch(cast("VectorEnv", pool), seeds, pool.frames_per_step)


class _Pool:
    """An EnvPool as much of a gymnasium `VectorEnv` as `GymBatch` needs."""

    def __init__(self, name: str, seeds: list[int], settings: dict[str, Any]) -> None:
        import envpool
        from gymnasium import spaces
        from gymnasium.vector import AutoresetMode

        self._pool = envpool.make_gymnasium(name, num_envs=len(seeds), seed=seeds, **settings)
        with warnings.catch_warnings():  # of bounds in float64, which nobody reads
            warnings.filterwarnings("ignore", ".*Box (low|high)'s precision", UserWarning)
            space = self._pool.observation_space
            self.single_action_space: Space[Any] = self._pool.action_space
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = len(seeds)
        self.frames_per_step = int(self._pool.config.get("frame_skip", 1))
        self._is_image = isinstance(space, spaces.Box) and len(space.shape) == 3
        if isinstance(space, spaces.Dict):
            size = sum(math.prod(part.shape or ()) for part in space.values())
            space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        elif self._is_image:
            channels, *sides = space.shape
            space = spaces.Box(0, 255, (*sides, channels), space.dtype)
        self.single_observation_space: Space[Any] = space

    def reset(self, *, seed: Any = None) -> tuple[np.ndarray, Any]:
        """Starts all episodes; the seeds are those that it was made with."""
        del seed
        observations, info = self._pool.reset()
        return self._joined(observations), info

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        """Steps each environment; an ended one starts its next episode."""
        observations, *rest = self._pool.step(actions)
        return self._joined(observations), *rest

    def close(self) -> None:
        """Ends its threads."""
        self._pool.close()

    def _joined(self, observations: Any) -> np.ndarray:
        if isinstance(observations, dict):
            parts = [x.reshape(self.num_envs, -1) for x in observations.values()]
            return np.concatenate(parts, axis=1)
        return np.moveaxis(observations, 1, -1) if self._is_image else observations
