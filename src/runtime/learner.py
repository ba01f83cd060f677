"""The learner: the agent's update under `pmap`, on one device or many, of one process or many."""

import threading
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from expedition.agents.agent import Agent, Metrics
from expedition.runtime.prefetch import AXIS, device_axis, local

# One call for all leaves; its results are new arrays, never those that are donated.
_unstack = jax.jit(lambda tree: jax.tree.map(lambda x: x[0], tree))
_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Learner:
    """Holds the state of each device, and updates it in place (its buffers are donated).

    Args:
      agent: its `init` and `update` may use the axis `prefetch.AXIS`: to combine gradients, or to
        tell which part of the state is the device's own. The parameters are equal on all devices.
      key: names the initial state.
      devices: where to learn, of all processes; each gets an equal part of every batch.
    """

    def __init__(self, agent: Agent, key: jax.Array, devices: Sequence[jax.Device]) -> None:
        own = local(devices)
        self.device = own[0]
        self._own = device_axis(own)
        # Kept: to bring one there took a seventh of the time between short updates.
        self._flags = {
            stops: jax.device_put(np.full(len(own), stops, np.int32), self._own)
            for stops in (False, True)
        }
        init = jax.pmap(agent.init, axis_name=AXIS, devices=list(devices))
        self._state = init(jnp.broadcast_to(key, len(own)))
        self.compiled = threading.Event()

        def update(state: Any, batch: Any, stops: jax.Array) -> Any:
            state, metrics = agent.update(state, batch)
            # Not finite if any of them is not: before anyone acts by them, or saves them.
            metrics |= {"parameter_norm": optax.tree.norm(state.params)}
            return state, metrics, jax.lax.pmax(stops, AXIS)

        self._update = jax.pmap(update, axis_name=AXIS, devices=list(devices), donate_argnums=0)

    def compile(self, like: Any) -> None:
        """Compiles the update for one device's share of a batch (`jax.ShapeDtypeStruct`s).

        It would be compiled at the first update anyway; this way the actors start meanwhile.
        """

        def of_all_devices(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            shape = (self._own.num_devices, *x.shape)
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self._own)

        batch = jax.tree.map(of_all_devices, like)
        if jax.process_count() == 1:
            self._update = self._update.lower(self._state, batch, self._flags[False]).compile()
        else:  # what pmap lowers does not know of other processes: compile by an update in vain
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=self._own), batch)
            jax.block_until_ready(self._update(_copy(self._state), zeros, self._flags[False]))
        self.compiled.set()

    def update(self, batch: Any, *, stops: bool = False) -> tuple[Metrics, jax.Array]:
        """One update from a sharded batch.

        Args:
          batch: what to learn from.
          stops: whether this process wants to stop after it.

        Returns:
          The metrics, and whether any process wants to stop: all learn it at one update, and none
          waits for another that has gone. Both are promises, as JAX's arrays are.
        """
        self._state, metrics, stopped = self._update(self._state, batch, self._flags[stops])
        told: tuple[Metrics, jax.Array] = _first_replica((metrics, stopped))
        return told

    @property
    def state(self) -> Any:
        """Of this process's devices, on a leading axis: not to be held, the update donates it."""
        return self._state

    def get_state(self) -> Any:
        """A copy of it: never the arrays to be donated."""
        return _copy(self._state)

    def set_state(self, state: Any) -> None:
        """Goes on from what `get_state` gave, on the host or not."""
        self._state = jax.device_put(state, self._own)

    def params(self) -> Any:
        """A copy of the parameters, on the first device: never the arrays to be donated."""
        return _first_replica(self._state.params)


def _first_replica(tree: Any) -> Any:
    return _unstack(jax.tree.map(lambda x: x.addressable_shards[0].data, tree))
