"""Sweeps over (algorithm, number of agents): measured to a precision, written as they go.

Each cell of a sweep is the mean of one number over many random worlds. Worlds are simulated in
batches, shared among the local devices, until the mean is known well enough; then the cell's row is
written. A sweep that is stopped and started again goes on after the last row.
"""

import csv
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro

from expedition.runtime.record import provenance, write_json
from experiments.report import Reporter

Measure = Callable[[jax.Array], jax.Array]  # keys [W] -> the number of each world [W]


class SettingsError(ValueError):
    """What was asked for can't be done; the message says why."""


class Row(NamedTuple):
    """A measured cell."""

    algorithm: str
    agents: int
    mean: float
    standard_error: float
    instances: int
    seconds: float  # of the whole cell, its compilation included


@dataclass(frozen=True)
class Precision:
    """When a mean is known well enough: at either error, or at the last instance."""

    relative: float = 0.03
    """Standard error over mean."""
    absolute: float = 0.1
    """Standard error, in the number's own unit."""
    at_least: int = 128
    """Instances, whatever the error."""
    at_most: int = 4096
    """Instances, whatever the error."""

    def __post_init__(self) -> None:
        if min(self.relative, self.absolute) < 0 or not 1 <= self.at_least <= self.at_most:
            raise ValueError(
                f"relative is {self.relative}, absolute {self.absolute}, at_least {self.at_least} "
                f"and at_most {self.at_most}; expected errors that are not negative, and at least "
                "1 and at most as many"
            )

    def reached(self, values: np.ndarray) -> bool:
        """Whether these worlds suffice."""
        if len(values) < self.at_least:
            return False
        enough = max(self.absolute, self.relative * abs(values.mean()))
        return len(values) >= self.at_most or standard_error(values) <= enough


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of the values; inf for fewer than two."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def command(
    config: type[Any],
    run: Callable[[Any], None],
    description: str | None,
    *,
    all_cores: bool = True,
) -> None:
    """A sweep's command line: parses the flags, makes every core a device, if asked to, runs.

    Ends with exit code 2 and one line if a setting is wrong, with 130 after Ctrl-C; the rows that
    are written stay, and the same command goes on after them.
    """
    prog = f"python -m experiments.{Path(sys.argv[0]).stem}"
    settings = tyro.cli(config, prog=prog, description=description)
    if all_cores:
        use_all_cores()
    try:
        run(settings)
    except (SettingsError, ModuleNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def use_all_cores() -> None:
    """Makes every core a JAX device of its own; must be called before JAX is first used."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def batches(measure: Measure, key: jax.Array, worlds: int) -> Iterator[np.ndarray]:
    """Endless batches of worlds, shared among all local devices; world i has
    the key `fold_in(key, i)`.

    Args:
        measure: simulates worlds, `[W]` keys to `[W]` numbers.
        key: of all worlds.
        worlds: in a batch, rounded up to a multiple of the number of devices.
    """
    devices = jax.local_device_count()
    each = math.ceil(worlds / devices)
    run = jax.pmap(
        lambda first: measure(
            jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jax.numpy.arange(each))
        )
    )
    start = 0
    while True:
        yield np.asarray(run(start + each * np.arange(devices))).ravel()
        start += each * devices


class Table:
    """A CSV of rows that grows; what it holds already is not measured again."""

    def __init__(self, path: Path, value_name: str) -> None:
        self._path = path
        self._header = [value_name if f == "mean" else f for f in Row._fields]
        if open_table(path):
            self._append(self._header)
        self.done = {(row.algorithm, row.agents) for row in read(path)}

    def add(self, row: Row) -> None:
        """Writes a row."""
        rounded = (f"{x:.6g}" if isinstance(x, float) else x for x in row)
        self._append(list(rounded))
        self.done.add((row.algorithm, row.agents))

    def _append(self, fields: list[Any]) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(fields)


def open_table(path: Path) -> bool:
    """Makes a table's file, or takes off a row that a stop cut short; whether nothing is in it."""
    path.touch()
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    return not path.stat().st_size


def read(path: Path) -> list[Row]:
    """The rows of a table."""
    with path.open(newline="") as file:
        lines = csv.reader(file)
        next(lines, None)
        return [Row(a, int(k), float(m), float(e), int(n), float(s)) for a, k, m, e, n, s in lines]


def open_folder(
    folder: Path,
    config: Any,
    *,
    free: tuple[str, ...] = (),
    presets: Mapping[str, Any] | None = None,
) -> None:
    """Makes the sweep's folder and writes its config and where it ran, or checks that it fits.

    Args:
        folder: the sweep's.
        config: a dataclass.
        free: names of settings that may change between starts, since no row depends on them.
        presets: dataclasses by name, of settings that rows depend on besides; a later start may
            bring others.

    Raises:
        SettingsError: a sweep with another config has begun in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    given = {x: y for x, y in dataclasses.asdict(config).items() if x not in ("out", *free)}
    for name, preset in (presets or {}).items():
        given |= _flat(name, dataclasses.asdict(preset))
    given = json.loads(json.dumps(given, default=str))
    begun = json.loads(path.read_text()) if path.exists() else given
    is_older = not any("." in name for name in begun)  # than the recording of presets
    for name in given:
        # A name with a dot is a preset's, which may be new.
        is_new_preset = name not in begun and "." in name and not is_older
        if not is_new_preset and begun.get(name) != given[name]:
            raise SettingsError(
                f"{folder} holds a sweep with {name} {begun.get(name)}, {given[name]} was given; "
                "give another --out, or remove the folder"
            )
    write_json(path, {name: x for name, x in begun.items() if "." in name} | given)
    starts = folder / "provenance.json"  # one entry a start: rows may come from several
    before = json.loads(starts.read_text()) if starts.exists() else []
    write_json(starts, [*before, provenance() | {"date": datetime.now().isoformat("T", "seconds")}])


def _flat(name: str, content: Any) -> dict[str, Any]:
    """Of nested dictionaries one, whose names are paths with dots."""
    if not isinstance(content, dict):
        return {name: content}
    parts = [_flat(f"{name}.{key}", value) for key, value in content.items()]
    return {path: value for part in parts for path, value in part.items()}


def fill(
    table: Table,
    cells: list[tuple[str, int, Measure]],
    *,
    title: str,
    key: jax.Array,
    precision: Precision,
    worlds_per_batch: Callable[[int], int],
    report: Reporter,
) -> None:
    """Measures the cells that the table lacks."""
    for algorithm, agents, measure in cells:
        if (algorithm, agents) in table.done:
            report.skip()
            continue
        report.show(f"{title} {algorithm} K {agents}: compiling")
        start = time.perf_counter()
        values = np.zeros(0)
        for batch in batches(measure, key, worlds_per_batch(agents)):
            values = np.append(values, batch)[: precision.at_most]
            report.show(
                f"{title} {algorithm} K {agents}: {values.mean():.2f} ± "
                f"{standard_error(values):.2f}, {len(values)} worlds"
            )
            if precision.reached(values):
                break
        seconds = time.perf_counter() - start
        row = Row(
            algorithm,
            agents,
            float(values.mean()),
            standard_error(values),
            len(values),
            seconds,
        )
        table.add(row)
        report.note(
            f"{title:16} {row.algorithm:20} K {row.agents:<5} {row.mean:9.3f} "
            f"± {row.standard_error:.3f}  {row.instances:5} worlds {row.seconds:6.1f} s"
        )
