"""The room as a whole: its examples run, and importing it costs little more than JAX."""

import doctest
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

from expedition import losses

MODULES = [module.name for module in pkgutil.iter_modules(losses.__path__, "expedition.losses.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_public_names_exist_and_are_documented():
    for name in losses.__all__:
        assert getattr(losses, name).__doc__


def test_import_loads_jax_and_chex_only():
    program = (
        "import sys, jax, chex; before = {m.split('.')[0] for m in sys.modules};"
        "import expedition.losses; after = {m.split('.')[0] for m in sys.modules};"
        "print(sorted(after - before))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert output.stdout.strip() == "['expedition']", output.stderr
