"""expedition: reinforcement learning with many actors and with many explorers, in JAX.

Importing this package touches no device and imports no subpackage.
"""

__version__ = "0.1.0"
