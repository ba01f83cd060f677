"""How tests compile: quickly, but for those of what the compiler makes of a program."""

from importlib.metadata import version

# LLVM does not optimise. JAX 0.10 can still be told to do without MLIR's emitters of fused loops,
# which take half of the time that is left; XLA then fuses less.
_EMITTERS = "xla_cpu_use_fusion_emitters"
_HAS_EMITTERS = version("jax").startswith("0.10.")
QUICK = {"xla_backend_optimization_level": "0"} | ({_EMITTERS: "false"} if _HAS_EMITTERS else {})

FOR_USERS = {_EMITTERS: True} if _HAS_EMITTERS else {}
"""Options of a program that is to be what users get, but for LLVM's optimisation."""
