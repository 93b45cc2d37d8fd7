"""An evaluation as people read it: its record as a document, for a page and a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lvlora import numbers
from lvlora.data.answers import Difference, DynamicsErrors, Errors, Interval, metrics_of
from lvlora.data.dates import Calendar
from lvlora.errors import DataError
from lvlora.evaluation.answers import (
    AGAIN,
    Drawn,
    DrawnSeries,
    Evaluation,
    EvaluationReport,
    PanelEvaluation,
)
from lvlora.evaluation.answers import ForecasterScores as Row
from lvlora.evaluation.comparison import skill_baseline
from lvlora.report.document import Block, Cell, Document, Facts, Picture, Points, Section, Table
from lvlora.report.drawing.errors import (
    Bar,
    cost_figure,
    error_by_step_figure,
    errors_figure,
    metric_name,
)
from lvlora.report.forecast import ForecastPicture, forecast_figure
from lvlora.report.page import PAGE, write_page
from lvlora.runs import EVALUATION

_METRICS = metrics_of(Row)
_HEADS = {name: metric.head_with_unit for name, metric in _METRICS.items()}
_RIVALS_BY_STEP = 5
"""Lines of rivals beside the models': more than that nobody tells apart."""


def rebuild(folder: Path) -> EvaluationReport:
    """Draw an evaluation's figures and page from its record.

    Raises:
        DataError: the record is missing or damaged.
        LvloraError: a file cannot be written.
    """
    record = Evaluation.read(folder)
    try:
        files = draw_evaluation(folder, record)
    except (ValueError, IndexError, KeyError) as error:  # as of a record edited by hand
        raise DataError(
            f"{folder / EVALUATION}: damaged: its numbers do not fit together ({error})", AGAIN
        ) from None
    return EvaluationReport(
        evaluation=folder.resolve().name,
        folder=str(folder),
        protocol=record.protocol,
        forecasters={row.name: row.mae for row in record.forecasters},
        files=[str(file) for file in files],
        opened=False,
    )


def draw_evaluation(folder: Path, record: Evaluation) -> list[Path]:
    """Write an evaluation's figures and its page; return their files.

    Raises:
        LvloraError: a file cannot be written.
    """
    return write_page(folder / PAGE, document(record), folder / "figures")


def panel_table(record: PanelEvaluation) -> Table:
    """Return the table of a folder's parts, the best scaled error first."""
    rows = sorted(record.forecasters, key=lambda f: math.inf if f.mase is None else f.mase)
    return Table(
        "Mean errors over the parts, each part as heavy as its series; models are marked",
        ("", "series", *(_HEADS[name] for name in ("mae", "mase", "crps"))),
        [(f.name, f.series, f.mae, f.mase, f.crps) for f in rows],
        [i for i, f in enumerate(rows) if f.kind == "model"],
    )


def document(record: Evaluation) -> Document:
    """Return the document of an evaluation; its pictures are drawn where they are shown."""
    protocol, led_by, pictures = record.protocol, record.led_by, _pictures(record)
    rows = sorted(record.forecasters, key=lambda f: f.error(led_by))

    def picture(*names: str) -> list[Block]:
        return [pictures[name] for name in names if name in pictures]

    data = {**record.data.model_dump(), "series too short": protocol.left_out}
    if protocol.seen:
        data["forecasters see"] = protocol.seen
    forecasters = [*_errors(record, rows), *picture("errors"), *_uncertainty(rows)]
    places = [*picture("error-by-step"), _by_variable(record, rows)]
    costs = picture("cost-training", "cost-seconds")
    steps = "all before" if protocol.all_before else str(protocol.context)
    windows = protocol.windows or 1
    if windows > 1:
        steps = f"{steps}, {windows} windows of each series"
    name = "" if protocol.name == "own" else f" (protocol {protocol.name})"
    return Document(
        title=f"{protocol.horizon} steps from {steps}{name}",
        lead=_lead(record),
        sections=(
            Section("Forecasters", forecasters),
            Section("Differences", [*_differences(rows), *_ranking(rows)]),
            Section("Forecasts", picture("forecasts"), more=True),
            Section("Dynamics", _dynamics(rows)),
            Section("Clusters", _clusters(record, rows)),
            Section("Where the errors are", places, more=True),
            Section("Cost", [_cost(rows, protocol.series), *costs]),
            Section("Data", [Facts(data)], more=True),
            Section("Settings", [Facts(record.settings)], more=True),
            Section("Remarks", _remarks(record)),
            Section("Limits", [Points(_limits(record))], more=True),
        ),
        footer=f"lvlora {record.lvlora_version}, lvlora {record.command}, {record.created}",
    )


def _models(rows: Iterable[Row]) -> list[Row]:
    return [f for f in rows if f.kind == "model"]


def _lead(record: Evaluation) -> str:
    models, protocol, metric = _models(record.forecasters), record.protocol, record.led_by
    rivals = [f for f in record.forecasters if f.kind == "rival"]
    parts = []
    if models and models[0].error(metric) < math.inf:
        parts.append(f"{models[0].name}: {_HEADS[metric]} {models[0].error(metric):.4g}")
    best = min(rivals, key=lambda f: f.error(metric), default=None)
    if best is not None and best.error(metric) < math.inf:
        parts.append(f"the best rival, {best.name}: {best.error(metric):.4g}")
    series = f"{protocol.series} series of the {protocol.split} part"
    units = "original units" if metric == "mae" else "in mean steps of each history"
    return f"{'; '.join(parts)} ({units}, {series})." if parts else series


def _table(caption: str, rows: Sequence[Row], columns: Mapping[str, Sequence[Cell]]) -> Table:
    """Return a table with a row a forecaster, in which models are marked."""
    cells = zip((f.name for f in rows), *columns.values(), strict=True)
    marked = [i for i, f in enumerate(rows) if f.kind == "model"]
    return Table(caption, ["forecaster", *columns], [list(row) for row in cells], marked)


def _values(rows: Sequence[Row], names: Iterable[str]) -> dict[str, list[Cell]]:
    """Return a column for each metric that is a number."""
    return {_HEADS[name]: [getattr(f, name) for f in rows] for name in names}


def _errors(record: Evaluation, rows: Sequence[Row]) -> list[Block]:
    names = [name for name in Errors.model_fields if name != "crps" and not _METRICS[name].wide]
    names.sort(key=lambda name: name != record.led_by)
    columns = _values(rows, names)
    if any(f.season for f in rows):
        columns["season"] = [f.season for f in rows]
    season = record.protocol.mase_season
    scale: list[Block] = []
    if season is not None:
        scale = [f"MASE: the error over the history's mean step of a season (in steps: {season})."]
    if record.led_by == "mae":
        caption = "Errors in original units, the best first; models are marked"
        return [_table(caption, rows, columns), *scale]
    spread = numbers.plain(record.scale_spread, 2)
    return [
        _table(f"Errors, the best {_HEADS[record.led_by]} first; models are marked", rows, columns),
        f"Scales of series and variables differ {spread} times: scaled errors (MASE) lead, in "
        "which all count alike. All others but sMAPE are in original units, and mostly those of "
        "the largest.",
        *scale,
    ]


def _uncertainty(rows: Sequence[Row]) -> list[Block]:
    """A table of its own: all columns beside each other are more than a screen shows."""
    columns = _values(rows, ("crps", "nll"))
    for key, kind in (("coverage", ""), ("calibrated_coverage", "calibrated ")):
        for level in sorted({level for f in rows for level in getattr(f, key)}, key=float):
            shares = [getattr(f, key).get(level) for f in rows]
            columns[f"inside {kind}{100 * float(level):g} %"] = [
                None if share is None else numbers.share(share) for share in shares
            ]
    if len(columns) == 2 and all(f.nll is None for f in rows):
        return []
    return [_table("Uncertainty: scores and coverage of distributions", rows, columns)]


def _differences(rows: Sequence[Row]) -> list[Block]:
    if all(gap.low is None for f in rows for gap in f.mae_minus.values()):
        return []  # of one series there is no interval, and a difference alone says nothing
    caption = (
        "MAE minus each model's, with its 95 % interval (paired bootstrap over series); above 0 is "
        "worse than the model"
    )
    columns = {
        f"minus {model.name}": [_difference(f.mae_minus.get(model.name)) for f in rows]
        for model in _models(rows)
    }
    return [_table(caption, rows, columns)]


def _difference(gap: Difference | None) -> str | None:
    if gap is None or gap.mean is None:
        return None
    mean = f"{gap.mean:+.3g}"
    return mean if gap.low is None else f"{mean} ({numbers.interval(gap.low, gap.high)})"


def _ranking(rows: Sequence[Row]) -> list[Block]:
    names = [n for n in ("skill", "win_rate") if any(getattr(f, n) for f in rows)]
    if not names:
        return []
    baseline = skill_baseline([f.name for f in rows]) or "nobody"
    caption = (
        f"Skill: 1 - geometric mean of scaled errors over those of {baseline} (0 is {baseline}, 1 "
        "perfect). Win rate: share of pairs with the smaller scaled error. With 95 % intervals"
    )
    columns = {_HEADS[name]: [_interval(getattr(f, name)) for f in rows] for name in names}
    return [_table(caption, rows, columns)]


def _interval(interval: Interval | None) -> str | None:
    if interval is None or interval.value is None:
        return None
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _dynamics(rows: Sequence[Row]) -> list[Block]:
    names = [n for n in DynamicsErrors.model_fields if any(getattr(f, n) is not None for f in rows)]
    if not names:
        return []
    caption = "Dynamics: steps are valid until sMAPE (0 to 100) exceeds 30; all others are errors"
    return [_table(caption, rows, _values(rows, names))]


def _clusters(record: Evaluation, rows: Sequence[Row]) -> list[Block]:
    if len(record.clusters) < 2:
        return []
    columns = {
        f"{c.name}, {c.series} series": [f.per_cluster.get(c.name) for f in rows]
        for c in record.clusters
    }
    caption = "MAE by cluster of similar dynamics, those of lvlora analyze"
    return [_table(caption, rows, columns)]


def _by_variable(record: Evaluation, rows: Sequence[Row]) -> Table:
    few = len(record.variables) <= 4
    empty: list[float | None] = [None] * len(record.variables)
    columns = {
        f"{_HEADS[name]}, {variable}": [f.per_variable.get(name, empty)[v] for f in rows]
        for name in ("mae", "mase", "crps")
        if few or name == "mae"
        for v, variable in enumerate(record.variables)
    }
    return _table("Error by variable", rows, columns)


def _cost(rows: Sequence[Row], n_series: int) -> Table:
    seconds = [None if f.kind == "floor" else f.seconds for f in rows]
    training = [None if f.training_flops is None else f.training_flops.executed for f in rows]
    columns: dict[str, Sequence[Cell]] = {
        "seconds": seconds,
        "seconds a series": [None if s is None else s / n_series for s in seconds],
        "FLOPs executed": [None if f.flops is None else f.flops.executed for f in rows],
        "FLOPs coursework": [None if f.flops is None else f.flops.coursework for f in rows],
        "FLOPs of its adapter's training, executed": training,
    }
    return _table("What the forecasts cost", rows, columns)


def _remarks(record: Evaluation) -> list[Block]:
    lines = []
    if record.data.known:
        users = [f.name for f in record.forecasters if f.uses_known]
        lines.append(
            f"Known columns ({', '.join(record.data.known)}) were used by "
            f"{', '.join(users) or 'nobody'}; the others leave them out."
        )
    for model in _models(record.forecasters):
        if model.nll_impossible:
            rest = f"; without them it is {numbers.plain(model.nll_possible, 3)}"
            lines.append(
                f"The grammar of {model.name} cannot write {model.nll_impossible:,} of "
                f"{model.n_values:,} true values: its NLL/D is infinite"
                f"{rest if model.nll_possible is not None else ''}."
            )
    return [Points(lines)] if lines else []


def _limits(record: Evaluation) -> list[str]:
    """Return a sentence or two for each limit that holds for this evaluation."""
    protocol = record.protocol
    limits = {
        f"Only {protocol.series} series were scored: differences between forecasters may be "
        "chance.": protocol.series < 100,
        "Training chose its best step, and a sweep its best settings, on the validation part: the "
        "error of a tuned model is a little too good here. lvlora evaluate --split test is for the "
        "final table.": protocol.split == "validation",
        "Series that a model was trained on may be among those that are scored.": (
            protocol.split in ("train", "all")
        ),
        "Intervals tell how much the choice of series matters. What another training seed would do "
        "is not in them.": bool(_models(record.forecasters)),
        "What each measure means, and what the rounding floor is: docs/evaluation.md.": True,
    }
    return [sentence for sentence, holds in limits.items() if holds]


def _pictures(record: Evaluation) -> dict[str, Picture]:
    """Return every picture of the page by its name; nothing is drawn yet."""
    rows, metric = record.forecasters, record.led_by
    models = _models(rows)
    others = [f for f in rows if f.kind != "model" and getattr(f, metric) is not None]
    others.sort(key=lambda f: f.error(metric))
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
    """Return the rows as a figure takes them; of a metric with an interval, its value."""
    costs = [None] * len(rows) if costs is None else costs
    errors = [getattr(getattr(row, metric), "value", getattr(row, metric)) for row in rows]
    return [
        Bar(row.name, error, row.kind == "model", cost)
        for row, error, cost in zip(rows, errors, costs, strict=True)
    ]


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
