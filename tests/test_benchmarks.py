"""The parts of benchmarks that can be wrong without anybody seeing it; nothing is timed here."""

from functools import partial

import jax
import numpy as np
import pytest

from benchmarks import ensembles, vtrace
from benchmarks.__main__ import _figure


@pytest.mark.filterwarnings("ignore")  # rlax's, of its own functions and of what it imports
def test_what_is_timed_beside_rlax_is_the_same():
    data = vtrace.inputs(7, 3)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(vtrace.our_targets(data), vtrace.rlax_targets(data), strict=True):
        close(ours, theirs)
    both = [vtrace.with_gradient(loss)(data) for loss in (vtrace.our_loss, vtrace.rlax_loss)]
    jax.tree.map(close, *both)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("system", "133,000 (27,500)"),
        ("bound", "344,000"),
        ("system_over_bound", "39%"),
        ("actor_alone_cost", "2.50"),
        ("actor_time_queue", "42%"),
    ],
)
def test_a_figure_is_shown_in_its_unit(name, shown):
    row = {"system": 133_000.0, "system_spread": 27_500.0, "bound": 344_000.0}
    row |= {"system_over_bound": 0.387, "actor_alone_cost": 2.5e-6, "actor_time_queue": 0.42}
    assert _figure(row, name) == shown


def test_ratios_of_ensembles_are_window_by_window():
    clock = np.array([[4.0, 20.0, 2.0], [9.0, 30.0, 3.0], [8.0, 80.0, 8.0]])
    row = ensembles._row(np.stack([clock, clock / 2], axis=-1), 1e6, "50 steps")
    assert (row["ours/s"], row["50 steps/s"], row["boot_dqn/s"]) == (8, 30, 3)
    assert (row["ours over boot_dqn"], row["50 steps over boot_dqn"]) == (2, 10)
    assert row["CPU us, 50 steps"] == pytest.approx(1e6 / 15)
