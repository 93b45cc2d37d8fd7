"""A forecast as JSON, CSV, HDF5 and pictures.

Knows: the shapes of each. Does not know: how the forecast was made, terminals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import output_files
from lvlora.cli.program.results import SAMPLES as SAMPLES_TABLE
from lvlora.errors import SettingsError
from lvlora.output_files import Kind
from lvlora.series.files.formulas import csv_text
from lvlora.settings import ForecastSettings

if TYPE_CHECKING:
    from lvlora.cli.forecast_truth import Truth
    from lvlora.forecast.forecast import Forecast
    from lvlora.series.dataset import Dataset

SAMPLES = (".csv", ".h5", ".hdf5", ".json")
"""Suffixes of files for drawn futures."""


def as_json(
    forecast: Forecast, variables: Sequence[str], levels: Sequence[float]
) -> dict[str, Any]:
    """One series of the command's JSON."""
    from lvlora.series.dates import written

    median, mean = forecast.median, forecast.mean
    quantiles = {f"{q:g}": forecast.quantile(q) for q in levels}
    missing = forecast.missing_share
    return {
        "id": forecast.series,
        "time": written(forecast.calendar, forecast.time),
        "scale": forecast.scale.to_dict(),
        "context": forecast.context,
        "variables": {
            name: {
                "median": median[:, v].tolist(),
                "mean": mean[:, v].tolist(),
                "quantiles": {q: values[:, v].tolist() for q, values in quantiles.items()},
                **({"missing": missing[:, v].tolist()} if missing.any() else {}),
            }
            for v, name in enumerate(variables)
        },
    }


def as_csv(
    dataset: Dataset,
    forecasts: Sequence[Forecast],
    levels: Sequence[float],
    truth: Truth | None = None,
) -> str:
    """The long table: a row a series, time and variable."""
    from lvlora.forecast.forecast import to_rows
    from lvlora.series.dates import written

    known = () if truth is None else truth.columns
    rows = to_rows(forecasts, dataset.variables, levels, dataset.time_name, known=known)
    if dataset.calendar is not None:  # as the file writes them, not as Python does
        times = [t for f in forecasts for t in written(f.calendar, f.time)]
        for i, row in enumerate(rows):
            row[dataset.time_name] = times[i // len(dataset.variables)]
    return csv_text(list(rows[0]) if rows else [], [list(r.values()) for r in rows])


def check_samples(path: Path | None) -> None:
    """SettingsError where the suffix says no format that drawn futures are written in."""
    if path is not None and path.suffix.lower() not in SAMPLES:
        raise SettingsError(
            f"--samples-out {path}: no format has the suffix '{path.suffix}'",
            f"Use one of {', '.join(SAMPLES)}.",
        )


def samples_kind(path: Path | None) -> Kind:
    """What a file of drawn futures must be to be replaced."""
    suffix = "" if path is None else path.suffix.lower()
    if suffix == ".json":
        return output_files.JSON
    return SAMPLES_TABLE if suffix in ("", ".csv") else SAMPLES_HDF5


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


def write_files(
    settings: ForecastSettings,
    dataset: Dataset,
    forecasts: Sequence[Forecast],
    truth: Truth | None = None,
) -> list[Path]:
    """What --output, --samples-out and --plot ask for; the files that were written."""
    paths = []
    if settings.output is not None and settings.output != Path("-"):
        output_files.write_text(
            settings.output, as_csv(dataset, forecasts, settings.quantiles, truth)
        )
        paths.append(settings.output)
    if settings.samples_out is not None:
        write_samples(settings.samples_out, dataset, forecasts)
        paths.append(settings.samples_out)
    if settings.plot is not None:
        from lvlora.report.forecast import ForecastPicture, draw_forecast

        pictures = [
            ForecastPicture(
                variables=dataset.variables,
                time_name=dataset.time_name,
                history_time=history.time,
                history=history.values,
                future_time=f.time,
                median=f.median,
                bands=bands_of(f, settings.quantiles),
                truth=None if truth is None else truth.futures[i].values,
                title=f.series if len(forecasts) > 1 else "",
                calendar=dataset.calendar,
            )
            for i, (history, f) in enumerate(zip(dataset, forecasts, strict=True))
        ]
        with output_files.writing(settings.plot) as part:
            draw_forecast(part, pictures)
        paths.append(settings.plot)
    return paths


def write_samples(path: Path, dataset: Dataset, forecasts: Sequence[Forecast]) -> None:
    """Every drawn future, in the format of the suffix.

    - CSV: a row a series, sample and time, a column a variable.
    - HDF5: ``/samples`` (series, samples, steps, variables) with the attribute ``variables``,
      ``/time`` (series, steps), ``/id``.
    - JSON: ``series``, a list of ``id``, ``time`` and ``samples``: a list of steps, a list of
      variables each, for every sample; null for a missing value.
    """
    from lvlora.cli.terminal.output import jsonable
    from lvlora.series.dates import written

    suffix = path.suffix.lower()
    if suffix == ".json":
        series = [
            {
                "id": f.series,
                "time": written(f.calendar, f.time),
                "samples": f.samples.tolist(),
            }
            for f in forecasts
        ]
        whole = {"schema_version": 1, "variables": dataset.variables, "series": series}
        output_files.write_text(path, json.dumps(jsonable(whole), allow_nan=False) + "\n")
    elif suffix == ".csv":
        rows = [
            [f.series, s, t, *map(float, f.samples[s, h])]
            for f in forecasts
            for s in range(len(f.samples))
            for h, t in enumerate(written(f.calendar, f.time))
        ]
        head = ["id", "sample", dataset.time_name, *dataset.variables]
        output_files.write_text(path, csv_text(head, rows))
    else:
        with output_files.writing(path) as part:
            _write_hdf5(part, dataset, forecasts)


def _write_hdf5(path: Path, dataset: Dataset, forecasts: Sequence[Forecast]) -> None:
    import h5py
    import numpy as np

    from lvlora.series.files.hdf5.dates import attributes

    said, stored = attributes(dataset.calendar)
    with h5py.File(path, "w") as file:
        samples = file.create_dataset("samples", data=np.stack([f.samples for f in forecasts]))
        samples.attrs["variables"] = np.array([v.encode() for v in dataset.variables], dtype="S")
        time = file.create_dataset("time", data=np.stack([stored(f.time) for f in forecasts]))
        for name, text in said.items():
            time.attrs[name] = np.bytes_(text)
        file.create_dataset("id", data=np.array([f.series.encode() for f in forecasts], dtype="S"))


def bands_of(forecast: Forecast, levels: Sequence[float]) -> dict[tuple[float, float], Any]:
    """Pairs of quantiles that are as far from either end."""
    if len(forecast.samples) < 2:
        return {}
    ordered = sorted(levels)
    pairs = [
        (low, high)
        for low in ordered
        for high in ordered
        if low < 0.5 < high and abs(low + high - 1) < 1e-9
    ]
    return {p: (forecast.quantile(p[0]), forecast.quantile(p[1])) for p in pairs}
