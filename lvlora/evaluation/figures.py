"""The pictures of an evaluation's page, drawn from its record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dates import Calendar
from lvlora.evaluation.answers import Drawn, DrawnSeries, Evaluation
from lvlora.evaluation.answers import ForecasterScores as Row
from lvlora.report.document import Picture
from lvlora.report.drawing.errors import (
    Bar,
    cost_figure,
    error_by_step_figure,
    errors_figure,
    metric_name,
)
from lvlora.report.forecast import ForecastPicture, forecast_figure

_RIVALS_BY_STEP = 5  # beside the models: more lines than that nobody tells apart


def pictures_of(record: Evaluation) -> dict[str, Picture]:
    """Every picture of the page, by its name; nothing is drawn yet."""
    rows, metric = record.forecasters, record.led_by
    models = [f for f in rows if f.kind == "model"]
    others = [f for f in rows if f.kind != "model" and _value(f, metric) is not None]
    others.sort(key=lambda f: _value(f, metric) or 0.0)
    pictures = [
        Picture(
            f"{metric_name(metric).capitalize()} of each forecaster",
            partial(errors_figure, bars(rows, metric), metric),
            name="errors",
        )
    ]
    if record.drawn is not None and record.drawn.series:
        pictures.append(_forecasts(record, record.drawn))
    errors = {f.name: _array(f.mae_by_step) for f in [*models, *others[:_RIVALS_BY_STEP]]}
    pictures.append(
        Picture(
            f"{metric_name('mae').capitalize()} by steps ahead, for each variable",
            partial(error_by_step_figure, errors, record.variables, [f.name for f in models]),
            "Models and the best rivals.",
            name="error-by-step",
        )
    )
    return {picture.name: picture for picture in [*pictures, *_costs(rows, metric)]}


def bars(
    rows: Sequence[Row], metric: str, costs: Sequence[float | None] | None = None
) -> list[Bar]:
    """The rows as a figure takes them."""
    costs = [None] * len(rows) if costs is None else costs
    return [
        Bar(row.name, _value(row, metric), row.kind == "model", cost)
        for row, cost in zip(rows, costs, strict=True)
    ]


def _value(row: Row, metric: str) -> float | None:
    value = getattr(row, metric)
    return value if isinstance(value, float) else getattr(value, "value", None)


def _costs(rows: Sequence[Row], metric: str) -> Iterator[Picture]:
    """Yield the error against FLOPs of training, where there are some, and against seconds."""
    trained = [None if f.training_flops is None else f.training_flops.executed for f in rows]
    if any(trained):
        cost = "FLOPs of the adapter's training"
        yield Picture(
            "Error against the FLOPs of training",
            partial(cost_figure, bars(rows, metric, trained), cost, metric),
            "What each adapter's run had spent until then, validations included.",
            name="cost-training",
        )
    if any(f.seconds for f in rows):
        seconds = bars(rows, metric, [f.seconds or None for f in rows])
        yield Picture(
            "Error against seconds",
            partial(cost_figure, seconds, "seconds of the forecasts", metric),
            "The line joins those that no other beats in both.",
            name="cost-seconds",
        )


def _forecasts(record: Evaluation, drawn: Drawn) -> Picture:
    panels = [_panel(series, record, drawn) for series in drawn.series]
    return Picture(
        f"Forecasts of {drawn.forecaster} against the truth",
        partial(forecast_figure, panels),
        f"The best, middle and worst series of {drawn.forecaster}: line, history; dashes, median; "
        "band, interval; circles, truth.",
        name="forecasts",
    )


def _panel(series: DrawnSeries, record: Evaluation, drawn: Drawn) -> ForecastPicture:
    why = f": {series.why}, " if series.why else ": "
    return ForecastPicture(
        variables=tuple(record.variables),
        time_name=record.data.time,
        history_time=_array(series.history_time),
        history=_array(series.history),
        future_time=_array(series.time),
        median=_array(series.median),
        bands={
            (low, high): (_array(lower), _array(upper)) for low, high, lower, upper in series.bands
        },
        truth=_array(series.truth),
        title=f"{series.id}{why}MAE {series.mae:.3g}",
        calendar=None if drawn.calendar is None else Calendar(**drawn.calendar),
    )


def _array(values: Sequence[object]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)  # None becomes NaN
