"""dm_control suite tasks (real MuJoCo physics) as a batched environment."""

import difflib
import warnings
from types import ModuleType

import dm_env
import jax

from expedition.environments import cartpole
from expedition.environments.dm import ActionRepeat, DiscreteActions, DmEnvBatch
from expedition.environments.interface import BatchedEnvironment


def dm_control_batch(
    task: str,
    num_environments: int,
    key: jax.Array,
    *,
    action_bins: int | None = None,
    action_repeat: int = 1,
) -> BatchedEnvironment:
    """Loads `num_environments` copies of a suite task, each with its own random seed.

    The one-pole cart-pole tasks come as a `CartpoleBatch`, the rest as a `DmEnvBatch`.

    Args:
      task: domain and task, joined by a hyphen, such as `cartpole-swingup`.
      num_environments: how many copies.
      key: names the copies' seeds.
      action_bins: values per action dimension of a discretised action; None keeps it real.
      action_repeat: physics frames (the task's control steps) that one action lasts.

    Raises:
      ModuleNotFoundError: dm_control is not installed (it has no release for Python >= 3.13).
      ValueError: the suite has no such task, or a setting is out of range.
    """
    suite = control_suite()
    tasks = {f"{domain}-{name}": (domain, name) for domain, name in suite.ALL_TASKS}
    if task not in tasks:
        near = difflib.get_close_matches(task, tasks, n=3) or sorted(tasks)
        raise ValueError(f"dm_control task {task!r} was given; try {', '.join(near)}")

    domain, _, name = task.partition("-")
    if domain == "cartpole" and name in cartpole.TASKS:
        return cartpole.CartpoleBatch(
            suite,
            name,
            num_environments,
            key,
            action_bins=action_bins,
            action_repeat=action_repeat,
        )

    def load(seed: int) -> dm_env.Environment:
        environment = suite.load(*tasks[task], task_kwargs={"random": seed})
        if action_repeat != 1:
            environment = ActionRepeat(environment, action_repeat)
        return environment if action_bins is None else DiscreteActions(environment, action_bins)

    seeds = jax.random.bits(key, (num_environments,), "uint32").tolist()
    return DmEnvBatch([load(seed) for seed in seeds], frames_per_step=action_repeat)


def control_suite() -> ModuleType:
    """The `dm_control.suite` module, without the complaints of its rendering backends."""
    try:
        with warnings.catch_warnings():  # rendering backends complain where there is no screen
            warnings.simplefilter("ignore")
            from dm_control import suite
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "dm_control is not installed; it needs Python 3.11 or 3.12 (labmaze has no later wheel)"
        ) from error
    return suite
