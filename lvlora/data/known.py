"""The data that settings name, with the columns set apart whose future is known.

A season, a temperature, a quota: such columns are read, not forecast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import text_of
from lvlora.data.files import read_dataset
from lvlora.data.files.tables import check_columns
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.errors import DataError, SettingsError
from lvlora.narrator import Narrator
from lvlora.settings.shared import InputSettings, KnownSettings


def read_known(data: Dataset | Path, settings: InputSettings) -> Dataset:
    """Read the trajectories of a file, and set the columns apart whose future is known.

    Raises:
        DataError, SettingsError: as `read_dataset` and `with_known`.
    """
    known = settings.known if isinstance(settings, KnownSettings) else None
    if isinstance(data, Dataset):
        return with_known(data, known) if known and not data.known else data
    if not known:
        return read_dataset(data, settings)
    columns = settings.columns
    if columns is not None:
        columns = (*(name for name in known if name not in columns), *columns)
    return with_known(read_dataset(data, settings.model_copy(update={"columns": columns})), known)


def with_known(dataset: Dataset, known: Sequence[str]) -> Dataset:
    """Set columns apart whose future is known; the others are forecast.

    Rows after the last one with a value in any other column are the future of the known ones.

    Raises:
        DataError: there is no such column, or nothing is left to forecast.
    """
    names = check_columns(known, dataset.variables, dataset.source, "--known")
    rest = [i for i, name in enumerate(dataset.variables) if name not in names]
    if not rest:
        raise DataError(
            "--known names every column: nothing is left to forecast", "Name fewer of them."
        )
    places = [dataset.variables.index(name) for name in names]
    series = []
    for one in dataset:
        has_value = np.flatnonzero(np.isfinite(one.values[:, rest]).any(axis=1))
        past = one.steps(0, int(has_value[-1]) + 1 if len(has_value) else len(one))
        values = past.values[:, rest].copy()
        series.append(replace(past, values=values, known=one.values[:, places]))
    variables = tuple(dataset.variables[i] for i in rest)
    return replace(dataset, series=tuple(series), variables=variables, known=names)


def known_ahead(history: Series, horizon: int, names: Sequence[str] = ()) -> FloatArray:
    """Return (T + H, K) the known columns of a history and of the steps to be forecast.

    Raises:
        DataError: they are not known so far.
    """
    if history.known is None:
        return np.empty((len(history) + horizon, 0))
    called = f" {', '.join(names)}" if names else ""
    n_ahead = len(history.known) - len(history)
    if n_ahead < horizon:
        raise DataError(
            f"series {history.id!r}: the known columns{called} are known for {n_ahead} steps after "
            f"the last, and {horizon} are to be forecast",
            "Add rows with their values (the others left empty), or forecast fewer steps by "
            "--horizon, or those that the file has by --holdout.",
        )
    wanted = history.known[: len(history) + horizon]
    missing = np.argwhere(~np.isfinite(wanted[len(history) :]))
    if len(missing):
        step, column = missing[0].tolist()
        name = f" {names[column]}" if names else f" {column + 1}"
        ahead = history.ahead
        when = "" if ahead is None else f" at {text_of(history.calendar, float(ahead[step]))}"
        raise DataError(
            f"series {history.id!r}: the known column{name} has no value{when}, which is to be "
            "forecast",
            "Its future must be known at every step: fill it in, or leave the column out.",
        )
    return wanted


def read_data(settings: InputSettings, narrator: Narrator) -> Dataset:
    """Read the data set of ``data``, and pass the reader's notes and warnings to the narrator.

    Raises:
        DataError: the file cannot be used.
        SettingsError: standard input is a terminal, where nobody would know to type.
    """
    if settings.data is None:
        simulated = SimulateSettings()
        narrator.note(
            f"No data given: simulating {simulated.n_series} trajectories "
            "(lvlora simulate writes them to a file)."
        )
        return simulate(simulated, narrator)
    if settings.data == Path("-") and sys.stdin.isatty():
        raise SettingsError(
            "standard input is a terminal; there is no CSV to read.",
            "Pipe a file in (… < data.csv), or give its name.",
        )
    dataset = read_known(settings.data, settings)
    for note in dataset.notes:
        narrator.note(note)
    for warning in dataset.warnings:
        narrator.warning(warning)
    return dataset
