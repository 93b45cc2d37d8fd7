"""Validation on a run's page: some forecasts against the truth, and the rivals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lvlora.report.document import Block, Picture, Table
from lvlora.report.forecast import FloatArray, ForecastPicture, forecast_figure
from lvlora.series.dates import Calendar

_SHARE = 0.8
_LEAST_OTHERS = 5
"""Series whose errors make a band."""
_WINDOW = 2  # steps before and after whose errors are taken together

_BAND = f"{100 * _SHARE:g} % of the others' errors"


def forecasts_of(found: Mapping[str, Any], step: int | None) -> list[Block]:
    """A figure of the best, middle and worst series.

    Args:
        found: validation.json; what cannot be believed of it is not shown.
        step: of the adapter that was kept: the file must be about it.
    """
    try:
        if found["kept"]["step"] != step:
            return []
        drawn, has_bands = _pictures(found)
    except (KeyError, TypeError, ValueError, IndexError):
        return []
    band = (
        f"; band, where {100 * _SHARE:g} % of the other series' errors at about as many steps "
        "ahead would lie, each in deviations of its own history"
        if has_bands
        else ""
    )
    return [
        Picture(
            "Greedy forecasts of the kept adapter against the truth",
            partial(forecast_figure, drawn),
            f"Greedy forecasts that the validation at step {step} made, of its best, middle and "
            f"worst series: line, history; dashes, forecast; circles, truth{band}.",
            narrow=partial(forecast_figure, drawn, narrow=True),
        )
    ]


def rivals_of(found: Mapping[str, Any], step: int | None) -> list[Block]:
    """A table of errors: the model before and after training, and forecasters that are none."""
    try:
        kept, before = found["kept"], found.get("before")
        rows = [(f"this adapter, at step {kept['step']}", _error(kept["mae"]))]
        if before is not None:
            rows.append(("the model before training", _error(before["mae"])))
        rows += [(str(row["name"]), _error(row["mae"])) for row in found["rivals"]]
        n_series = int(found["series_scored"])
        scored = f"the same {n_series} validation series"
        if found.get("held_out") is not None:
            scored = (
                f"the same {n_series} windows in the last {int(found['held_out'])} steps of the "
                "series, which were not trained on"
            )
        if kept["step"] != step:
            return []
    except (KeyError, TypeError, ValueError):
        return []
    models = {name for name, _ in rows[: 1 + (before is not None)]}
    rows.sort(key=lambda row: np.inf if row[1] is None else row[1])
    return [
        Table(
            "MAE in original units, the best first; models are marked",
            ["forecaster", "MAE"],
            rows,
            [i for i, (name, _) in enumerate(rows) if name in models],
        ),
        f"All forecast the same steps of {scored}, the model greedily. The rivals are those "
        "that take no time; lvlora evaluate adds fitted equations, "
        "samples and intervals, on the test part.",
    ]


def _pictures(found: Mapping[str, Any]) -> tuple[list[ForecastPicture], bool]:
    series, kept = found["series"], found["kept"]
    point = _array(kept["forecasts"])  # (n, H, V)
    truth = np.stack([_array(s["truth"]) for s in series])
    histories = [_array(s["history"]) for s in series]
    sizes = np.stack([_deviation(h) for h in histories])[:, None]  # (n, 1, V)
    if point.shape != truth.shape or point.ndim != 3:
        raise ValueError("forecasts and truth of different shapes")
    relative = np.abs(point - truth) / sizes
    with_bands = len(series) > _LEAST_OTHERS
    pictures = []
    for at, why in _chosen([_error(e) for e in kept["series_mae"][: len(series)]]):
        bands = {}
        if with_bands:
            reach = _reach(np.delete(relative, at, axis=0)) * sizes[at]
            least = np.where(np.nanmin(histories[at], axis=0) < 0, -np.inf, 0.0)
            lower = np.maximum(point[at] - reach, least)  # what was never negative stays so
            bands = {((1 - _SHARE) / 2, (1 + _SHARE) / 2): (lower, point[at] + reach)}
        pictures.append(
            ForecastPicture(
                variables=tuple(map(str, found["variables"])),
                time_name=str(found["time"]),
                history_time=_array(series[at]["history_time"]),
                history=histories[at],
                future_time=_array(series[at]["time"]),
                median=point[at],
                bands=bands,
                truth=truth[at],
                title=f"{series[at]['id']}: {why}MAE {float(kept['series_mae'][at]):.3g}",
                line_name="forecast (greedy)",
                band_name=_BAND,
                calendar=Calendar.from_dict(found.get("calendar")),
            )
        )
    return pictures, with_bands


def _reach(errors: FloatArray) -> FloatArray:
    """(H, V) error that the share stays within, from (n, H, V) errors of other series."""
    horizon = errors.shape[1]
    reach = np.full(errors.shape[1:], np.nan)
    for h in range(horizon):
        near = errors[:, max(0, h - _WINDOW) : h + _WINDOW + 1]
        for v in range(errors.shape[2]):
            known = near[:, :, v][np.isfinite(near[:, :, v])]
            if known.size:  # at least that share
                reach[h, v] = np.quantile(known, _SHARE, method="higher")
    return reach


def _chosen(errors: list[float | None]) -> list[tuple[int, str]]:
    """Positions of the best, middle and worst of the series that have an error."""
    order = sorted((e, i) for i, e in enumerate(errors) if e is not None)
    places = {0: "best, ", len(order) // 2: "middle, ", len(order) - 1: "worst, "}
    return [(order[place][1], why) for place, why in sorted(places.items())] if order else []


def _deviation(history: FloatArray) -> FloatArray:
    """(V,) of a history, 1 where it does not vary."""
    deviation = np.array(
        [np.std(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in history.T]
    )
    return np.where(deviation > 0, deviation, 1.0)


def _array(values: Any) -> FloatArray:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _error(value: Any) -> float | None:
    return None if value is None or not np.isfinite(float(value)) else float(value)
