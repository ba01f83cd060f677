"""Environments by name."""

import difflib
from collections.abc import Callable

import jax

from expedition.environments.atari import atari_batch
from expedition.environments.catch import Catch
from expedition.environments.dm_control import dm_control_batch
from expedition.environments.functional import FunctionalBatch
from expedition.environments.gym import gym_batch
from expedition.environments.interface import BatchedEnvironment, FunctionalEnvironment
from expedition.environments.probes import PROBES, Probe

FUNCTIONAL: dict[str, FunctionalEnvironment] = {
    "catch": Catch(),
    **{f"probe:{name}": Probe(name) for name in PROBES},
    **{f"probe:{name}_continuous": Probe(name, continuous=True) for name in PROBES},
}
LIBRARIES: dict[str, Callable[[str, int, jax.Array], BatchedEnvironment]] = {
    "atari:": atari_batch,
    "gym:": gym_batch,
}


def make(
    name: str,
    num_environments: int,
    key: jax.Array,
    *,
    action_bins: int | None = None,
    action_repeat: int = 1,
) -> BatchedEnvironment:
    """Makes a batch of the named environment.

    Args:
      name: a key of `FUNCTIONAL` (`catch`, `probe:...`), `atari:<game>`, `gym:<id>`, or
        `dm_control:<domain>-<task>`.
      num_environments: how many are stepped together.
      key: names every random choice of the environments.
      action_bins: dm_control only: values per action dimension; None keeps real actions.
      action_repeat: dm_control only: frames that one action lasts.

    Raises:
      ModuleNotFoundError: the library that has the environment is not installed.
      ValueError: no such environment, or a setting that it does not have.
    """
    if name.startswith("dm_control:"):
        return dm_control_batch(
            name.removeprefix("dm_control:"),
            num_environments,
            key,
            action_bins=action_bins,
            action_repeat=action_repeat,
        )
    library = name[: name.find(":") + 1]
    if library not in LIBRARIES and name not in FUNCTIONAL:
        near = difflib.get_close_matches(name, FUNCTIONAL, n=3)
        others = ["atari:<game>", "gym:<id>", "dm_control:<domain>-<task>"]
        known = ", ".join(near or [*FUNCTIONAL, *others])
        raise ValueError(f"environment {name!r} was given; try {known}")
    if action_bins is not None or action_repeat != 1:
        raise ValueError(
            f"action_bins={action_bins} and action_repeat={action_repeat} were given for {name!r}; "
            "expected None and 1: only dm_control environments have them"
        )
    if library in LIBRARIES:
        return LIBRARIES[library](name.removeprefix(library), num_environments, key)
    return FunctionalBatch(FUNCTIONAL[name], num_environments, key)
