"""The runtime: actor threads, queue, `pmap` learner, supervision, metrics, the run's record."""

from expedition.runtime.channel import BoundedQueue, QueueClosed
from expedition.runtime.checkpoint import CheckpointConfig, Checkpoints, saved_updates
from expedition.runtime.config import RuntimeConfig, select_devices
from expedition.runtime.evaluation import Evaluation, evaluate
from expedition.runtime.keys import named_key
from expedition.runtime.memory import give_large_arrays_back
from expedition.runtime.prefetch import AXIS
from expedition.runtime.run import NonFiniteError
from expedition.runtime.simulator import Outcome, Problem, Running, Simulation, simulate, simulation
from expedition.runtime.supervision import StopRequest, stop_on_signals
from expedition.runtime.train import TrainResult, train

__all__ = [
    "AXIS",
    "BoundedQueue",
    "CheckpointConfig",
    "Checkpoints",
    "Evaluation",
    "NonFiniteError",
    "Outcome",
    "Problem",
    "QueueClosed",
    "Running",
    "RuntimeConfig",
    "Simulation",
    "StopRequest",
    "TrainResult",
    "evaluate",
    "give_large_arrays_back",
    "named_key",
    "saved_updates",
    "select_devices",
    "simulate",
    "simulation",
    "stop_on_signals",
    "train",
]
