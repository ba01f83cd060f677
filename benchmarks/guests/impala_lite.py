"""Times Haiku's example `impala_lite.py`; runs in the peer's environment.

Arguments: the example's path and the trajectories of each of its two actors. Prints lines of JSON:
frames learnt from so far, and the mean return and number of the episodes that ended since the last.
"""

import importlib.util
import json
import sys
import time

PERIOD_S = 0.25


def load(path):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("impala_lite", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(frames, returns) -> None:
    """Prints a line."""
    mean = sum(returns) / max(len(returns), 1)
    print(json.dumps({"steps": frames, "return": mean, "episodes": len(returns)}), flush=True)


def main(path: str, trajectories: int) -> None:
    """Runs the example with its own settings, watching its learner and its environments."""
    example = load(path)
    returns, state = [], {"updates": 0, "printed": 0.0}
    update, step = example.Learner.update, example.catch.Catch.step

    def watched_step(self, action):
        timestep = step(self, action)
        if timestep.last():
            returns.append(float(timestep.reward))
        return timestep

    def watched_update(self, *arguments):
        result = update(self, *arguments)
        state["updates"] += 1
        if time.perf_counter() - state["printed"] > PERIOD_S:
            state["printed"] = time.perf_counter()
            taken = [returns.pop(0) for _ in range(len(returns))]
            report(state["updates"] * 2 * 20, taken)
        return result

    example.catch.Catch.step, example.Learner.update = watched_step, watched_update
    example.run(trajectories_per_actor=trajectories, num_actors=2, unroll_len=20)
    report(state["updates"] * 2 * 20, returns)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
