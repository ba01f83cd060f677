"""One of several processes.

    python pod_worker.py <process> <processes> <port> <out> <kind> <action>

Trains a small run of that kind in a fixed order, then writes its learning curve and parameters.
What the action does at update 5 it does in process 1 only, or in process 0 if it ends with
`_as_coordinator`: `slow` sleeps before each row, `stuck`
sleeps on, `die` kills, `stop` is a SIGTERM, `raise` is an
exception, `resume` nothing (but there is a checkpoint to go on from).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

process, processes, port = map(int, sys.argv[1:4])
out, (kind, action) = Path(sys.argv[4]), sys.argv[5:]
actor = 0 if action.endswith("_as_coordinator") else 1
action = action.removesuffix("_as_coordinator")
devices = 4 // processes
# Of two such flags the last one counts.
os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={devices}"

import jax  # noqa: E402

from expedition.runtime import CheckpointConfig, Checkpoints  # noqa: E402
from expedition.runtime.distributed import DistributedConfig, joined  # noqa: E402

UPDATES = 12
rows = []


def log(row):
    rows.append(row)
    if process != actor:
        return
    if action == "slow":
        time.sleep(0.5)
    if row["updates"] == 5 and action in ("die", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if action == "die" else signal.SIGTERM)
    if row["updates"] == 5 and action == "stuck":
        time.sleep(1000)
    if row["updates"] == 5 and action == "raise":
        raise RuntimeError("process 1 has had enough")


def main():
    import small_runs  # computes: not before the processes have joined

    settings = small_runs.config(
        kind,
        UPDATES,
        actors=4 // processes,
        unrolls_per_batch=4,
        learner_devices=tuple(range(devices)),
        stall_timeout=10.0 if action == "stuck" else 1800.0,
    )
    first, make = process * settings.actors, small_runs.KINDS[kind][1]
    environments = [small_runs.sleepy(make(first + i)) for i in range(settings.actors)]
    saved = Checkpoints(out / "checkpoints", CheckpointConfig(checkpoint_updates=4))
    result, _ = small_runs.run(
        kind, settings, environments=environments, log=log, checkpoints=saved
    )
    saved.close()
    params = [float(x) for leaf in jax.tree.leaves(result.params) for x in leaf.ravel()]
    content = {"params": params, "curve": small_runs.curve(rows), "exit": result.exit_state}
    (out / f"{processes}_{process}.json").write_text(json.dumps(content))


config = DistributedConfig(
    processes, process if processes > 1 else None, f"localhost:{port}", heartbeat_seconds=10
)
with joined(config, "cpu"):
    main()
