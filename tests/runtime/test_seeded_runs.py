"""Seeded IMPALA on actor threads: a run in two parts, by the machinery of every agent."""

import flax.linen as nn
from small_runs import config, run
from test_checkpoint import checkpoints
from test_deterministic import assert_equal

from expedition.agents import ImpalaConfig, SeededImpalaConfig, seeded_impala
from expedition.environments import Catch
from expedition.networks import MLPTorso
from expedition.runtime import AXIS


def agent(updates):
    spec = Catch().spec
    settings = SeededImpalaConfig(
        num_members=4, impala=ImpalaConfig(reduction="mean", optimizer="adam")
    )
    network = nn.Sequential([MLPTorso((8,)), nn.Dense(spec.action.num_values)])
    return seeded_impala(settings, spec, network, num_updates=updates, axis_name=AXIS)


def test_a_run_in_two_parts_is_bit_equal_to_one(tmp_path):
    """Members, their optimisers, the data's numbers, and who acts where all go on."""
    half, whole = config("impala", 7), config("impala", 14)
    unbroken, _ = run("impala", whole, agent=agent(14))
    run("impala", half, agent=agent(14), checkpoints=checkpoints(tmp_path))
    resumed, rows = run("impala", whole, agent=agent(14), checkpoints=checkpoints(tmp_path))
    assert_equal(resumed.params, unbroken.params)
    assert rows[0]["updates"] == 8
