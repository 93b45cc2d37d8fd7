"""Forecasts as files: tables, drawn futures, pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lvlora import output_files
from lvlora.data.dates import written
from lvlora.data.files.csv import csv_text
from lvlora.errors import SettingsError
from lvlora.forecast.dataset_forecast import DatasetForecast
from lvlora.forecast.settings import ForecastSettings
from lvlora.output_files import Kind

FORECAST = output_files.table("a table of forecasts", r"id,[^,\n]*,variable,median,mean,")
SAMPLES = output_files.table("a table of drawn futures", r"id,sample,")
HDF5_SUFFIXES = (".h5", ".hdf5")


def _has_samples(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path) as file:
            return {"samples", "time", "id"} <= set(file)
    except OSError:
        return False


SAMPLES_HDF5 = Kind(
    "an HDF5 file of drawn futures", re.compile(rb"\x89HDF\r\n\x1a\n"), _has_samples
)


def _is_hdf5(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() in HDF5_SUFFIXES


def check_samples(path: Path | None) -> None:
    """SettingsError where the suffix says no format that drawn futures are written in."""
    if path is not None and not _is_hdf5(path) and path.suffix.lower() != ".csv":
        raise SettingsError(
            f"--samples-out {path}: no format has the suffix '{path.suffix}'",
            f"Use one of .csv, {', '.join(HDF5_SUFFIXES)}.",
        )


def kinds(settings: ForecastSettings) -> list[tuple[str, Path | None, Kind | None]]:
    """Option, path and kind of each file that is asked for; a picture has no kind."""
    samples = settings.samples_out
    return [
        ("--output", settings.output, FORECAST),
        ("--samples-out", samples, SAMPLES_HDF5 if _is_hdf5(samples) else SAMPLES),
        ("--plot", settings.plot, None),
    ]


def paths(settings: ForecastSettings) -> list[str]:
    """Return the files that `write` makes."""
    named = (settings.output, settings.samples_out, settings.plot)
    return [str(path) for path in named if path not in (None, output_files.STANDARD_OUTPUT)]


def write(settings: ForecastSettings, result: DatasetForecast) -> None:
    """Write the files of --output, --samples-out and --plot."""
    if settings.output is not None and settings.output != output_files.STANDARD_OUTPUT:
        output_files.write_text(settings.output, result.as_csv())
    if settings.samples_out is not None:
        write_samples(settings.samples_out, result)
    if settings.plot is not None:
        from lvlora.report.drawing import style

        with output_files.writing(settings.plot) as part:
            style.save(result.plot(), part)


def write_samples(path: Path, result: DatasetForecast) -> None:
    """Every drawn future, in the format of the suffix.

    - CSV: a row a series, sample and time, a column a variable.
    - HDF5: ``/samples`` (series, samples, steps, variables) with the attribute ``variables``,
      ``/time`` (series, steps), texts where they are dates, ``/id``.
    """
    if _is_hdf5(path):
        with output_files.writing(path) as part:
            _write_hdf5(part, result)
        return
    rows = [
        [f.series, s, t, *map(float, f.samples[s, h])]
        for f in result.forecasts
        for s in range(len(f.samples))
        for h, t in enumerate(written(f.calendar, f.time))
    ]
    head = ["id", "sample", result.histories.time_name, *result.histories.variables]
    output_files.write_text(path, csv_text(head, rows))


def _write_hdf5(path: Path, result: DatasetForecast) -> None:
    import h5py

    forecasts, variables = result.forecasts, result.histories.variables
    times = np.array([written(f.calendar, f.time) for f in forecasts])
    stored = times if times.dtype.kind == "f" else np.char.encode(times)
    with h5py.File(path, "w") as file:
        samples = file.create_dataset("samples", data=np.stack([f.samples for f in forecasts]))
        samples.attrs["variables"] = np.array([v.encode() for v in variables], dtype="S")
        file.create_dataset("time", data=stored)
        file.create_dataset("id", data=np.array([f.series.encode() for f in forecasts], dtype="S"))
