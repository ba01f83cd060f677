"""Runs of a team on the cart-pole swing-up, watched as they go."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from expedition.agents import Agent
from expedition.environments import Swingup, SwingupBatch
from expedition.environments.interface import FIRST, Array
from expedition.environments.swingup import TIME_STEP
from expedition.runtime import QueueClosed, RuntimeConfig, named_key, simulation
from expedition.runtime import train as run_actors_and_learner
from experiments.snapshots import Snapshots

WINDOW = 0.5  # s, over which rewards are averaged
LOOK = 0.1  # s, between two looks at the team
_SEEN = ("position", "angle", "spin")


class Look(NamedTuple):
    """The team at a time."""

    second: float
    mean_reward: np.ndarray  # [W] of each instance, since the last look
    upright: float  # share of agents
    position: np.ndarray  # [W, K] m
    angle: np.ndarray  # [W, K] rad
    spin: np.ndarray  # [W, K] rad/s


def periods(seconds: float) -> int:
    """Actions of an agent in a time."""
    return round(seconds / TIME_STEP)


def simulate(
    agent: Agent,
    task: Swingup,
    keys: Sequence[jax.Array],
    num_agents: int,
    turns: int,
    watch: Callable[[Look], None],
    snapshots: Snapshots,
) -> None:
    """Simulates instances on the port, as many on each device; all are one program.

    Goes on from the newest snapshot.

    Args:
      agent: the algorithm.
      task: the environment; its length is that of the run.
      keys: one an instance; as many local devices are used as share them equally.
      num_agents: K.
      turns: parts of the team that act one after the other in each period.
      watch: called after every `LOOK`, of what was simulated before a stop too.
      snapshots: of these very instances; to be removed when what was seen is kept elsewhere.
    """
    parts = simulation(
        agent,
        task,
        num_agents=num_agents,
        horizon=task.max_steps,
        clock="synchronous",
        at_once=num_agents // turns,
    )
    number = max(n for n in range(1, jax.local_device_count() + 1) if len(keys) % n == 0)
    devices = jax.local_devices()[:number]
    start = jax.pmap(parts.start, devices=devices)
    advance = jax.pmap(parts.advance, in_axes=(0, None), donate_argnums=0, devices=devices)
    each, size = periods(LOOK), (len(keys), num_agents)
    running = start(jnp.stack(keys).reshape(number, -1))
    begun, (running, seen) = snapshots.load((running, _nothing_seen(task.max_steps // each, *size)))
    for look in range(begun):
        watch(Look(*(x[look] for x in seen)))
    before = np.array(running.progress.agents.returns).reshape(size)
    for period in range((begun + 1) * each, task.max_steps + 1, each):
        running = advance(running, period * turns)
        agents = running.progress.agents
        returns, position, angle, spin = (
            np.array(x).reshape(size)  # copies: the next step donates these
            for x in (agents.returns, *(getattr(agents.environment, f) for f in _SEEN))
        )
        reward = (returns - before).mean(axis=1) / each
        before = returns
        upright = float(np.mean(np.cos(angle) > 0.95))
        look = Look(period * TIME_STEP, reward, upright, position, angle, spin)
        for all_of, one in zip(seen, look, strict=True):
            all_of[period // each - 1] = one
        watch(look)
        snapshots.save(period // each, (running, seen))


def _nothing_seen(looks: int, instances: int, num_agents: int) -> Look:
    """Room for all looks, `[looks, ...]`."""
    time, team = (looks, instances), (looks, instances, num_agents)
    sizes = looks, time, looks, team, team, team
    return Look(*(np.zeros(size) for size in sizes))


def train(
    agent: Agent,
    task: Swingup,
    key: jax.Array,
    num_agents: int,
    turns: int,
    num_devices: int,
    watch: Callable[[Look], None],
) -> None:
    """Runs an instance on MuJoCo: actor threads, a queue, and a learner.

    Each part of the team is an actor of its own, and each of its steps an update: so agents of
    one model differ, as they do in the simulator's turns, if not in a fixed order.

    Args:
      agent: the algorithm.
      task: the environment; its length is that of the run.
      key: names the instance.
      num_agents: K.
      turns: parts of the team.
      num_devices: local devices that share models and a part's agents.
      watch: called after every `LOOK`.

    Raises:
      KeyboardInterrupt: a signal stopped it.
    """
    each, seen = num_agents // turns, 0
    batches = [Recorder(task, each, named_key(key, "start")) for _ in range(turns)]

    def tell(_: object) -> None:
        nonlocal seen
        for i in range(seen, min(len(batch.looks) for batch in batches)):
            watch(_joined([batch.looks[i] for batch in batches]))
            seen = i + 1

    config = RuntimeConfig(
        total_steps=num_agents * task.max_steps,
        unroll_length=1,
        batch_size=each,
        actors=turns,
        environments_per_actor=each,
        learner_devices=tuple(range(num_devices)),
    )
    result = run_actors_and_learner(agent, batches, config, key=named_key(key, "run"), log=tell)
    if result.exit_state != "finished":
        raise KeyboardInterrupt(result.exit_state)
    tell(None)


class Recorder(SwingupBatch):
    """A part of a team; notes what is seen of it in its one episode, and then ends its actor.

    Or a fast actor would begin another episode, and the run would end before a slow one's.
    """

    def __init__(self, task: Swingup, num_environments: int, key: jax.Array) -> None:
        super().__init__(task, num_environments, key)
        self.looks: list[Look] = []
        self._rewards: list[float] = []
        self._left = task.max_steps

    def step(self, actions: Array) -> dm_env.TimeStep:
        """Steps each environment.

        Raises:
          QueueClosed: the episode is over; an actor takes it as its own end.
        """
        if self._left == 0:
            raise QueueClosed
        timestep = super().step(actions)
        if timestep.step_type[0] != FIRST:
            self._left -= 1
            self._rewards.append(float(np.mean(timestep.reward)))
            if len(self._rewards) == periods(LOOK):
                self._look()
        return timestep

    def _look(self) -> None:
        state, second = self.states, (len(self.looks) + 1) * LOOK
        seen = (np.asarray(getattr(state, name))[None] for name in _SEEN)
        upright = float(np.mean(np.cos(state.angle) > 0.95))
        self.looks.append(Look(second, np.mean(self._rewards, keepdims=True), upright, *seen))
        self._rewards = []


def _joined(parts: Sequence[Look]) -> Look:
    """One look at a team of equal parts."""
    first = parts[0]
    return Look(
        first.second,
        np.mean([part.mean_reward for part in parts], axis=0),
        float(np.mean([part.upright for part in parts])),
        *(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in _SEEN),
    )
