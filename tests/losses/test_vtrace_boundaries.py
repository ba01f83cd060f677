"""Nothing of an episode reaches the episode before it."""

import numpy as np
import pytest
from vtrace_oracle import Rows, Thresholds, random_rows

from expedition.losses import vtrace

FIRST = 4  # rows of the first episode


def apply(rows):
    *arrays, continuation_t = rows
    output = vtrace(*arrays, continuation_t=continuation_t, **Thresholds()._asdict())
    return np.stack([output.targets, output.advantages])


def two_episodes(boundary):
    """An episode that ends as told, with its own final observation, and one that goes on."""
    first = random_rows(1, (FIRST, 2), boundaries=0)
    second = random_rows(2, (5, 2), boundaries=0)
    if boundary == "terminated":
        first.discount_t[-1] = 0
    else:
        first.continuation_t[-1] = 0
    return first, second


def joined(first, second):
    return Rows(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


@pytest.mark.parametrize("boundary", ["terminated", "truncated"])
class TestInnerBoundary:
    def test_batch_equals_its_pieces(self, boundary):
        first, second = two_episodes(boundary)
        pieces = np.concatenate([apply(first), apply(second)], axis=1)
        np.testing.assert_allclose(apply(joined(first, second)), pieces, rtol=1e-6)

    @pytest.mark.parametrize("change", [1e6, np.inf, np.nan], ids=str)
    def test_second_episode_never_changes_the_first(self, boundary, change):
        first, second = two_episodes(boundary)
        before = apply(joined(first, second))[:, :FIRST]
        second = second._replace(r_t=second.r_t + change, v_tm1=second.v_tm1 - change)
        np.testing.assert_array_equal(apply(joined(first, second))[:, :FIRST], before)


def test_truncation_bootstraps_from_the_final_observation():
    first, second = two_episodes("truncated")
    before = apply(joined(first, second))
    first.v_t[-1] += 1
    changed = apply(joined(first, second)) != before
    assert changed[:, :FIRST].all()
    assert not changed[:, FIRST:].any()
