"""The figures of an evaluation's page, drawn from its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvlora.report.drawing.errors import (
    error_by_step_figure,
    errors_figure,
    is_model,
    metric_name,
    number,
)
from lvlora.report.evaluation.cost import cost_figure
from lvlora.report.evaluation.valid_time import valid_time_figure
from lvlora.report.forecast import ForecastPicture, forecast_figure
from lvlora.report.page import Picture
from lvlora.series.dates import Calendar

_RIVALS_BY_STEP = 5  # beside the models: more lines than that nobody tells apart


def leads(record: Mapping[str, Any]) -> str:
    """The metric that an evaluation's table is ordered by: mae, or mase where scales differ."""
    return str(record.get("led_by", "mae"))


def pictures_of(record: Mapping[str, Any]) -> dict[str, Picture]:
    """Every figure of the page, by the name of its file.

    Raises:
        KeyError, TypeError, ValueError: the record lacks something.
    """
    rows, metric = record["forecasters"], leads(record)
    named = metric_name(metric)
    pictures = {
        "errors": Picture.of(
            errors_figure(rows, metric),
            f"{named[:1].upper()}{named[1:]} of each forecaster",
            narrow=errors_figure(rows, metric, narrow=True),
        ),
    }
    drawn = [_forecast(s, record) for s in record["drawn"]["series"]]
    if drawn:
        about = record["drawn"]["forecaster"]
        pictures["forecasts"] = Picture.of(
            forecast_figure(drawn),
            f"Forecasts of {about} against the truth",
            f"The best, middle and worst series of {about}: line, history; dashes, median; band, "
            "interval; circles, truth.",
            narrow=forecast_figure(drawn, narrow=True),
        )
    shown, models = _shown(rows, metric)
    steps = {f["name"]: np.array(f["mae_by_step"], dtype=np.float64) for f in shown}
    variables = record["variables"]
    pictures["error-by-step"] = Picture.of(
        error_by_step_figure(steps, variables, models),
        f"{metric_name('mae').capitalize()} by steps ahead, for each variable",
        "Models and the best rivals.",
        narrow=error_by_step_figure(steps, variables, models, narrow=True),
    )
    shares = {
        f["name"]: np.array(f["valid_by_step"], dtype=np.float64)
        for f in shown
        if (f.get("valid_by_step") or [None])[0] is not None
    }
    if shares:
        pictures["valid-time"] = Picture.of(
            valid_time_figure(shares, models),
            "Series whose forecast is still valid",
            "Until sMAPE (0 to 100) first exceeds 30. Models and the best rivals.",
            narrow=valid_time_figure(shares, models, narrow=True),
        )
    trained = _executed(rows, "training_flops")
    if any(f["training_flops"] for f in trained):
        pictures["cost-training"] = Picture.of(
            cost_figure(trained, "training_flops", metric),
            "Error against the FLOPs of training",
            "What each adapter's run had spent until then, validations included.",
        )
    if sum(bool(f["flops"]) for f in rows) > 1:  # one point alone compares nothing
        pictures["cost-flops"] = Picture.of(
            cost_figure(_executed(rows, "flops"), metric=metric),
            "Error against FLOPs",
            "Only the language models' FLOPs are counted.",
        )
    if any(f["seconds"] for f in rows):
        pictures["cost-seconds"] = Picture.of(
            cost_figure([{**f, "seconds": f["seconds"] or None} for f in rows], "seconds", metric),
            "Error against seconds",
            "The line joins those that no other beats in both.",
        )
    return pictures


def _executed(rows: Sequence[Mapping[str, Any]], cost: str) -> list[dict[str, Any]]:
    """The rows with one number for a cost that both conventions count."""
    return [{**f, cost: (f.get(cost) or {}).get("executed")} for f in rows]


def _forecast(series: Mapping[str, Any], record: Mapping[str, Any]) -> ForecastPicture:
    def array(name: str) -> Any:
        return np.array(series[name], dtype=np.float64)  # None becomes NaN

    why = f": {series['why']}, " if series["why"] else ": "
    return ForecastPicture(
        variables=tuple(record["variables"]),
        time_name=record["data"]["time"],
        history_time=array("history_time"),
        history=array("history"),
        future_time=array("time"),
        median=array("median"),
        bands={
            (low, high): (np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64))
            for low, high, lower, upper in series["bands"]
        },
        truth=array("truth"),
        title=f"{series['id']}{why}MAE {series['mae']:.3g}",
        calendar=Calendar.from_dict(record["drawn"].get("calendar")),
    )


def _shown(
    rows: Sequence[Mapping[str, Any]], metric: str
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Rows of the models and of the best others; names of the models."""
    models = [f for f in rows if is_model(f)]
    others = sorted(
        (f for f in rows if not is_model(f) and number(f, metric) is not None),
        key=lambda f: float(f[metric]),
    )
    return [*models, *others[:_RIVALS_BY_STEP]], [f["name"] for f in models]
