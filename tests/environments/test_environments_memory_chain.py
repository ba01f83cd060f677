"""The memory chain against a simulation in NumPy, written from bsuite's rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.environments import FIRST, LAST, MID, MemoryChain, make

CHAINS = pytest.mark.parametrize("chain", [MemoryChain(1), MemoryChain(4), MemoryChain(3, 5)])


def play(chain, key, actions):
    """The time steps of an episode, and its state."""
    state, timestep = chain.reset(key)
    timesteps, begun = [timestep], state
    for action in actions:
        state, timestep = jax.jit(chain.step)(state, action)
        timesteps.append(timestep)
    return timesteps, begun


def expected_observation(chain, context, query, time):
    observation = np.zeros(2 + chain.bits, np.float32)
    observation[0] = 1 - time / chain.length
    if time == chain.length - 1:
        observation[1] = query
    if time == 0:
        observation[2:] = np.where(context, 1, -1)
    return observation


@CHAINS
@pytest.mark.parametrize("seed", range(4))
def test_an_episode_is_bsuites(chain, seed):
    """Its first observation comes twice; only the last action counts."""
    actions = np.random.default_rng(seed).integers(2, size=chain.length + 1)
    timesteps, state = play(chain, jax.random.key(seed), actions)
    context, query = np.asarray(state.context), int(state.query)
    times = [0, *range(chain.length + 1)]
    for time, timestep in zip(times, timesteps, strict=True):
        expected = expected_observation(chain, context, query, time)
        np.testing.assert_allclose(timestep.observation, expected, rtol=1e-6)
    assert [int(t.step_type) for t in timesteps] == [FIRST, *[MID] * chain.length, LAST]
    rewards = [float(timestep.reward) for timestep in timesteps]
    assert rewards[:-1] == [0.0] * (chain.length + 1)
    assert rewards[-1] == (1.0 if actions[-1] == context[query] else -1.0)
    assert float(timesteps[-1].discount) == 0.0


def test_contexts_and_queries_are_uniform_and_independent():
    chain = MemoryChain(2, 3)
    keys = jax.random.split(jax.random.key(0), 4000)
    states, _ = jax.vmap(chain.reset)(keys)
    for bit in range(3):
        asked = states.query == bit
        assert abs(float(asked.mean()) - 1 / 3) < 0.03
        assert abs(float(states.context[asked, bit].mean()) - 0.5) < 0.05
    np.testing.assert_allclose(np.corrcoef(states.context.T), np.eye(3), atol=0.06)


def test_a_name_has_the_length():
    batch = make("memory_chain:7", 3, jax.random.key(0))
    batch.reset()
    for _ in range(7):
        assert (batch.step(jnp.zeros(3, int)).step_type == MID).all()
    assert (batch.step(jnp.zeros(3, int)).step_type == LAST).all()
    with pytest.raises(ValueError, match="try memory_chain:<length>"):
        make("memory_chain:long", 3, jax.random.key(0))


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_wrong_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        MemoryChain(*sizes)
