"""Forecasts and evaluations as figures, and as HTML for notebooks.

Knows: which figures of the reports show them. Does not know: how a figure looks, files.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora.series.dataset import Series
from lvlora.settings.checked import check_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lvlora.forecast.forecast import Forecast

COLUMNS = ("name", "kind", "mae", "rmse", "crps", "nll")
"""Of the table of an evaluation."""


def forecast_picture(
    forecast: Forecast,
    *,
    history: Series | None,
    truth: Series | None,
    variables: Sequence[str],
    levels: Sequence[float],
) -> Figure:
    """The figure of `Forecast.plot`, whose arguments these are."""
    from lvlora.report.forecast import ForecastPicture, forecast_figure

    check_levels(levels)
    width = forecast.samples.shape[2]
    ordered = sorted(levels)
    pairs = zip(ordered, reversed(ordered), strict=True)
    several = forecast.samples.shape[0] > 1 or bool(forecast.calibrated)
    return forecast_figure(
        ForecastPicture(
            variables=tuple(variables) or tuple(f"x{i + 1}" for i in range(width)),
            time_name="time",
            history_time=np.empty(0) if history is None else history.time,
            history=np.empty((0, width)) if history is None else history.values,
            future_time=forecast.time,
            median=forecast.median,
            bands={
                (low, high): (forecast.quantile(low), forecast.quantile(high))
                for low, high in pairs
                if low < high and several
            },
            truth=None if truth is None else truth.values[: len(forecast.time)],
            title=forecast.series,
            calendar=forecast.calendar,
        )
    )


def errors_picture(rows: Iterable[dict[str, Any]], metric: str) -> Figure:
    """A bar for each forecaster."""
    from lvlora.report.drawing.errors import errors_figure

    return errors_figure(list(rows), metric)


def as_html(figure: Figure, title: str) -> str:
    """A figure and what it is."""
    from lvlora.report.drawing import style

    picture = base64.b64encode(style.render(figure, "png")).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{picture}">'


def as_html_table(rows: Iterable[dict[str, Any]]) -> str:
    """One row a forecaster, the best first."""
    rows = sorted(rows, key=lambda row: (row["mae"] is None, row["mae"]))
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in COLUMNS) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return escape(value if isinstance(value, str) else f"{value:.4g}")
