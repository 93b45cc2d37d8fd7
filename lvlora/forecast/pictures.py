"""Forecasts as figures, and as HTML for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from lvlora.series.dataset import Series
from lvlora.settings.checked import check_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lvlora.forecast.forecast import Forecast


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


def as_html(figure: Figure, title: str) -> str:
    """A figure and what it is."""
    from lvlora.report.drawing import style

    picture = base64.b64encode(style.render(figure, "png")).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{picture}">'
