"""The learner: the agent's update under `pmap`, on one device or many, of one process or many."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from expedition.agents.agent import Agent
from expedition.runtime.prefetch import AXIS, device_axis, local

_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


@partial(jax.tree_util.register_dataclass, data_fields=["values"], meta_fields=["names"])
@dataclass(frozen=True)
class _Scalars:
    """Named scalars as one array: one by one they took as long to the host as a short update."""

    names: tuple[str, ...]
    values: jax.Array  # [N] float32

    def by_name(self) -> dict[str, float]:
        return dict(zip(self.names, np.asarray(self.values).tolist(), strict=True))


class _Programs:
    """An agent's functions on some devices; each is compiled once, whatever the number of runs."""

    def __init__(self, agent: Agent, devices: tuple[jax.Device, ...]) -> None:
        def update(state: Any, batch: Any, stops: jax.Array) -> tuple[Any, Any, _Scalars]:
            state, metrics = agent.update(state, batch)
            # Not finite if any of them is not: before anyone acts by them, or saves them.
            metrics |= {
                "parameter_norm": optax.tree.norm(state.params),
                "stops": jax.lax.pmax(stops, AXIS),
            }
            values = jnp.stack([jnp.float32(value) for value in metrics.values()])
            return state, state.params, _Scalars(tuple(metrics), values)

        self.init = jax.pmap(agent.init, axis_name=AXIS, devices=devices)
        self.update = jax.pmap(
            update,
            axis_name=AXIS,
            devices=devices,
            donate_argnums=0,
            out_axes=(0, None, None),  # parameters are equal on all devices: a copy, to be kept
        )
        self._compiled: dict[Any, Any] = {}

    def compiled(self, state: Any, batch: Any, stops: jax.Array) -> Any:
        """The update, compiled for a batch of that kind (`jax.ShapeDtypeStruct`s)."""
        kind = jax.tree.structure(batch), tuple(jax.tree.leaves(batch))
        if kind not in self._compiled:
            self._compiled[kind] = self.update.lower(state, batch, stops).compile()
        return self._compiled[kind]


_programs = lru_cache(maxsize=4)(_Programs)


class Learner:
    """Holds the state of each device, and updates it in place (its buffers are donated).

    Args:
      agent: its `init` and `update` may use the axis `prefetch.AXIS`: to combine gradients, or to
        tell which part of the state is the device's own. The parameters are equal on all devices.
      key: names the initial state.
      devices: where to learn, of all processes; each gets an equal part of every batch.
    """

    _state: Any  # of this process's devices, on a leading axis
    _params: Any  # of the first of them

    def __init__(self, agent: Agent, key: jax.Array, devices: Sequence[jax.Device]) -> None:
        own = local(devices)
        self.device = own[0]
        self._own = device_axis(own)
        # Kept: to bring one there took a seventh of the time between short updates.
        self._flags = {
            stops: jax.device_put(np.full(len(own), stops, np.int32), self._own)
            for stops in (False, True)
        }
        self._programs = _programs(agent, tuple(devices))
        self._update = self._programs.update
        self._hold(self._programs.init(jnp.broadcast_to(key, len(own))))
        self.compiled = threading.Event()

    def compile(self, like: Any) -> None:
        """Compiles the update for one device's share of a batch (`jax.ShapeDtypeStruct`s).

        It would be compiled at the first update anyway; this way the actors start meanwhile.
        """

        def of_all_devices(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            shape = (self._own.num_devices, *x.shape)
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self._own)

        batch = jax.tree.map(of_all_devices, like)
        if jax.process_count() == 1:
            self._update = self._programs.compiled(self._state, batch, self._flags[False])
        else:  # what pmap lowers does not know of other processes: compile by an update in vain
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=self._own), batch)
            jax.block_until_ready(self._update(_copy(self._state), zeros, self._flags[False]))
        self.compiled.set()

    def update(self, batch: Any, *, stops: bool = False) -> tuple[dict[str, float], bool]:
        """One update from a sharded batch, waited for.

        Args:
          batch: what to learn from.
          stops: whether this process wants to stop after it.

        Returns:
          The metrics, and whether any process wants to stop: all learn it at one update, and none
          waits for another that has gone.
        """
        self._state, params, told = self._update(self._state, batch, self._flags[stops])
        self._params = jax.tree.map(lambda x: x.addressable_data(0), params)
        metrics = told.by_name()
        return metrics, metrics.pop("stops") > 0

    @property
    def state(self) -> Any:
        """The state, its devices a leading axis; never to be held, since an update donates it."""
        return self._state

    def get_state(self) -> Any:
        """A copy of it: never the arrays to be donated."""
        return _copy(self._state)

    def set_state(self, state: Any) -> None:
        """Goes on from what `get_state` gave, on the host or not."""
        self._hold(jax.device_put(state, self._own))

    def params(self) -> Any:
        """The parameters, on the first device: never the arrays to be donated."""
        return self._params

    def _hold(self, state: Any) -> None:
        self._state = state
        self._params = _copy(jax.tree.map(lambda x: x.addressable_data(0)[0], state.params))
