"""What every program in this folder needs: read a task, write forecasts of it.

A task is a folder that ``lvlora evaluate DATA --export-task FOLDER`` writes: the histories, and
what is asked. Python's own library and numpy are enough to read it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Forecaster = Callable[["Task"], tuple[Sequence[float], list[np.ndarray]]]


@dataclass
class Task:
    """What is asked.

    Attributes:
        name: identifies it; the file of forecasts repeats it.
        horizon: steps to forecast.
        variables: names of the columns of each history.
        ids: names of the series; histories: theirs, (steps, variables), NaN where missing.
    """

    name: str
    horizon: int
    variables: list[str]
    ids: list[str]
    histories: list[np.ndarray]


def read(folder: str | Path) -> Task:
    """The task of a folder."""
    asked = json.loads((Path(folder) / "task.json").read_text(encoding="utf-8"))
    ids = [series["id"] for series in asked["series"]]
    rows: dict[str, list[list[float]]] = {name: [] for name in ids}
    with (Path(folder) / "histories.csv").open(encoding="utf-8", newline="") as stream:
        table = csv.reader(stream)
        next(table)  # id, time, and the variables in their order
        for name, _, *cells in table:
            # lvlora puts ' before a name that a spreadsheet would run
            known = name if name in rows else name.removeprefix("'")
            rows[known].append([float(cell) if cell else np.nan for cell in cells])
    histories = [np.array(rows[name]) for name in ids]
    return Task(asked["task"], asked["horizon"], asked["variables"], ids, histories)


def without_gaps(history: np.ndarray) -> np.ndarray:
    """A history (steps, variables) with straight lines through its gaps."""
    filled = history.copy()
    steps = np.arange(len(history))
    for column in filled.T:
        known = np.isfinite(column)
        column[:] = np.interp(steps, steps[known], column[known]) if known.any() else 0.0
    return filled


def write(
    file: str | Path, task: Task, levels: Sequence[float], quantiles: Sequence[np.ndarray]
) -> None:
    """Write the forecasts of all series as ``lvlora evaluate --forecasts NAME=FILE`` reads them.

    Args:
        levels: probabilities of the quantiles, 0.5 among them.
        quantiles: for each series (levels, horizon, variables).
    """
    with Path(file).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["series", "step", "variable", "quantile", "value", "task"])
        for name, of_series in zip(task.ids, quantiles, strict=True):
            for level, of_level in zip(levels, of_series, strict=True):
                for step, of_step in enumerate(of_level, start=1):
                    for variable, value in zip(task.variables, of_step, strict=True):
                        table.writerow([name, step, variable, level, float(value), task.name])


def main(forecast: Forecaster) -> None:
    """Read the folder and write the file that the command line names."""
    if len(sys.argv) != 3:
        sys.exit(f"Usage: python {sys.argv[0]} TASK_FOLDER FORECASTS.csv")
    task = read(sys.argv[1])
    levels, quantiles = forecast(task)
    write(sys.argv[2], task, levels, quantiles)
