"""The learner: the agent's update under `pmap`, on one device or many."""

import threading
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from expedition.agents.agent import Agent, Metrics, Trajectory
from expedition.runtime.prefetch import AXIS, device_axis

# One call for all leaves; its results are new arrays, never those that are donated.
_unstack = jax.jit(lambda tree: jax.tree.map(lambda x: x[0], tree))


class Learner:
    """Holds the state of each device, and updates it in place (its buffers are donated).

    Args:
      agent: its `init` and `update` may use the axis `prefetch.AXIS`: to combine gradients, or to
        tell which part of the state is the device's own. The parameters are equal on all devices.
      key: names the initial state.
      devices: where to learn; each gets an equal part of every batch.
    """

    def __init__(self, agent: Agent, key: jax.Array, devices: Sequence[jax.Device]) -> None:
        self._sharding = device_axis(devices)
        init = jax.pmap(agent.init, axis_name=AXIS, devices=list(devices))
        self._state = init(jnp.broadcast_to(key, len(devices)))
        self.compiled = threading.Event()
        self._update = jax.pmap(
            agent.update, axis_name=AXIS, devices=list(devices), donate_argnums=0
        )

    def compile(self, like: Trajectory) -> None:
        """Compiles the update for one device's share of a batch (`jax.ShapeDtypeStruct`s).

        It would be compiled at the first update anyway; this way the actors start meanwhile.
        """

        def of_all_devices(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            shape = (self._sharding.num_devices, *x.shape)
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self._sharding)

        batch = jax.tree.map(of_all_devices, like)
        self._update = self._update.lower(self._state, batch).compile()
        self.compiled.set()

    def update(self, batch: Trajectory) -> Metrics:
        """One update from a sharded batch; the metrics are a promise, as JAX's arrays are."""
        self._state, metrics = self._update(self._state, batch)
        return _first_replica(metrics)

    def params(self) -> Any:
        """A copy of the parameters, on the first device: never the arrays to be donated."""
        return _first_replica(self._state.params)


def _first_replica(tree: Any) -> Any:
    return _unstack(jax.tree.map(lambda x: x.addressable_shards[0].data, tree))
