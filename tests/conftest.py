"""For every test: 8 CPU devices, quick compilation and its cache, no silent rank promotion.

Compilation takes most of the time: see `compilation.py`.
`XLA_FLAGS="--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true"` before the
command tests what users run.

After every file, what it compiled is dropped from memory: each program is mapped into it, and Linux
ends a process (with a segmentation fault in LLVM) that has more than 65,530 mappings.
"""

import gc
import os
import tempfile

from compilation import QUICK

# Before JAX starts, and extended rather than overwritten: the user's own flags stay.
_FLAGS = os.environ.get("XLA_FLAGS", "").split()
_FLAGS += [
    f"--{flag}={value}"
    for flag, value in QUICK.items()
    if not any(given.startswith(f"--{flag}") for given in _FLAGS)
]
_FLAGS += ["--xla_force_host_platform_device_count=8"]
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# What a test has compiled, others need not, nor the tests of mutants, which are other processes.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(100_000, 50, 100)  # by default it takes an eighth of the time of tests that trace

# Files that take minutes begin first: or one of them would still run when nothing else is left.
_LONG = {
    *("test_a3c.py", "test_checkpoint.py", "test_deterministic.py", "test_experiment_seed_td.py"),
    *("test_figure1.py", "test_figure2.py", "test_figure3.py", "test_learner_devices.py"),
    *("test_mutants.py", "test_notebooks.py", "test_processes.py", "test_seed_ensemble.py"),
    *("test_seeded_impala.py",),
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(autouse=True, scope="module")
def _drop_what_was_compiled():
    yield
    jax.clear_caches()
    gc.collect()
