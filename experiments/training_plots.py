"""Pictures and summaries of compared trainings, from their tables alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from experiments.curves import read
from experiments.trainings import Point, Training

LAG, COMPARISON, TASKS = "lag.csv", "comparison.csv", "tasks.csv"
LABELS = {
    "impala": "IMPALA (V-trace)",
    "uncorrected": "no correction",
    "a2c": "A2C",
    "a3c": "A3C",
    "lstm": "LSTM",
    "feedforward": "no memory",
    "gaussian": "real actions",
    "seeded_impala": "seeded IMPALA",
}
ORDER = list(LABELS)
Curves = dict[Training, list[Point]]


def draw(folder: Path) -> list[Path]:
    """Draws what the folder has of tables."""
    lag, comparison, tasks = (_read(folder / name) for name in (LAG, COMPARISON, TASKS))
    drawn = [_reached(folder, lag), _by_lag(folder, lag)] if lag else []
    drawn += [_comparison(folder, comparison)] if comparison else []
    return drawn + ([_learning(folder, tasks)] if tasks else [])


def summary(path: Path) -> str:
    """A table: of each kind of training medians over seeds, with the least and the largest."""
    names = ("method", "lag (largest)", "seeds", "return at the end", "mean return", "steps/s", "s")
    rows = [names, ["---"] * len(names)]
    for kind, curves in _by(_read(path), lambda training: (training.method, training.lag)).items():
        last = [points[-1] for points in curves.values()]
        lag = np.mean([point.lag_mean for points in curves.values() for point in points])
        largest = max(point.lag_max for points in curves.values() for point in points)
        whole = [[point.training_return for point in points] for points in curves.values()]
        rows.append(
            [
                LABELS[kind[0]],
                f"{lag:.1f} ({largest:g})",
                str(len(curves)),
                _spread([point.final_return for point in last], ".2f"),
                _spread([float(np.nanmean(returns)) for returns in whole], ".2f"),
                _spread([point.steps_per_second for point in last], ",.0f"),
                _spread([point.seconds for point in last], ".1f"),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _spread(values: Sequence[float], form: str) -> str:
    few = (np.median(values), min(values), max(values))
    return "{} ({} to {})".format(*(format(x, form) for x in few))


def _read(path: Path) -> Curves:
    found: Curves = {}
    for point in read(path, Point) if path.exists() else []:
        found.setdefault(point.curve, []).append(point)
    return found


def _by(curves: Curves, name: Callable[[Training], Any]) -> dict[Any, Curves]:
    """Groups the curves by the names of their trainings, methods in the order of `ORDER`."""
    found: dict[Any, Curves] = {}
    for training in sorted(curves, key=lambda one: (ORDER.index(one.method), *one)):
        found.setdefault(name(training), {})[training] = curves[training]
    return found


def _colour(method: str) -> str:
    return f"C{ORDER.index(method)}"


def _reached(folder: Path, curves: Curves) -> Path:
    """What is reached at the end, over the lag: every seed, and their median."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no screen needed

    lags = sorted({training.lag for training in curves})
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    groups = _by(curves, lambda training: training.method)
    for i, (method, own) in enumerate(groups.items()):
        shift = 0.12 * (i - (len(groups) - 1) / 2)  # beside each other
        at = {lag: [p[-1].final_return for t, p in own.items() if t.lag == lag] for lag in lags}
        known = [(lags.index(lag) + shift, values) for lag, values in at.items() if values]
        x, medians = zip(*((place, np.median(values)) for place, values in known), strict=True)
        axes.plot(x, medians, color=_colour(method), label=LABELS[method])
        for place, values in known:
            axes.plot([place] * len(values), values, ".", color=_colour(method), alpha=0.6)
    axes.set_xticks(range(len(lags)), [str(lag) for lag in lags])
    name = f"{_environment(curves)}: after training (median, and each seed)"
    plots.finish(axes, "policy lag (updates)", "return of the greedy policy", name)
    return plots.save(figure, folder / "lag.png")


def _by_lag(folder: Path, curves: Curves) -> Path:
    """The curves of each lag."""
    from matplotlib.figure import Figure

    groups = sorted(_by(curves, lambda training: training.lag).items())
    figure = Figure(figsize=(3 * len(groups), 3.2), layout="constrained")
    row = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (lag, group) in zip(row, groups, strict=True):
        _curves(axes, group, "updates")
        axes.axvline(
            lag, color="grey", linestyle=":", linewidth=1
        )  # the first data of a newer policy
        plots.finish(axes, "updates", "return while acting", f"lag {lag}")
        if axes is not row[0]:
            axes.get_legend().remove()
            axes.set_ylabel("")
    return plots.save(figure, folder / "lag_curves.png")


def _comparison(folder: Path, curves: Curves) -> Path:
    """Curves over steps and over time, speed, and policy lag."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    (steps, seconds), (speed, lag) = figure.subplots(2, 2)
    name = _environment(curves)
    _curves(steps, curves, "env_steps")
    plots.finish(steps, "environment steps", "return while acting", name)
    steps.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k: there is no room for zeros
    _curves(seconds, curves, "seconds")
    plots.finish(seconds, "seconds since the first update", "return while acting", name)
    groups = _by(curves, lambda training: training.method)
    for i, (method, own) in enumerate(groups.items()):
        colour, label = _colour(method), LABELS[method]
        values = [points[-1].steps_per_second for points in own.values()]
        speed.bar(i, np.median(values), color=colour, alpha=0.4, label=label)
        speed.plot([i] * len(values), values, ".", color=colour)
        for j, points in enumerate(own.values()):
            x = [point.updates for point in points]
            middle = [point.lag_mean for point in points]
            lag.plot(x, middle, color=colour, alpha=0.6, label=label if j == 0 else None)
    speed.set_xticks([])
    plots.finish(speed, "", "steps learnt from, a second", "speed (median, and each seed)")
    lag.set_ylim(bottom=-0.2)
    plots.finish(lag, "updates", "policy lag (updates)", "measured lag, each seed")
    return plots.save(figure, folder / "comparison.png")


def _learning(folder: Path, curves: Curves) -> Path:
    """Each seed's curve over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for method, own in _by(curves, lambda training: training.method).items():
        for i, points in enumerate(own.values()):
            x, y = [p.env_steps for p in points], [p.training_return for p in points]
            axes.plot(x, y, color=_colour(method), alpha=0.7, label=None if i else LABELS[method])
    title = f"{_environment(curves)}: each seed"
    plots.finish(axes, "environment steps (actions)", "return while acting", title)
    return plots.save(figure, folder / "tasks.png")


def _environment(curves: Curves) -> str:
    return ", ".join(sorted({training.environment for training in curves}))


def _curves(axes: Any, curves: Curves, x: str) -> None:
    """Each method's median over seeds, and all between the least and the largest.

    Seeds reach a number of steps or seconds at different parts, so values there are interpolated.
    """
    for method, own in _by(curves, lambda training: training.method).items():
        last = min(getattr(points[-1], x) for points in own.values())
        first = max(getattr(points[0], x) for points in own.values())
        grid = np.linspace(first, last, 200)
        values = []
        for points in own.values():
            known = [point for point in points if not np.isnan(point.training_return)]
            if known:
                at = [getattr(point, x) for point in known]
                values.append(np.interp(grid, at, [point.training_return for point in known]))
        if values:
            axes.plot(grid, np.median(values, 0), color=_colour(method), label=LABELS[method])
            between = np.min(values, 0), np.max(values, 0)
            axes.fill_between(grid, *between, color=_colour(method), alpha=0.15, linewidth=0)
