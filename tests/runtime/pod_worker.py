"""One of several processes: `python pod_worker.py <process> <processes> <port> <out> [action]`.

Trains IMPALA on catch with a fixed order, then writes its learning curve and parameters. What the
action does at update 5 it does in process 1 only: `slow` sleeps before each row, `die` kills,
`stop` is a SIGTERM, `resume` nothing (but there is a checkpoint to go on from).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

process, processes, port = map(int, sys.argv[1:4])
out, action = Path(sys.argv[4]), sys.argv[5] if len(sys.argv) > 5 else ""
devices = 4 // processes
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402

from expedition.runtime import CheckpointConfig, Checkpoints, distributed  # noqa: E402

distributed.start(
    distributed.DistributedConfig(
        processes, process if processes > 1 else None, f"localhost:{port}", heartbeat_seconds=10
    ),
    "cpu",
)

import small_runs  # noqa: E402

UPDATES = 12
settings = small_runs.config(
    "impala",
    UPDATES,
    actors=4 // processes,
    unrolls_per_batch=4,
    learner_devices=tuple(range(devices)),
)
rows = []


def log(row):
    rows.append(row)
    if process == 1 and action == "slow":
        time.sleep(0.5)
    if process == 1 and row["updates"] == 5 and action in ("die", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if action == "die" else signal.SIGTERM)


first = process * settings.actors
environments = [small_runs.sleepy(small_runs.catch(first + i)) for i in range(settings.actors)]
saved = Checkpoints(out / "checkpoints", CheckpointConfig(checkpoint_updates=4))
result, _ = small_runs.run(
    "impala", settings, environments=environments, log=log, checkpoints=saved
)
saved.close()
params = [float(x) for leaf in jax.tree.leaves(result.params) for x in leaf.ravel()]
curve = small_runs.curve(rows)
content = {"params": params, "curve": curve, "exit": result.exit_state}
(out / f"{processes}_{process}.json").write_text(json.dumps(content))
print(f"process {process}: {result.exit_state} after {result.counters['updates']} updates")
