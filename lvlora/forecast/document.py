"""Forecasts as documents: charts, tables, how near they came, who made them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lvlora import numbers
from lvlora.answers import Estimate
from lvlora.data.answers import METRICS
from lvlora.data.dates import text_of, written
from lvlora.forecast.answers import (
    EnsembleMember,
    ForecastPrice,
    HindcastScores,
    HoldoutScores,
    ModelFacts,
    PartsFacts,
)
from lvlora.report.document import Block, Document, Picture, Points, Section, Table

if TYPE_CHECKING:
    from lvlora.forecast.dataset_forecast import DatasetForecast

_TABLE_ROWS = 24
_CHARTS = 3
_CHARTED_VARIABLES = 4
_LEAST_WEIGHT, _MOST_WEIGHTS = 0.01, 6
_COLUMNS = 8
"""Columns of a table besides its times that fit 80 characters."""


def forecasts_document(result: DatasetForecast) -> Document:
    """Charts of the first series, tables of all, how near they came, and who made them."""
    answer = result.record
    name = answer.forecaster or _name(answer.model)
    rules = " or ".join(sorted({s.scale.rule for s in answer.series if s.scale is not None}))
    how = "" if answer.calibration is None else "calibrated intervals; "
    how += f"scale by the {rules} rule; " if rules else ""
    origin = (
        f"{name}, {answer.samples} futures a series; {how}"
        f"{numbers.flops(answer.flops.executed)} FLOPs executed."
    )
    blocks = [*_charts(result), *_tables(result)]
    if answer.scores is not None:
        blocks += [_sentence(answer.scores), _beside(name, answer.scores)]
        blocks += _nearer(answer.scores)
    if answer.hindcast is not None:
        blocks += [_hindcast(answer.hindcast), *_nearer(answer.hindcast)]
    if answer.members:
        blocks += _members(answer.members)
    return Document(
        title=f"{answer.horizon} steps by {name}",
        sections=(Section("Forecast", (*blocks, Points([origin]))),),
    )


def _charts(result: DatasetForecast) -> Iterator[Picture]:
    """Return pictures of the first series; a terminal shows the end of the history."""
    from lvlora.report.drawing.text_chart import terminal_plot

    histories = result.histories
    for history, forecast in list(zip(histories, result, strict=True))[:_CHARTS]:
        bands = forecast.bands(result.levels)
        _, band = max(bands.items(), key=lambda b: b[0][1] - b[0][0], default=(None, None))
        recent = slice(-4 * len(forecast.time), None)
        time = written(history.calendar, np.concatenate([history.time[recent], forecast.time]))
        for v, name in enumerate(histories.variables[:_CHARTED_VARIABLES]):
            title = f"{forecast.series}: {name}" if len(result) > 1 else name
            sketch = functools.partial(
                terminal_plot,
                history.values[recent, v],
                forecast.median[:, v],
                None if band is None else band[0][:, v],
                None if band is None else band[1][:, v],
                title=title,
                height=8,
                time=time,
            )
            yield Picture(alt=title, draw=result.plot, sketch=sketch)


def _tables(result: DatasetForecast) -> Iterator[Block]:
    """Return a table for each series and block of variables; as many rows as people read."""
    answer, rows_left = result.record, _TABLE_ROWS
    levels = [f"{q:g}" for q in result.levels if q != 0.5 and answer.samples > 1]
    size = max(1, _COLUMNS // (1 + len(levels) + (answer.scores is not None)))
    for forecast, series in zip(result, answer.series, strict=True):
        times = [text_of(forecast.calendar, t) for t in forecast.time[: max(rows_left, 0)]]
        rows_left -= answer.horizon
        names = list(series.variables) if times else []
        for begin in range(0, len(names), size):
            head, columns = [result.histories.time_name], [times]
            for name in names[begin : begin + size]:
                future = series.variables[name]
                numbers_of = {name: future.median, **{q: future.quantiles[q] for q in levels}}
                if series.truth is not None:
                    numbers_of["truth"] = series.truth[name]
                head += numbers_of
                columns += [[numbers.plain(x) for x in column] for column in numbers_of.values()]
            rows = [list(row) for row in zip(*columns, strict=False)]
            yield Table(series.id if len(result) > 1 else "", head, rows)
    n_rows = len(result) * answer.horizon
    if n_rows > _TABLE_ROWS:
        yield f"… {n_rows - _TABLE_ROWS} more rows: add --output FILE.csv"


def _members(members: Sequence[EnsembleMember]) -> Iterator[Block]:
    """Return the members of the ensemble, those left out, and the seconds of each."""
    weighted = [(m.name, m.weight, m.seconds) for m in members if m.weight is not None]
    shown = [m for m in weighted if m[1] >= _LEAST_WEIGHT][:_MOST_WEIGHTS]
    others = weighted[len(shown) :]
    if others:
        of_others = (f"{len(others)} others", sum(m[1] for m in others), sum(m[2] for m in others))
        shown.append(of_others)
    rows = [[name, numbers.share(share), numbers.duration(s)] for name, share, s in shown]
    yield Table("Members, weighted by hindcasts", ["member", "weight", "time"], rows)
    slow = [f"{m.name} ({numbers.duration(m.seconds)})" for m in members if m.weight is None]
    if slow:
        yield f"Left out for being slow (--patience): {', '.join(slow)}."


def _beside(name: str, scores: HoldoutScores) -> Table:
    heads = {m: measure.head for m, measure in METRICS.items() if m in scores.model_fields_set}
    entries = [(name, scores), *((rival.name, rival) for rival in scores.rivals)]
    return Table(
        "Beside plain forecasters of the same steps",
        ["forecaster", *heads.values()],
        [[name, *(numbers.plain(getattr(s, m), 3) for m in heads)] for name, s in entries],
        marked=[0],
    )


def _sentence(scores: HoldoutScores) -> str:
    """Say what the table of errors does not: the likelihood, and what the intervals cover."""
    words = [
        f"{100 * float(level):g} % intervals cover {numbers.share(share)}"
        for level, share in scores.coverage.items()
        if share is not None
    ]
    if scores.mase is not None:
        season = scores.mase_season
        words.append("MASE has no season" if season == "none" else f"MASE has season {season}")
    if scores.nll_impossible is not None:
        n = scores.nll_impossible
        beyond = f" without {n} that the grammar cannot write" if n else ""
        words.append(f"NLL/D is {numbers.plain(scores.nll_possible, 3)} nats{beyond}")
    return f"Against the {scores.n_values} values held out: {', '.join(words)}."


def _nearer(scores: HoldoutScores) -> list[str]:
    """Recommend the rival that was nearer, if one was."""
    from lvlora.forecast.rivals import option_name  # whoever has scores has loaded the rivals

    nearer = scores.nearer
    return [] if nearer is None else [f"{nearer} was nearer: --forecaster {option_name(nearer)}"]


def _hindcast(scores: HindcastScores) -> str:
    """Say how near the model and the nearest plain rival came to the history's last steps."""
    metric = "mae" if scores.mase is None else "mase"
    errors = [(getattr(rival, metric), rival.name) for rival in scores.rivals]
    errors = [(error, name) for error, name in errors if error is not None]
    words = f"{metric.upper()} {numbers.plain(getattr(scores, metric), 3)}"
    if errors:
        error, name = min(errors, key=lambda one: one[0])
        words += f"; {name} {numbers.plain(error, 3)}"
    return f"Hindcast of the last {scores.steps} steps of the history: {words}."


def _name(model: ModelFacts | None) -> str:
    if model is None:
        return ""
    return f"{model.name} + {model.adapter}" if model.adapter else f"{model.name} zero-shot"


def panel_document(record: PartsFacts, title: str, verb: str, *blocks: Block) -> Document:
    """Return what became of the parts of a folder, in words.

    Args:
        verb: in the past tense; blocks: what else is to be shown.
    """
    n_done = record.parts - record.parts_kept
    resumed = f"; {record.parts_kept} were there already" if record.parts_kept else ""
    spent = f"{numbers.flops(record.flops.executed)} FLOPs executed"
    sentences: list[Block] = [
        f"{n_done} of {record.parts} parts {verb} ({record.series:,} series){resumed}: "
        f"{spent}, {numbers.duration(record.seconds)}.",
        *blocks,
        f"Results: {record.folder}",
    ]
    return Document(title=title, sections=(Section("Parts", sentences),))


def price_document(answer: ForecastPrice) -> Document:
    """Return the price of forecasts, and the time and memory that they take, as a document."""
    lines = [
        f"{name}, {answer.n_series} series: at most {numbers.flops(price.executed)} FLOPs "
        f"executed, {numbers.flops(price.coursework)} by the coursework's rules."
        for name, price in answer.forecasters.items()
    ] or ["No model: no FLOPs."]
    cost = answer.estimate
    if cost is not None:
        lines += [
            f"Time on this machine: about {numbers.duration(cost.seconds)}.",
            f"Memory at most: about {numbers.size(cost.peak_bytes)}.",
        ]
    return Document("These forecasts", [Section("", [Points(lines), nothing_spent(cost)])])


def nothing_spent(cost: Estimate | None) -> str:
    """Return the last line of a dry run."""
    probe = 0 if cost is None else cost.probe_flops.executed
    measured = f" The probe's {numbers.flops(probe)} FLOPs belong to no run." if probe else ""
    return f"Nothing was charged.{measured}"
