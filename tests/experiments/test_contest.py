"""Contests with other people's programs: what is read off a run, without any of theirs."""

import sys

import pytest

pytest.importorskip("matplotlib")

from benchmarks import contest, peers
from experiments import figures, scaling_plots

SLEEPER = """
import json, time
for i in range(1, {lines} + 1):
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    print(json.dumps({{"steps": 100 * i, "return": 0.1 * i, "episodes": 20}}), flush=True)
print("no JSON")
{last}
"""


def watch(tmp_path, monkeypatch, lines=20, last="", **settings):
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    script = SLEEPER.format(lines=lines, last=last)
    return contest.watch(peers.Command((sys.executable, "-c", script)), **settings)


def test_what_is_seen_of_a_run(tmp_path, monkeypatch):
    run = watch(tmp_path, monkeypatch, target=0.5, stop=False)
    assert 0 < run.rate <= 100 / 0.02  # a busy machine makes fewer
    # 20 ms of one core for 100 steps; the clock ticks 100 times a second.
    assert 0.5 * 200 < run.cost < 1.5 * 200
    # The last hundred episodes are five lines of twenty: of 0.3 to 0.7.
    assert run.seconds >= 7 * 0.02
    assert run.cpu > 0


def test_a_run_may_be_ended_at_its_target(tmp_path, monkeypatch):
    run = watch(tmp_path, monkeypatch, lines=10**6, target=0.5, stop=True)
    assert run.seconds is not None


def test_a_target_that_is_not_reached_is_none(tmp_path, monkeypatch):
    run = watch(tmp_path, monkeypatch, lines=4, target=0.0, stop=False)
    assert run.seconds is None  # eighty episodes are too few


def test_a_peer_that_fails_says_how(tmp_path, monkeypatch):
    with pytest.raises(peers.PeerError, match="ZeroDivisionError"):
        watch(tmp_path, monkeypatch, last="1 / 0", target=0.5, stop=False)


def test_an_installation_that_fails_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    with pytest.raises(peers.PeerError, match="failed"):
        peers.Peer("none", (), str(tmp_path / "nowhere"), "abc").fetch()


def test_scaling_is_redrawn_from_tables_alone(tmp_path, capsys):
    folder = tmp_path / "scaling"
    ends = {"": 10, "_least": 9, "_largest": 12}
    kinds = ("per_second", "per_core_second")
    numbers = {"cores": 2} | {kind + end: n for kind in kinds for end, n in ends.items()}
    tables = {
        scaling_plots.ACTORS: [{"environment": "catch", "actors": k, **numbers} for k in (1, 2)],
        scaling_plots.AGENTS: [
            {"algorithm": "seed_lsvi", "agents": k, **numbers} for k in (1, 1000)
        ],
        scaling_plots.DEVICES: [
            {"agent": "IMPALA", "devices": d, "all-reduce": 8, "all-gather": 0} for d in (1, 2)
        ],
    }
    for name, rows in tables.items():
        scaling_plots.write(folder / name, rows)
    figures.redraw((tmp_path,))
    drawn = capsys.readouterr().out.split()
    assert sorted(drawn) == sorted(str(folder / name).replace("csv", "png") for name in tables)
