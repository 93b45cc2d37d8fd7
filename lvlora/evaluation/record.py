"""An evaluation as one JSON object: all that its page and its tables show.

Knows: entries, tasks. Does not know: where they come from, files, HTML.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvlora import __version__
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scoring import Entry
from lvlora.series.metrics.dynamics import DYNAMICS
from lvlora.series.metrics.scores import central_levels, scale_spread

SCALES_APART = 100.0
"""Where scales of series and variables differ by more, a mean in original units is that of the
largest alone, and scaled errors lead the table."""
METRICS = ("mae", "mse", "rmse", "smape", "mase", "median_series_mae", "crps", "nll")
_RANKED = ("skill", "win_rate")
_DRAWN_OF_EACH = 2
_DRAWN_STEPS = 10_000  # of a history, its last; a figure shows fewer


def record_of(
    entries: Sequence[Entry],
    given: Task,
    *,
    clusters: Sequence[Mapping[str, Any]],
    quantiles: Sequence[float],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole record.

    Args:
        clusters: ``name`` and ``series`` of each cluster of dynamics.
        facts: what else it says: ``command``, ``protocol``, ``data``, ``settings``, ``created``.
    """
    spread = scale_spread([h.values for h in given.histories])
    led_by = "mase" if spread > SCALES_APART else "mae"
    return {
        "schema_version": 1,
        "lvlora_version": __version__,
        **facts,
        "scale_spread": spread if math.isfinite(spread) else None,
        "led_by": led_by,
        "variables": list(given.variables),
        "clusters": [dict(c) for c in clusters],
        "forecasters": [_without_nan(e.to_dict()) for e in entries],
        "drawn": drawn(entries, given, quantiles, led_by),
    }


def reference(entries: Sequence[Entry], led_by: str = "mae") -> Entry:
    """What an evaluation is about: its first model, else the best rival by that metric."""
    models = [e for e in entries if e.kind == "model"]
    # the floor knows the truth
    rivals = [e for e in entries if e.kind != "floor"]
    return models[0] if models else min(rivals, key=lambda e: float(getattr(e.scores, led_by)))


def drawn(
    entries: Sequence[Entry], given: Task, quantiles: Sequence[float], led_by: str = "mae"
) -> dict[str, Any]:
    """Forecasts of the reference to look at: of its best, middle and worst series.

    Returns:
        ``forecaster`` and ``series``, a list of ``id``, ``why``, ``mae``, ``history_time``,
        ``history``, ``time``, ``truth``, ``median`` and ``bands`` ([low, high, lower, upper]);
        ``calendar`` where the times are dates.
    """
    about = reference(entries, led_by)
    errors = about.scores.series_mae
    series = []
    for at, why in _chosen(np.asarray(errors)):
        history, future = given.histories[at], given.futures[at]
        bands = []
        if about.samples is not None and about.samples.shape[1] > 1:
            for level in central_levels(quantiles):
                ends = ((1 - level) / 2, (1 + level) / 2)
                lower, upper = np.quantile(about.samples[at], ends, axis=0)
                bands.append([*ends, lower.tolist(), upper.tolist()])
        series.append(
            {
                "id": history.id,
                "why": why,
                "mae": float(errors[at]),
                "history_time": history.time[-_DRAWN_STEPS:].tolist(),
                "history": history.values[-_DRAWN_STEPS:].tolist(),
                "time": future.time.tolist(),
                "truth": future.values.tolist(),
                "median": about.point[at].tolist(),
                "bands": bands,
            }
        )
    calendar = given.histories[0].calendar if given.histories else None
    dated = {} if calendar is None else {"calendar": calendar.to_dict()}
    return {"forecaster": about.name, "series": _without_nan(series), **dated}


def _chosen(errors: Any) -> list[tuple[int, str]]:
    """Positions of the best, middle and worst series that have an error."""
    order = [int(i) for i in np.argsort(errors, kind="stable") if math.isfinite(errors[i])]
    n = len(order)
    if n <= 3 * _DRAWN_OF_EACH:
        words = {0: "best", n - 1: "worst"} if n > 1 else {}
        return [(i, words.get(place, "")) for place, i in enumerate(order)]
    middle = (n - _DRAWN_OF_EACH) // 2
    return [
        (i, why)
        for start, why in ((0, "best"), (middle, "middle"), (n - _DRAWN_OF_EACH, "worst"))
        for i in order[start : start + _DRAWN_OF_EACH]
    ]


def table_rows(record: Mapping[str, Any]) -> list[list[Any]]:
    """The table of forecasters, head first; None where something is not defined."""
    forecasters = record["forecasters"]
    variables = record["variables"]
    levels = sorted({level for f in forecasters for level in f["coverage"]})
    models = [f["name"] for f in forecasters if f["kind"] == "model"]
    head = ["name", "kind", *METRICS, *(f"coverage_{level}" for level in levels)]
    calibrated = sorted({level for f in forecasters for level in f["calibrated_coverage"]})
    head += [f"calibrated_coverage_{level}" for level in calibrated]
    head += DYNAMICS
    for ranked in _RANKED:
        head += [ranked, f"{ranked}_low", f"{ranked}_high"]
    head += [f"mae_{v}" for v in variables]
    head += [f"mae_in_{c['name']}" for c in record["clusters"]]
    head += ["seconds", "flops_executed", "flops_coursework"]
    head += ["training_flops_executed", "training_flops_coursework"]
    for model in models:
        head += [f"mae_minus_{model}", f"low_minus_{model}", f"high_minus_{model}"]
    rows = [head]
    for f in forecasters:
        row = [f["name"], f["kind"], *(f[m] for m in METRICS)]
        row += [f["coverage"].get(level) for level in levels]
        row += [f["calibrated_coverage"].get(level) for level in calibrated]
        row += [f[name] for name in DYNAMICS]
        for ranked in _RANKED:
            interval = f[ranked] or {}
            row += [interval.get(end) for end in ("value", "low", "high")]
        row += f["per_variable"]["mae"]
        row += [f["per_cluster"].get(c["name"]) for c in record["clusters"]]
        flops = f["flops"] or {}
        row += [f["seconds"], flops.get("executed"), flops.get("coursework")]
        training = f["training_flops"] or {}
        row += [training.get("executed"), training.get("coursework")]
        for model in models:
            gap = f["mae_minus"].get(model, {})
            row += [gap.get("mean"), gap.get("low"), gap.get("high")]
        rows.append(row)
    return rows


def series_rows(
    entries: Sequence[Entry], given: Task, clusters: Mapping[str, str]
) -> list[list[Any]]:
    """Each series' MAE by forecaster, head first."""
    rows: list[list[Any]] = [["id", "cluster", *(e.name for e in entries)]]
    for i, (name, series) in enumerate(zip(given.ids, given.of_series, strict=True)):
        errors = [float(e.scores.series_mae[i]) for e in entries]
        rows.append([name, clusters[series], *(e if math.isfinite(e) else None for e in errors)])
    return rows


def _without_nan(value: Any) -> Any:
    """None for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return value
