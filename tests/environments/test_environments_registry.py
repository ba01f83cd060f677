"""Environments by name, and what importing the room costs."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from expedition.environments import FIRST, FunctionalBatch, make
from expedition.environments.registry import FUNCTIONAL


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_every_functional_environment_is_made(name):
    environment = make(name, 3, jax.random.key(0))
    assert isinstance(environment, FunctionalBatch)
    assert environment.spec == FUNCTIONAL[name].spec
    timestep = environment.reset()
    assert timestep.observation.shape == (3, *environment.spec.observation.shape)
    assert (timestep.step_type == FIRST).all()
    actions = np.stack([environment.spec.action.generate_value()] * 3)
    assert environment.step(actions).reward.shape == (3,)


def test_settings_reach_dm_control():
    pytest.importorskip("dm_control")
    name = "dm_control:pendulum-swingup"
    environment = make(name, 2, jax.random.key(0), action_bins=7, action_repeat=4)
    assert environment.num_environments == 2
    assert environment.spec.action.num_values == 7
    assert environment.frames_per_step == 4


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Catch", "'Catch' was given; try catch$"),
        ("probe:action-reward", "try probe:action_reward,"),
        ("xyz", r"try catch, probe:constant_value, .*, dm_control:<domain>-<task>$"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, answer):
    with pytest.raises(ValueError, match=answer):
        make(name, 1, jax.random.key(0))


@pytest.mark.parametrize("settings", [{"action_bins": 3}, {"action_repeat": 2}])
def test_settings_that_an_environment_does_not_have_are_refused(settings):
    with pytest.raises(ValueError, match="for 'catch'; expected"):
        make("catch", 1, jax.random.key(0), **settings)


def test_importing_loads_no_simulator_and_touches_no_device():
    program = (
        "import sys, expedition.environments; from jax._src import xla_bridge;"
        "simulators = {'dm_control', 'mujoco'} & {m.split('.')[0] for m in sys.modules};"
        "print(simulators, xla_bridge.backends_are_initialized())"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert output.stdout.strip() == "set() False", output.stderr
