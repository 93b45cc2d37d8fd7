"""An evaluation as one JSON object, all that its page and its tables show; and those tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from lvlora import __version__
from lvlora.data.dataset import FloatArray
from lvlora.data.files.csv import csv_text
from lvlora.data.metrics.measures import DynamicsErrors, Errors
from lvlora.data.metrics.quantiles import of_function, of_samples
from lvlora.data.metrics.scores import central_levels, scale_spread
from lvlora.data.seasons import seasons_used
from lvlora.evaluation.answers import (
    ClusterSize,
    Drawn,
    DrawnSeries,
    EvaluatedData,
    EvaluationRecord,
    TaskFacts,
)
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry

SCALES_APART = 100.0
"""Where scales of series and variables differ by more, a mean in original units is that of the
largest alone, and scaled errors lead the table."""
_RANKED = ("skill", "win_rate")
_DRAWN_OF_EACH = 2
_DRAWN_STEPS = 10_000  # of a history, its last; a figure shows fewer


def record_of(
    entries: Sequence[Entry],
    task: Task,
    *,
    command: Literal["evaluate", "baseline"],
    protocol_name: Literal["A", "B", "own"],
    data: EvaluatedData,
    settings: Mapping[str, Any],
    quantiles: Sequence[float],
    clusters: Mapping[str, int],
    key: str,
) -> EvaluationRecord:
    """The whole record.

    Args:
        settings: what else decides the result.
        clusters: name of each cluster of dynamics -> series of the task that are in it.
        key: of the task, see `folder.key_of`.
    """
    spread = scale_spread([h.values for h in task.histories])
    led_by: Literal["mae", "mase"] = "mase" if spread > SCALES_APART else "mae"
    return EvaluationRecord(
        schema_version=1,
        lvlora_version=__version__,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        protocol=_protocol(task, protocol_name),
        data=data,
        settings=dict(settings),
        scale_spread=spread,
        led_by=led_by,
        variables=list(task.variables),
        clusters=[ClusterSize(name=name, series=n) for name, n in clusters.items()],
        forecasters=[entry.row for entry in entries],
        drawn=drawn(entries, task, quantiles, led_by),
        key=key,
    )


def _protocol(task: Task, name: Literal["A", "B", "own"]) -> TaskFacts:
    done, protocol = task.disturbance, task.protocol
    rolling: dict[str, Any] = {}
    if protocol.windows is not None:
        rolling = {
            "windows": protocol.windows,
            "stride": protocol.stride,
            "all_before": protocol.context is None,
        }
    return TaskFacts(
        name=name,
        split=protocol.part,
        context=protocol.context or task.context,
        horizon=protocol.horizon,
        **rolling,
        series=task.n_series,
        left_out=task.left_out,
        disturbance=done if done else None,
        seen=str(done) or None,
        mase_season=seasons_used(np.round(task.periods).tolist()),
    )


def reference(entries: Sequence[Entry], led_by: str = "mae") -> Entry:
    """Return the subject of an evaluation: its first model, else the best rival by that metric."""
    models = [e for e in entries if e.kind == "model"]
    # the floor knows the truth
    rivals = [e for e in entries if e.kind != "floor"]
    return models[0] if models else min(rivals, key=lambda e: float(getattr(e.scores, led_by)))


def drawn(
    entries: Sequence[Entry], task: Task, quantiles: Sequence[float], led_by: str = "mae"
) -> Drawn:
    """Forecasts of the reference to look at: of its best, middle and worst series."""
    about = reference(entries, led_by)
    quantiles_of = of_function if about.are_quantiles else of_samples
    errors = about.scores.series_mae
    series = []
    for at, why in _chosen(np.asarray(errors)):
        history, future = task.histories[at], task.futures[at]
        bands = []
        if about.samples is not None and about.samples.shape[1] > 1:
            for level in central_levels(quantiles):
                low, high = (1 - level) / 2, (1 + level) / 2
                lower, upper = quantiles_of(about.samples[at], (low, high))
                bands.append((low, high, lower.tolist(), upper.tolist()))
        series.append(
            DrawnSeries(
                id=history.id,
                why=why,
                mae=float(errors[at]),
                history_time=history.time[-_DRAWN_STEPS:].tolist(),
                history=history.values[-_DRAWN_STEPS:].tolist(),
                time=future.time.tolist(),
                truth=future.values.tolist(),
                median=about.point[at].tolist(),
                bands=bands,
            )
        )
    calendar = task.histories[0].calendar if task.histories else None
    dated = {} if calendar is None else {"calendar": calendar.to_dict()}
    return Drawn(forecaster=about.name, series=series, **dated)


def _chosen(errors: FloatArray) -> list[tuple[int, Literal["best", "middle", "worst", ""]]]:
    """Positions of the best, middle and worst series that have an error."""
    order = [int(i) for i in np.argsort(errors, kind="stable") if math.isfinite(errors[i])]
    n = len(order)
    if n <= 3 * _DRAWN_OF_EACH:
        ends: dict[int, Literal["best", "worst"]] = {0: "best", n - 1: "worst"} if n > 1 else {}
        return [(i, ends.get(place, "")) for place, i in enumerate(order)]
    middle = (n - _DRAWN_OF_EACH) // 2
    best, around, worst = (
        order[start : start + _DRAWN_OF_EACH] for start in (0, middle, n - _DRAWN_OF_EACH)
    )
    return [
        *((i, "best") for i in best),
        *((i, "middle") for i in around),
        *((i, "worst") for i in worst),
    ]


def table_of(record: EvaluationRecord) -> str:
    """The table of forecasters as CSV; empty where something is not defined."""
    forecasters = record.forecasters
    levels = sorted({level for f in forecasters for level in f.coverage})
    calibrated = sorted({level for f in forecasters for level in f.calibrated_coverage})
    models = [f.name for f in forecasters if f.kind == "model"]
    errors, dynamics = (*Errors.model_fields, "nll"), tuple(DynamicsErrors.model_fields)
    head = ["name", "kind", *errors, *(f"coverage_{level}" for level in levels)]
    head += [f"calibrated_coverage_{level}" for level in calibrated]
    head += dynamics
    for ranked in _RANKED:
        head += [ranked, f"{ranked}_low", f"{ranked}_high"]
    head += [f"mae_{v}" for v in record.variables]
    head += [f"mae_in_{c.name}" for c in record.clusters]
    head += ["seconds", "flops_executed", "flops_coursework"]
    head += ["training_flops_executed", "training_flops_coursework"]
    for model in models:
        head += [f"mae_minus_{model}", f"low_minus_{model}", f"high_minus_{model}"]
    rows = []
    for f in forecasters:
        row: list[Any] = [f.name, f.kind, *(getattr(f, m) for m in errors)]
        row += [f.coverage.get(level) for level in levels]
        row += [f.calibrated_coverage.get(level) for level in calibrated]
        row += [getattr(f, name) for name in dynamics]
        for interval in (f.skill, f.win_rate):
            row += [None] * 3 if interval is None else list(interval.model_dump().values())
        row += f.per_variable["mae"]
        row += [f.per_cluster.get(c.name) for c in record.clusters]
        row.append(f.seconds)
        for flops in (f.flops, f.training_flops):
            row += [None] * 2 if flops is None else [flops.executed, flops.coursework]
        for model in models:
            gap = f.mae_minus.get(model)
            row += [None] * 3 if gap is None else [gap.mean, gap.low, gap.high]
        rows.append(row)
    return csv_text(head, rows)


def table_of_series(entries: Sequence[Entry], task: Task, clusters: Mapping[str, str]) -> str:
    """Each series' MAE by forecaster, as CSV."""
    head = ["id", "cluster", *(e.name for e in entries)]
    rows: list[list[Any]] = []
    for i, (name, series) in enumerate(zip(task.ids, task.of_series, strict=True)):
        rows.append([name, clusters[series], *(float(e.scores.series_mae[i]) for e in entries)])
    return csv_text(head, rows)
