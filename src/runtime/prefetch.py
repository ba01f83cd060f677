"""Joins unrolls to batches and copies them to the learner's devices, ahead of the update."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from expedition.agents.agent import Trajectory
from expedition.runtime.channel import BoundedQueue
from expedition.runtime.unroll import Episode, Position, Unroll

AXIS = "learners"  # the pmap axis


class Batch(NamedTuple):
    """A batch on the learner's devices, and what came with it."""

    trajectory: Trajectory  # leaves [D, T(+1), B / D, ...]; actor state [D, B / D, ...]
    versions: list[int]  # of the parameters behind each unroll
    episodes: list[Episode]  # that ended in the batch
    transitions: int  # real environment steps in it
    positions: dict[int, Position]  # of its actors, after it


def prefetch(
    unrolls: Iterable[Unroll],
    batches: BoundedQueue[Batch],
    unrolls_per_batch: int,
    devices: Sequence[jax.Device],
) -> None:
    """Turns unrolls into a queue of batches, until the former end or the latter is closed."""
    pending: list[Unroll] = []
    for unroll in unrolls:
        pending.append(unroll)
        if len(pending) == unrolls_per_batch:
            batches.put(make_batch(pending, devices))
            pending = []


def make_batch(unrolls: Sequence[Unroll], devices: Sequence[jax.Device]) -> Batch:
    """Joins unrolls along the batch axis and gives each device an equal part of it."""
    trajectory = join([unroll.trajectory for unroll in unrolls])
    return Batch(
        shard(trajectory, devices),
        [unroll.version for unroll in unrolls],
        [episode for unroll in unrolls for episode in unroll.episodes],
        int(np.sum(trajectory.is_transition)),
        {unroll.actor: unroll.then for unroll in unrolls},
    )


def join(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Concatenates along the batch axis: 1 in time-major fields, 0 in the actor state."""

    def concatenate(axis: int, parts: Sequence[Any]) -> Any:
        return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *parts)

    states = concatenate(0, [trajectory.actor_state for trajectory in trajectories])
    fields = [trajectory._replace(actor_state=()) for trajectory in trajectories]
    return concatenate(1, fields)._replace(actor_state=states)


def resize(like: Trajectory, width: int) -> Trajectory:
    """The shapes and types of `abstract_trajectory`, for another number of environments."""

    def to_width(axis: int, tree: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((*x.shape[:axis], width, *x.shape[axis + 1 :]), x.dtype),
            tree,
        )

    states = to_width(0, like.actor_state)
    return to_width(1, like._replace(actor_state=()))._replace(actor_state=states)


def shard(trajectory: Trajectory, devices: Sequence[jax.Device]) -> Trajectory:
    """Splits the batch axis among this process's devices: each leaf gets a leading axis of them."""
    own = local(devices)
    sharding = device_axis(own)

    def put(axis: int, tree: Any) -> Any:
        def put_leaf(x: np.ndarray) -> jax.Array:
            parts = [part[None] for part in np.split(x, len(own), axis)]
            arrays = [jax.device_put(part, d) for part, d in zip(parts, own, strict=True)]
            shape = (len(own), *parts[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, sharding, arrays)

        return jax.tree.map(put_leaf, tree)

    states = put(0, trajectory.actor_state)
    return put(1, trajectory._replace(actor_state=()))._replace(actor_state=states)


def local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of this process."""
    return [device for device in devices if device.process_index == jax.process_index()]


def device_axis(devices: Sequence[jax.Device]) -> NamedSharding:
    """The sharding of an array whose leading axis is the devices, as `pmap` expects it."""
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec(AXIS))
