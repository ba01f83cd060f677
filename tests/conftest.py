"""Strict settings for every test: 8 CPU devices, no silent rank promotion, warnings are errors."""

import os

# Before JAX starts, and extended rather than overwritten: the user's own flags stay.
_DEVICES = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DEVICES}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
