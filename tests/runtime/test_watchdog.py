"""What never answers ends the process with all its stacks, wherever it happens."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HANGS = """
import sys, time
import jax
from expedition.runtime import evaluate, train
from expedition.runtime.supervision import Watchdog
from fakes import FakeEnvironment, fake_agent, fake_config


def hang(*arguments, **settings):
    print("hangs", flush=True)
    time.sleep(100)


class Checkpoints:
    newest = None

    def __init__(self, part):
        setattr(self, part, hang)

    def restore(self, like):
        return None

    def is_due(self, updates):
        return False

    def save(self, updates, saved):
        pass

    def wait(self):
        pass


def slow_agent():
    agent = fake_agent()

    def update(state, batch):
        time.sleep(2)  # as it is compiled
        return agent.update(state, batch)

    return agent._replace(update=update)


class SlowFirst(FakeEnvironment):
    def reset(self):
        time.sleep(2.5)
        return super().reset()


part = sys.argv[1]
if part == "nowhere":  # each is slow, none is too slow
    config = fake_config(stall_timeout=4.0)
    environments = [SlowFirst() for _ in range(3)]
    train(slow_agent(), environments, config, key=jax.random.key(0))
elif part == "body":
    with Watchdog(2.0) as watchdog:
        for _ in range(20):
            time.sleep(0.2)
            watchdog.feed()
        hang()
elif part == "evaluation":
    agent = fake_agent()
    evaluate(agent, agent.init(None).params, FakeEnvironment(hook=hang), stall_timeout=2.0)
else:
    environments = [FakeEnvironment() for _ in range(3)]
    config = fake_config(stall_timeout=4.0)
    train(fake_agent(), environments, config, key=jax.random.key(0), checkpoints=Checkpoints(part))
"""


def run(part):
    path = os.pathsep.join((str(Path(__file__).parent), *sys.path))
    return subprocess.run(
        [sys.executable, "-c", HANGS, part],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_slow_steps_one_after_the_other_are_no_stall():
    assert run("nowhere").returncode == 0


@pytest.mark.parametrize("part", ["body", "restore", "save", "wait", "evaluation"])
def test_a_stall_shows_all_stacks_and_ends_the_process(part):
    start = time.monotonic()
    found = run(part)
    assert time.monotonic() - start < 60
    assert found.returncode == 1, found.stderr
    assert found.stdout == "hangs\n"
    assert "Timeout" in found.stderr
    assert "in hang" in found.stderr
