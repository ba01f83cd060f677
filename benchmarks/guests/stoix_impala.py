"""Times Stoix's Sebulba IMPALA on EnvPool's CartPole; runs in the peer's environment.

Runs in Stoix's folder; arguments are those of its own command. Prints lines of JSON: actions so
far, and the mean return and number of the episodes that ended since the last.
"""

import json
import runpy

import numpy as np
from stoix.utils.logger import LogEvent, StoixLogger


def log(self, metrics, t, t_eval, event) -> None:
    """In place of the console's."""
    del self, t_eval
    if event not in (LogEvent.MISC, LogEvent.ACT):
        return
    returns = np.asarray(metrics.get("episode_return", ())).reshape(-1)
    mean = float(returns.mean()) if returns.size else 0.0
    print(json.dumps({"steps": int(t), "return": mean, "episodes": returns.size}), flush=True)


if __name__ == "__main__":
    StoixLogger.log = log
    runpy.run_path("stoix/systems/impala/sebulba/ff_impala.py", run_name="__main__")
