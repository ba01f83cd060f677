"""Environments by name."""

import difflib
from collections.abc import Callable
from functools import partial

import jax

from expedition.environments.atari import atari_batch
from expedition.environments.catch import Catch
from expedition.environments.deep_sea import DeepSea
from expedition.environments.dm_control import dm_control_batch
from expedition.environments.envpool import envpool_batch
from expedition.environments.functional import FreshWorlds, FunctionalBatch
from expedition.environments.gym import gym_batch
from expedition.environments.interface import BatchedEnvironment, FunctionalEnvironment
from expedition.environments.memory_chain import MemoryChain
from expedition.environments.probes import PROBES, Probe
from expedition.environments.swingup import Swingup

FUNCTIONAL: dict[str, FunctionalEnvironment] = {
    "catch": Catch(),
    **{f"probe:{name}": Probe(name) for name in PROBES},
    **{f"probe:{name}_continuous": Probe(name, continuous=True) for name in PROBES},
    "swingup": FreshWorlds(Swingup()),
}
SIZED: dict[str, Callable[[int], FunctionalEnvironment]] = {
    "deep_sea": DeepSea,
    "deep_sea_stochastic": partial(DeepSea, stochastic=True),
    "memory_chain": MemoryChain,
}
LIBRARIES: dict[str, Callable[[str, int, jax.Array], BatchedEnvironment]] = {
    "atari:": atari_batch,
    "gym:": gym_batch,
}
OTHERS = (
    "deep_sea:<size>",
    "deep_sea_stochastic:<size>",
    "memory_chain:<length>",
    "atari:<game>",
    "gym:<id>",
    "envpool:<id>",
    "dm_control:<domain>-<task>",
)


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
      name: a key of `FUNCTIONAL` (`catch`, `probe:...`), or one of `OTHERS`, filled in.
      num_environments: how many are stepped together.
      key: names every random choice of the environments.
      action_bins: dm_control only: values per action dimension; None keeps real actions.
      action_repeat: dm_control and EnvPool only: frames that one action lasts.

    Raises:
      ModuleNotFoundError: the library that has the environment is not installed.
      ValueError: no such environment, or a setting that it does not have.
    """
    library = name[: name.find(":") + 1]
    which = name.removeprefix(library)
    if library == "dm_control:":
        return dm_control_batch(
            which, num_environments, key, action_bins=action_bins, action_repeat=action_repeat
        )
    functional = None if library in ("envpool:", *LIBRARIES) else _functional(name)
    if action_bins is not None or (action_repeat != 1 and library != "envpool:"):
        raise ValueError(
            f"action_bins is {action_bins} and action_repeat {action_repeat} for {name!r}; "
            "expected None and 1: only dm_control environments have them, EnvPool's the latter"
        )
    if functional is not None:
        return FunctionalBatch(functional, num_environments, key)
    if library == "envpool:":
        return envpool_batch(which, num_environments, key, action_repeat=action_repeat)
    return LIBRARIES[library](which, num_environments, key)


def _functional(name: str) -> FunctionalEnvironment:
    if name in FUNCTIONAL:
        return FUNCTIONAL[name]
    kind, _, which = name.partition(":")
    if kind in SIZED and which.isdecimal():
        return SIZED[kind](int(which))
    near = difflib.get_close_matches(name, [*FUNCTIONAL, *OTHERS], n=3)
    known = ", ".join(near or [*FUNCTIONAL, *OTHERS])
    raise ValueError(f"environment {name!r} was given; try {known}")
