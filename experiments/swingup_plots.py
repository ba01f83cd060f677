"""Pictures of the cart-pole swing-up's curves and teams, from their tables alone."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from experiments.curves import Curve, read

TEAM = 100  # agents of a team that are kept to be drawn
PUBLISHED = Path(__file__).parent / "published" / "swingup.csv"
SHOWN = (10, 20, 30)  # s
PERIODS = ((0, 5), (5, 10), (10, 15), (15, 20), (20, 25), (25, 30))  # s


def draw(folder: Path) -> list[Path]:
    """Draws the curves of each goal, where teams have been, and teams in motion."""
    path = folder / "swingup.csv"
    if not path.exists():
        return []
    curves = _curves(folder)
    goals = sorted({goal for _, _, goal in curves})
    drawn = [_picture(folder, goal, curves) for goal in goals]
    drawn += [visits(team) for team in sorted(folder.glob("team_seed_td_[0-9]*.npz"))]
    seed, greedy = (
        sorted(folder.glob(f"team_{name}_[0-9]*_scaled.npz")) for name in ("seed_td", "dqn")
    )
    if seed and greedy:
        teams = (max(team, key=_agents) for team in (seed, greedy))
        drawn.append(animation(*teams, folder / "team.gif"))
    return drawn


def published() -> dict[tuple[str, int], list[tuple[float, float]]]:
    """The digitised (second, reward) of (algorithm, agents)."""
    curves: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            curve = curves.setdefault((row["algorithm"], int(row["agents"])), [])
            curve.append((float(row["second"]), float(row["mean_reward"])))
    return curves


def comparison(folder: Path) -> str:
    """A line for each curve: rewards at the times `SHOWN`, and when it reaches .5."""
    theirs, lines = published(), []
    for (algorithm, agents, goal), (seconds, rewards) in _curves(folder).items():
        mean, error = rewards.mean(0), rewards.std(0) / max(1, len(rewards) - 1) ** 0.5
        at = [int(np.argmin(abs(seconds - s))) for s in SHOWN if s <= seconds[-1]] or [-1]
        known = (f" ± {error[i]:.3f}" if len(rewards) > 1 else "" for i in at)
        text = "  ".join(f"{mean[i]:6.3f}{e}" for i, e in zip(at, known, strict=True))
        times = ", ".join(f"{seconds[i]:g}" for i in at)
        reached = seconds[mean >= 0.5][0] if (mean >= 0.5).any() else None
        line = f"{plots.LABELS[algorithm]:18} K {agents:<4} {goal:7} at {times} s: {text}"
        line += f"   .5 at {reached:g} s" if reached is not None else "   .5 never"
        same = algorithm.removesuffix("_printed"), agents
        if same in theirs:
            x, y = np.array(theirs[same]).T
            values = np.interp(seconds[at], x, y)
            line += "   published " + " ".join(f"{v:.2f}" for v in values)
        lines.append(line)
    return "\n".join(lines)


def _curves(folder: Path) -> dict[tuple[str, int, str], tuple[np.ndarray, np.ndarray]]:
    """Seconds `[T]` and rewards `[instances, T]` of each (algorithm, agents, goal)."""
    points: dict[Curve, list[tuple[float, float]]] = {}
    for point in read(folder / "swingup.csv"):
        points.setdefault(point.curve, []).append((point.second, point.mean_reward))
    kinds = sorted(
        {(c.algorithm, c.agents, c.goal) for c in points}, key=lambda k: (k[2], k[0], -k[1])
    )
    found = {}
    for algorithm, agents, goal in kinds:
        one = [
            np.array(p)
            for c, p in points.items()
            if (c.algorithm, c.agents, c.goal) == (algorithm, agents, goal)
        ]
        found[algorithm, agents, goal] = one[0][:, 0], np.array([p[:, 1] for p in one])
    return found


def _picture(folder: Path, goal: str, curves: dict[Any, Any]) -> Path:
    """Means, spread over instances, and what was published."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes, theirs = figure.add_subplot(), published()
    own = {kind: curve for kind, curve in curves.items() if kind[2] == goal}
    sizes = sorted({agents for algorithm, agents, _ in own if algorithm != "dqn"}, reverse=True)
    for (algorithm, agents, _), (seconds, rewards) in own.items():
        color = "0.4" if algorithm == "dqn" else f"C{sizes.index(agents)}"
        style = "--" if algorithm == "seed_td_printed" else "-"
        label = f"{plots.LABELS[algorithm]}, K = {agents}"
        axes.plot(seconds, rewards.mean(0), style, color=color, label=label)
        if style == "-":
            low, high = rewards.min(0), rewards.max(0)
            axes.fill_between(seconds, low, high, color=color, alpha=0.15, lw=0)
        if (algorithm, agents) in theirs:
            x, y = np.array(theirs[algorithm, agents]).T
            axes.plot(x, y, ":", marker=".", color=color, lw=1)
    title = f"{goal} goal; band: all instances; dotted: published"
    plots.finish(axes, "seconds of interaction", "instantaneous reward per agent", title)
    return plots.save(figure, folder / f"swingup_{goal}.png")


def read_team(path: Path) -> dict[str, np.ndarray]:
    """Where each agent of a team was: `second` [T], and [T, K] `angle`, `spin` and `position`."""
    with np.load(path) as file:
        return dict(file)


def visits(team: Path) -> Path:
    """Where a team has been: angle and spin above, angle and position below, as time goes on."""
    from matplotlib.figure import Figure

    data = read_team(team)
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    rows = figure.subplots(2, len(PERIODS), sharex=True, sharey="row")
    angle = (data["angle"].astype(float) + np.pi) % (2 * np.pi) - np.pi
    for column, (begin, end) in zip(rows.T, PERIODS, strict=True):
        at = (data["second"] > begin) & (data["second"] <= end)
        for axes, name, limit in zip(column, ("spin", "position"), (16, 2), strict=True):
            axes.hist2d(
                angle[at].ravel(),
                np.clip(data[name][at].astype(float).ravel(), -limit, limit),
                bins=(48, 40),
                range=((-np.pi, np.pi), (-limit, limit)),
                cmap="magma_r",
                norm="symlog",
            )
        column[0].set_title(f"{begin} to {end} s", fontsize="small")
        column[1].set_xticks([-np.pi, 0, np.pi], ["hanging", "up", "hanging"], fontsize="x-small")
    rows[0, 0].set_ylabel("spin, rad/s")
    rows[1, 0].set_ylabel("position, m")
    return plots.save(figure, team.with_name(team.stem.replace("team", "visits") + ".png"))


def animation(seed: Path, greedy: Path, path: Path) -> Path:
    """Both teams' poles through the whole time, one upon the other."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    teams = [read_team(seed), read_team(greedy)]
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    lines = []
    for axes, name in zip(
        figure.subplots(1, 2),
        (f"seed TD, {_agents(seed)} agents", "epsilon-greedy DQN"),
        strict=True,
    ):
        axes.set(xlim=(-2.4, 2.4), ylim=(-1.2, 1.2), aspect="equal", title=name, yticks=[])
        axes.axhline(0, color="0.6", lw=1)
        lines.append(LineCollection([], color="C0", alpha=0.25, lw=1.2))
        axes.add_collection(lines[-1])

    def show(frame: int) -> list[Any]:
        for team, line in zip(teams, lines, strict=True):
            x, angle = (team[name][frame].astype(float) for name in ("position", "angle"))
            ends = np.stack([x + np.sin(angle), np.cos(angle)], axis=-1)
            line.set_segments(np.stack([np.stack([x, 0 * x], axis=-1), ends], axis=1))
        figure.suptitle(f"{teams[0]['second'][frame]:.1f} s", fontsize="small")
        return lines

    frames = min(len(team["second"]) for team in teams)
    FuncAnimation(figure, show, range(0, frames, 2)).save(path, PillowWriter(fps=10), dpi=70)
    return path


def _agents(team: Path) -> int:
    return int(team.stem.split("_")[-2])
