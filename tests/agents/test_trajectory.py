"""A trajectory's rows as transitions: which they are, and in which order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.agents.agent import Trajectory
from expedition.environments.interface import FIRST, LAST, MID

STEPS, BATCH = 3, 2
STEP_TYPE = np.array([[FIRST, MID], [LAST, MID], [FIRST, LAST], [MID, FIRST]], np.int8)


def unroll():
    """Every number tells its time, its environment and what it is."""
    time, environment = np.mgrid[: STEPS + 1, :BATCH]
    seen = 10 * time + environment
    row = seen[:-1].astype(np.float32)
    return Trajectory(
        observation={"seen": seen, "image": seen[..., None, None] + np.array([[100, 200, 300]])},
        step_type=STEP_TYPE,
        action=np.stack([seen[:-1] + 1000, seen[:-1] + 2000], axis=-1),
        extras={"unused": row},
        reward=row + 0.25,
        discount=row + 0.5,
        actor_state=np.zeros((BATCH, 5)),
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_rows_come_in_the_order_of_time_and_then_of_environments(compiled):
    trajectory = jax.tree.map(jnp.asarray, unroll()) if compiled else unroll()
    read = jax.jit(lambda t: t.transitions) if compiled else lambda t: t.transitions
    found = read(trajectory)
    for place, (t, b) in enumerate(np.ndindex(STEPS, BATCH)):
        for name, at in (("observation", t), ("next_observation", t + 1)):
            observation = getattr(found, name)
            assert observation["seen"][place] == 10 * at + b
            image = 10 * at + b + np.array([[100, 200, 300]])
            np.testing.assert_array_equal(observation["image"][place], image)
        np.testing.assert_array_equal(found.action[place], 10 * t + b + np.array([1000, 2000]))
        assert found.reward[place] == 10 * t + b + 0.25
        assert found.discount[place] == 10 * t + b + 0.5
        assert found.is_valid[place] == (STEP_TYPE[t, b] != LAST)
    assert {len(x) for x in jax.tree.leaves(found)} == {STEPS * BATCH}
    np.testing.assert_array_equal(found.is_valid, [True, True, False, True, True, False])
