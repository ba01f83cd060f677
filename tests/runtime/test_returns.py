"""Returns are the environment's own; beside them stands what the agent learns from."""

import numpy as np
from small_runs import config, impala_agent, run


def test_the_return_is_raw_and_the_training_return_clipped():
    """An episode of catch is worth -1 or 1, in its last step."""
    settings = config("impala", 30, deterministic=False)
    _, rows = run("impala", settings, agent=impala_agent(max_abs_reward=0.25))
    ended = [row for row in rows if row["episodes"] > 0]
    assert ended
    for row in ended:
        assert row["return_max"] in (-1.0, 1.0)
        for measure in ("mean", "min", "max"):
            expected = 0.25 * row[f"return_{measure}"]
            np.testing.assert_allclose(row[f"training_return_{measure}"], expected)


def test_without_a_clip_they_are_the_same():
    _, rows = run("impala", config("impala", 30), agent=impala_agent(max_abs_reward=None))
    for row in rows:
        np.testing.assert_equal(row["training_return_mean"], row["return_mean"])
