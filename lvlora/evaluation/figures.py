"""The pictures of an evaluation's page, drawn from its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvlora import numbers
from lvlora.data.dates import Calendar
from lvlora.evaluation.answers import Drawn, DrawnSeries, EvaluationRecord
from lvlora.evaluation.answers import ForecasterScores as Row
from lvlora.report.document import Picture
from lvlora.report.drawing import style
from lvlora.report.drawing.cost import Cost, cost_figure
from lvlora.report.drawing.errors import (
    MAX_FORECASTERS,
    Bar,
    error_by_step_figure,
    errors_figure,
    metric_name,
)
from lvlora.report.drawing.text_chart import terminal_plot
from lvlora.report.forecast import ForecastPicture, forecast_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RIVALS_BY_STEP = 5  # beside the models: more lines than that nobody tells apart
_SKETCHED = 4  # variables in a terminal


def pictures_of(record: EvaluationRecord) -> dict[str, Picture]:
    """Every picture of the page, by its name; nothing is drawn yet."""
    rows, metric = record.forecasters, record.led_by
    models = [f for f in rows if f.kind == "model"]
    others = [f for f in rows if f.kind != "model" and _value(f, metric) is not None]
    others.sort(key=lambda f: _value(f, metric) or 0.0)
    shown, names = [*models, *others[:_RIVALS_BY_STEP]], [f.name for f in models]

    def picture(name: str, draw: Callable[..., Figure], alt: str, caption: str = "") -> Picture:
        return Picture(alt, draw, caption, narrow=partial(draw, narrow=True), name=name)

    pictures = [
        picture(
            "errors",
            partial(errors_figure, bars(rows, metric), metric),
            f"{metric_name(metric).capitalize()} of each forecaster",
        )
    ]
    if record.drawn is not None and record.drawn.series:
        pictures.append(_forecasts(record, record.drawn))
    errors = {f.name: _array(f.mae_by_step) for f in shown}
    pictures.append(
        picture(
            "error-by-step",
            partial(error_by_step_figure, errors, record.variables, names),
            f"{metric_name('mae').capitalize()} by steps ahead, for each variable",
            "Models and the best rivals.",
        )
    )
    shares = {f.name: _array(f.valid_by_step) for f in shown if f.valid_by_step[0] is not None}
    if shares:
        pictures.append(
            picture(
                "valid-time",
                partial(valid_time_figure, shares, names),
                "Series whose forecast is still valid",
                "Until sMAPE (0 to 100) first exceeds 30. Models and the best rivals.",
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
    """Yield a picture for each cost that tells forecasters apart."""

    def picture(cost: Cost, costs: Sequence[float | None], alt: str, caption: str) -> Picture:
        draw = partial(cost_figure, bars(rows, metric, costs), cost, metric)
        return Picture(alt, draw, caption, name=f"cost-{cost.removesuffix('_flops')}")

    trained, spent = (
        [None if price is None else price.executed for price in prices]
        for prices in ([f.training_flops for f in rows], [f.flops for f in rows])
    )
    if any(trained):
        yield picture(
            "training_flops",
            trained,
            "Error against the FLOPs of training",
            "What each adapter's run had spent until then, validations included.",
        )
    if sum(price is not None for price in spent) > 1:  # one point alone compares nothing
        caption = "Only the language models' FLOPs are counted."
        yield picture("flops", spent, "Error against FLOPs", caption)
    if any(f.seconds for f in rows):
        yield picture(
            "seconds",
            [f.seconds or None for f in rows],
            "Error against seconds",
            "The line joins those that no other beats in both.",
        )


def _forecasts(record: EvaluationRecord, drawn: Drawn) -> Picture:
    panels = [_panel(series, record, drawn) for series in drawn.series]
    ends = [series for series in drawn.series if series.why in ("best", "worst")]

    def sketch(ascii_only: bool) -> str:
        shown = ends[:: max(1, len(ends) - 1)]
        return "\n".join(
            _sketch(series, v, name, drawn.forecaster, ascii_only)
            for series in shown
            for v, name in enumerate(record.variables[:_SKETCHED])
        )

    return Picture(
        f"Forecasts of {drawn.forecaster} against the truth",
        partial(forecast_figure, panels),
        f"The best, middle and worst series of {drawn.forecaster}: line, history; dashes, median; "
        "band, interval; circles, truth.",
        narrow=partial(forecast_figure, panels, narrow=True),
        name="forecasts",
        sketch=sketch,
    )


def _panel(series: DrawnSeries, record: EvaluationRecord, drawn: Drawn) -> ForecastPicture:
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
        calendar=Calendar.from_dict(drawn.calendar),
    )


def _sketch(series: DrawnSeries, v: int, name: str, forecaster: str, ascii_only: bool) -> str:
    band = series.bands[0] if series.bands else None
    return terminal_plot(
        _array(series.history)[:, v],
        _array(series.median)[:, v],
        None if band is None else _array(band[2])[:, v],
        None if band is None else _array(band[3])[:, v],
        height=8,
        ascii_only=ascii_only,
        time=[*series.history_time, *series.time],
        title=f"{series.why}, {series.id}: {name} by {forecaster}, "
        f"MAE {numbers.plain(series.mae, 3)}",
    )


def _array(values: Sequence[object]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def valid_time_figure(
    shares: Mapping[str, ArrayLike], models: Sequence[str] = (), *, narrow: bool = False
) -> Figure:
    """A falling stair for each forecaster, from 1 before the first step.

    Args:
        shares: name -> (H,) share of series whose forecast is valid up to and with that step.
        models: names that are drawn boldly, in the first colours.
        narrow: for a phone.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    order = [n for n in models if n in shares] + [n for n in shares if n not in models]
    order = order[:MAX_FORECASTERS]
    with style.look():
        height = 3.8 + 0.22 * len(order) / (1 if narrow else 3)
        figure = style.new_figure(style.NARROW if narrow else style.WIDTH, height)
        axes = figure.add_subplot()
        handles: list[Any] = []
        for k, name in enumerate(order):
            values = np.concatenate([[1.0], np.asarray(shares[name], dtype=np.float64)])
            bold = name in models
            handles += axes.plot(
                np.arange(len(values)),
                values,
                drawstyle="steps-post",
                color=style.colour(k),
                linestyle="-" if bold else ("--", "-.", ":")[k % 3],
                linewidth=2.4 if bold else 1.2,
                zorder=3 if bold else 2,
                label=style.plain(name, 32),
            )
        axes.set_ylim(0, 1.03)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("steps ahead")
        axes.set_ylabel("series still valid")
        style.legend_below(figure, handles, columns=3)
    return figure
