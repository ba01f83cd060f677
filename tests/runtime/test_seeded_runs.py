"""Seeded IMPALA on actor threads: a run in two parts, by the machinery of every agent."""

import flax.linen as nn
import pytest
from small_runs import KINDS, config, run
from test_checkpoint import checkpoints
from test_deterministic import assert_equal

from expedition.agents import ImpalaConfig, SeededImpalaConfig, seeded_impala
from expedition.environments import Catch
from expedition.networks import MLPTorso
from expedition.runtime import AXIS


def agent(updates, replay):
    spec = Catch().spec
    settings = SeededImpalaConfig(
        num_members=4,
        passes=2,
        replay=replay,
        impala=ImpalaConfig(reduction="mean", optimizer="adam"),
    )
    network = nn.Sequential([MLPTorso((8,)), nn.Dense(spec.action.num_values)])
    length = KINDS["impala"][2]
    return seeded_impala(
        settings, spec, network, num_updates=updates, unroll_length=length, axis_name=AXIS
    )


@pytest.mark.parametrize("replay", [None, 60])
def test_a_run_in_two_parts_is_bit_equal_to_one(replay, tmp_path):
    """Members, their optimisers, the data's numbers, what is kept, and who acts where all go on."""
    half, whole, ours = config("impala", 7), config("impala", 14), agent(14, replay)
    unbroken, _ = run("impala", whole, agent=ours)
    run("impala", half, agent=ours, checkpoints=checkpoints(tmp_path))
    resumed, rows = run("impala", whole, agent=ours, checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, unbroken.params)
    assert rows[0]["updates"] == 8
