"""An evaluation as one JSON object, all that its page and its tables show; and those tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from lvlora import __version__
from lvlora.answers import NOTHING
from lvlora.data.answers import Difference, DynamicsErrors, Errors, Interval
from lvlora.data.dataset import FloatArray
from lvlora.data.files.csv import csv_text
from lvlora.data.metrics import central_levels, of_samples, scale_spread
from lvlora.data.periods import seasons_used
from lvlora.evaluation.answers import (
    ClusterSize,
    Drawn,
    DrawnSeries,
    EvaluatedData,
    Evaluation,
    ForecasterScores,
    TaskFacts,
)
from lvlora.evaluation.job import Job
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.evaluation.settings import EvaluateSettings

SCALES_APART = 100.0
"""Where scales of series and variables differ by more, a mean in original units is that of the
largest alone, and scaled errors lead the table."""
_DRAWN_STEPS = 10_000  # of a history, its last; a figure shows fewer


def record_of(entries: Sequence[Entry], job: Job, clusters: Mapping[str, int]) -> Evaluation:
    """Make the record of an evaluation.

    Args:
        clusters: name of each cluster of dynamics -> histories of the task that are in it.
    """
    task, settings, protocol = job.task, job.settings, job.task.protocol
    spread = scale_spread([h.values for h in task.histories])
    led_by: Literal["mae", "mase"] = "mase" if spread > SCALES_APART else "mae"
    rolling: dict[str, Any] = {}
    if protocol.windows is not None:
        rolling = {
            "windows": protocol.windows,
            "stride": protocol.horizon,
            "all_before": protocol.context is None,
        }
    return Evaluation(
        schema_version=1,
        lvlora_version=__version__,
        command=settings.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        protocol=TaskFacts(
            name=settings.protocol_name,
            split=protocol.part,
            context=protocol.context or task.context,
            horizon=protocol.horizon,
            **rolling,
            series=task.n_series,
            left_out=task.left_out,
            disturbance=None,
            seen=None,
            mase_season=seasons_used(np.round(task.periods).tolist()),
        ),
        data=EvaluatedData(
            source=job.data.source,
            time=job.data.time_name,
            sha256=job.data_sha256,
            split_seed=job.split.seed,
            stratified=settings.stratify,
            split_sha256=job.split.sha256,
            known=job.data.known,
        ),
        settings=_other_settings(settings),
        scale_spread=spread,
        led_by=led_by,
        variables=list(task.variables),
        clusters=[ClusterSize(name=name, series=n) for name, n in clusters.items()],
        forecasters=[entry.row for entry in entries],
        drawn=_drawn(entries, task, settings.quantiles, led_by),
        key=job.folder.key,
    )


def _other_settings(settings: EvaluateSettings) -> dict[str, object]:
    """Settings that decide the result and stand neither in the record's protocol nor its data."""
    elsewhere = ("split_seed", "stratify", "split", "protocol", "context", "horizon")
    deciding = settings.deciding("result", "model", "placement", "limit", "resources")
    return {
        name: value
        for name, value in deciding.items()
        if name not in (*elsewhere, "windows", "holdout") and value is not None
    }


def _subject(entries: Sequence[Entry], led_by: str) -> Entry:
    """Return the first model, else the best rival by that metric."""
    models = [e for e in entries if e.row.kind == "model"]
    # the floor knows the truth
    rivals = [e for e in entries if e.row.kind != "floor"]
    return models[0] if models else min(rivals, key=lambda e: e.row.error(led_by))


def _drawn(entries: Sequence[Entry], task: Task, quantiles: Sequence[float], led_by: str) -> Drawn:
    """Return the subject's forecasts of its best, middle and worst series."""
    about = _subject(entries, led_by)
    errors = about.series_mae
    series = []
    for at, why in _chosen(np.asarray(errors)):
        history, future = task.histories[at], task.futures[at]
        bands = []
        if about.samples is not None and about.samples.shape[1] > 1:
            for level in central_levels(quantiles):
                low, high = (1 - level) / 2, (1 + level) / 2
                lower, upper = of_samples(about.samples[at], (low, high))
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
    dated = {} if calendar is None else {"calendar": asdict(calendar)}
    return Drawn(forecaster=about.row.name, series=series, **dated)


def _chosen(errors: FloatArray) -> list[tuple[int, Literal["best", "middle", "worst", ""]]]:
    """Positions of the best, middle and worst series that have an error."""
    order = [int(i) for i in np.argsort(errors, kind="stable") if math.isfinite(errors[i])]
    if len(order) < 2:
        return [(i, "") for i in order]
    best, middle, worst = order[0], order[len(order) // 2], order[-1]
    between: list[tuple[int, Literal["middle"]]] = [(middle, "middle")] if middle != worst else []
    return [(best, "best"), *between, (worst, "worst")]


def table_of(record: Evaluation) -> str:
    """The table of forecasters as CSV; empty where something is not defined."""
    rows = [_cells(row, record) for row in record.forecasters]
    return csv_text(list(rows[0]), [list(row.values()) for row in rows])


def _cells(row: ForecasterScores, record: Evaluation) -> dict[str, Any]:
    """Return a row of the table: name of a column -> its value."""
    rows = record.forecasters
    cells: dict[str, Any] = {
        name: getattr(row, name) for name in ("name", "kind", *Errors.model_fields, "nll")
    }
    for key in ("coverage", "calibrated_coverage"):
        levels = sorted({level for each in rows for level in getattr(each, key)})
        cells |= {f"{key}_{level}": getattr(row, key).get(level) for level in levels}
    cells |= {name: getattr(row, name) for name in DynamicsErrors.model_fields}
    for name in ("skill", "win_rate"):
        interval = getattr(row, name) or Interval(value=None, low=None, high=None)
        cells |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    maes = zip(record.variables, row.per_variable["mae"], strict=True)
    cells |= {f"mae_{variable}": mae for variable, mae in maes}
    cells |= {f"mae_in_{c.name}": row.per_cluster.get(c.name) for c in record.clusters}
    cells["seconds"] = row.seconds
    for key in ("flops", "training_flops"):
        price = getattr(row, key)
        for convention in NOTHING.to_dict():
            cells[f"{key}_{convention}"] = None if price is None else price.of(convention)
    for model in (each.name for each in rows if each.kind == "model"):
        gap = row.mae_minus.get(model) or Difference(mean=None, low=None, high=None)
        cells[f"mae_minus_{model}"] = gap.mean
        cells |= {f"low_minus_{model}": gap.low, f"high_minus_{model}": gap.high}
    return cells


def table_of_series(entries: Sequence[Entry], task: Task) -> str:
    """Each series' MAE by forecaster, as CSV."""
    errors = np.stack([e.series_mae for e in entries], axis=1).tolist()
    rows = [[name, *maes] for name, maes in zip(task.ids, errors, strict=True)]
    return csv_text(["id", *(e.row.name for e in entries)], rows)
