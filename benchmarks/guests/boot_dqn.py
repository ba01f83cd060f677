"""Times bsuite's bootstrapped DQN on deep sea of size 10; runs in the peer's environment.

Arguments: the number of members and the batch size. Each line of standard input is the length of a
window in seconds; it is answered by the member-updates a second in it, and a second of all cores.
"""

import sys
import time

import haiku as hk
import jax
import optax
from bsuite.baselines.jax.boot_dqn import BootstrappedDqn
from bsuite.environments import deep_sea


def network(inputs):
    """That of the baseline's own default agent."""
    x = hk.Flatten()(inputs)
    return hk.nets.MLP([50, 50, 2])(x) + 5.0 * jax.lax.stop_gradient(hk.nets.MLP([50, 50, 2])(x))


def main(members: int, batch: int) -> None:
    """Answers until the input ends."""
    environment = deep_sea.DeepSea(10)
    agent = BootstrappedDqn(
        obs_spec=environment.observation_spec(),
        action_spec=environment.action_spec(),
        network=network,
        num_ensemble=members,
        batch_size=batch,
        discount=0.99,
        replay_capacity=10_000,
        min_replay_size=batch,
        sgd_period=1,
        target_update_period=4,
        optimizer=optax.adam(1e-3),
        mask_prob=1.0,
        noise_scale=0.1,
    )
    timestep = environment.reset()

    def step() -> None:
        nonlocal timestep
        action = agent.select_action(timestep)
        new = environment.step(action)
        agent.update(timestep, action, new)
        timestep = environment.reset() if new.last() else new

    for _ in range(batch + 20):  # until it learns, and all is compiled
        step()
    for line in sys.stdin:
        start, cpu, steps = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < float(line):
            step()
            steps += 1
        jax.block_until_ready([member.params for member in agent._ensemble])
        updates = steps * members
        of_cores = time.process_time() - cpu
        print(updates / (time.perf_counter() - start), updates / of_cores, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
