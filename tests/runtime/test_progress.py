"""What a log file is told of a run."""

import io

from rich.console import Console

from expedition.runtime.progress import ProgressLine


def row(updates, seconds, rate, mean=float("nan")):
    return {
        "updates": updates,
        "env_steps": 10 * updates,
        "env_steps_per_second": 10 * rate,
        "updates_per_second": rate,
        "wall_seconds": seconds,
        "return_mean": mean,
        "policy_lag_mean": 1.0,
        "queue_depth": 2,
    }


def test_the_time_left_is_by_the_rate_since_the_start():
    out = io.StringIO()
    with ProgressLine(100, Console(file=out)) as line:
        line.write(row(10, 1.0, 0.0))  # there was no update before it
        line.write(row(30, 11.0, 0.1, mean=0.5))  # of the last window, which had a stall
        line.write(row(50, 21.0, 5.0))
    said = out.getvalue().splitlines()
    assert [text.rpartition("queue 2")[2] for text in said] == ["", ", 35 s left", ", 25 s left"]
    assert [text.split("return ")[1].split()[0] for text in said] == ["-", "0.50", "0.50"]
