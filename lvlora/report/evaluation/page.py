"""The page of an evaluation, made from nothing but its record, evaluation.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.report.drawing.errors import is_model
from lvlora.report.evaluation.dynamics import dynamics_of, ranking_of
from lvlora.report.evaluation.figures import leads, pictures_of
from lvlora.report.evaluation.limits import limits_of
from lvlora.report.page import (
    PAGE,
    Block,
    Cell,
    Facts,
    PageContent,
    Picture,
    Points,
    Section,
    Table,
    write_page,
)
from lvlora.series.metrics.measures import METRICS, Errors

FIGURES = Path("figures")

_HEADS = {**{name: metric.head_with_unit for name, metric in METRICS.items()}, "nll": "NLL/D"}
_POINT = tuple(name for name in Errors.model_fields if name != "crps")


def draw_evaluation(folder: Path, record: Mapping[str, Any]) -> list[Path]:
    """Write an evaluation's figures and its page, report.html, from its record.

    Returns:
        the files that were written.

    Raises:
        LvloraError: a file cannot be written.
    """
    pictures = pictures_of(record)
    written = []
    for name, picture in pictures.items():
        written.append(folder / FIGURES / f"{name}.svg")
        durable.write_bytes(written[-1], picture.content)
    write_page(folder / PAGE, evaluation_page(record, pictures))
    return [folder / PAGE, *written]


def evaluation_page(record: Mapping[str, Any], pictures: Mapping[str, Picture]) -> PageContent:
    """The content of the page."""
    protocol, data = record["protocol"], record["data"]
    rows = sorted(record["forecasters"], key=lambda f: _order(f[leads(record)]))
    marked = [i for i, f in enumerate(rows) if is_model(f)]
    of = {name: (picture,) for name, picture in pictures.items()}
    source: list[tuple[str, Cell]] = [
        ("data", data["source"]),
        ("part", protocol["split"]),
        ("series scored", protocol["series"]),
        ("series too short for the protocol", protocol["left_out"]),
        *([("what forecasters see", protocol["seen"])] if protocol.get("seen") else []),
        ("split", f"seed {data['split_seed']}" + (", stratified" if data["stratified"] else "")),
        ("hash of the split", data["split_sha256"][:16]),
        ("hash of the data", data["sha256"][:16]),
    ]
    sections = (
        Section("Outcome", _outcome(record)),
        Section(
            "Forecasters",
            (
                *_metrics_table(record, rows, marked),
                *of.get("errors", ()),
                *_uncertainty_table(rows, marked),
            ),
        ),
        Section("Differences", (*_differences(rows), *ranking_of(rows, marked))),
        Section("Forecasts", of.get("forecasts", ())),
        Section("Dynamics", (*of.get("valid-time", ()), *dynamics_of(rows, marked))),
        Section(
            "Where the errors are",
            (
                *of.get("error-by-step", ()),
                _variables_table(rows, record["variables"], marked),
                *_clusters_table(rows, record["clusters"], marked),
            ),
        ),
        Section(
            "Cost",
            (
                _cost_table(rows, protocol["series"], marked),
                *of.get("cost-training", ()),
                *of.get("cost-flops", ()),
                *of.get("cost-seconds", ()),
            ),
        ),
        Section("Data", (Facts(source),)),
        Section("Settings", (Facts(record["settings"]),)),
        Section("Limits", (Points(limits_of(record)),)),
    )
    name = "" if protocol["name"] == "own" else f" (protocol {protocol['name']})"
    return PageContent(
        title=f"{protocol['horizon']} steps from {_given(protocol)}{name}",
        lead=_lead(record),
        sections=sections,
        footer=f"lvlora {record['lvlora_version']}, lvlora {record['command']}, "
        f"{record['created']}",
    )


def _given(protocol: Mapping[str, Any]) -> str:
    """Steps of history and windows, in words."""
    seen = "all before" if protocol.get("all_before") else str(protocol["context"])
    windows = protocol.get("windows") or 1
    return seen + (f", {windows} windows of each series" if windows > 1 else "")


def _order(error: float | None) -> float:
    return math.inf if error is None else error


def _models(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [f for f in record["forecasters"] if is_model(f)]


def _lead(record: Mapping[str, Any]) -> str:
    models, protocol, metric = _models(record), record["protocol"], leads(record)
    rivals = [f for f in record["forecasters"] if _is_rival(f) and f[metric] is not None]
    best = min(rivals, key=lambda f: f[metric], default=None)
    parts = []
    if models and models[0][metric] is not None:
        parts.append(f"{models[0]['name']}: {_HEADS[metric]} {models[0][metric]:.4g}")
    if best is not None:
        parts.append(f"the best rival, {best['name']}: {best[metric]:.4g}")
    which = f"{protocol['series']} series of the {protocol['split']} part"
    units = "original units" if metric == "mae" else "in mean steps of each history"
    return f"{'; '.join(parts)} ({units}, {which})." if parts else which


def _outcome(record: Mapping[str, Any]) -> list[Block]:
    models, metric = _models(record), leads(record)
    pairs: list[tuple[str, Cell]] = []
    for model in models:
        better = [f for f in record["forecasters"] if _is_rival(f)]
        known = [f for f in better if f[metric] is not None and model[metric] is not None]
        beaten = sum(f[metric] > model[metric] for f in known)
        pairs.append((f"{_HEADS[metric]} of {model['name']}", model[metric]))
        if known:
            pairs.append((f"rivals that {model['name']} beats", f"{beaten} of {len(known)}"))
        if model["crps"] is not None and model["coverage"]:
            pairs.append((f"CRPS of {model['name']}", model["crps"]))
        if model["nll"] is not None:
            pairs.append((f"NLL/D of {model['name']}, nats", model["nll"]))
        for level, share in model["coverage"].items():
            pairs.append((f"truths inside its {_percent(float(level))} interval", _percent(share)))
        for level, share in model["calibrated_coverage"].items():
            name = f"truths inside its calibrated {_percent(float(level))} interval"
            pairs.append((name, _percent(share)))
    return [Facts(pairs)] if pairs else ["No language model was scored: rivals alone."]


def _is_rival(row: Mapping[str, Any]) -> bool:
    """Ours, or a forecaster of another program."""
    return row["kind"] in ("rival", "foreign")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


def _metrics_table(
    record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], marked: Sequence[int]
) -> list[Block]:
    metric = leads(record)
    shown = sorted(_POINT, key=lambda name: name != metric)
    cells: list[list[Cell]] = [[f["name"], _kind(f), *(f[m] for m in shown)] for f in rows]
    head = ["forecaster", "kind", *(_HEADS[m] for m in shown)]
    title = "Errors in original units, the best first; models are marked"
    if metric == "mae":
        return [Table(title, head, cells, marked)]
    return [
        Table(f"Errors, the best {_HEADS[metric]} first; models are marked", head, cells, marked),
        f"Scales of series and variables differ {record['scale_spread']:.2g} times: scaled errors "
        "(MASE) lead, in which all count alike. All others but sMAPE are in original units, and "
        "mostly those of the largest.",
    ]


def _uncertainty_table(rows: Sequence[Mapping[str, Any]], marked: Sequence[int]) -> list[Block]:
    """A table of its own: all columns beside each other are more than a screen shows."""
    intervals = [
        (kind, level, f"inside {words}{_percent(float(level))}")
        for kind, words in (("coverage", ""), ("calibrated_coverage", "calibrated "))
        for level in sorted({level for f in rows for level in f[kind]}, key=float)
    ]
    if not intervals and all(f["nll"] is None for f in rows):
        return []
    cells: list[list[Cell]] = [
        [
            f["name"],
            f["crps"],
            f["nll"],
            *(_percent(f[kind][x]) if x in f[kind] else None for kind, x, _ in intervals),
        ]
        for f in rows
    ]
    head = ["forecaster", _HEADS["crps"], _HEADS["nll"], *(name for _, _, name in intervals)]
    return [
        Table(
            "What each claims to know: scores and coverage of distributions", head, cells, marked
        ),
        "NLL/D is the negative logarithm of the density that a model gave to each true value, in "
        "nats: the smaller the better, and it can be negative. Of the truths, as many as an "
        "interval says should be inside it.",
    ]


def _kind(row: Mapping[str, Any]) -> str:
    return "language model" if is_model(row) else str(row["kind"])


def _differences(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    models = [f["name"] for f in rows if is_model(f)]
    cells: list[list[Cell]] = [
        [f["name"], *(_interval(f["mae_minus"].get(m)) for m in models)] for f in rows
    ]
    if not models or len(rows) < 2:
        return []
    return [
        Table(
            "MAE minus each model's, with the 95 % interval of a paired bootstrap over series",
            ["forecaster", *(f"minus {m}" for m in models)],
            cells,
        ),
        "Positive: worse than the model. An interval that holds 0 leaves it open which is better.",
    ]


def _interval(gap: Mapping[str, float | None] | None) -> str | None:
    if gap is None or gap["mean"] is None:
        return None
    ends = [gap["mean"], gap["low"], gap["high"]]
    known = [end for end in ends if end is not None]
    size = max(map(abs, known))
    # all in one form: the largest with four digits or more, as a table's other numbers
    decimals = min(max(3 - math.floor(math.log10(size)), 0), 4) if size else 4
    form = "+.3e" if size and not 1e-4 <= size < 1e7 else f"+,.{decimals}f"
    mean, *interval = (format(end, form) for end in known)
    return f"{mean} ({' to '.join(interval)})" if len(interval) == 2 else mean


def _variables_table(
    rows: Sequence[Mapping[str, Any]], variables: Sequence[str], marked: Sequence[int]
) -> Table:
    chosen = [m for m in ("mae", "mase", "crps") if len(variables) <= 4 or m == "mae"]
    head = ["forecaster", *(f"{_HEADS[m]}, {v}" for m in chosen for v in variables)]
    cells: list[list[Cell]] = [
        [f["name"], *(x for m in chosen for x in f["per_variable"][m])] for f in rows
    ]
    return Table("Error by variable", head, cells, marked)


def _clusters_table(
    rows: Sequence[Mapping[str, Any]], clusters: Sequence[Mapping[str, Any]], marked: Sequence[int]
) -> list[Block]:
    if len(clusters) < 2:
        return []
    head = ["forecaster", *(f"{c['name']}, {c['series']} series" for c in clusters)]
    cells: list[list[Cell]] = [
        [f["name"], *(f["per_cluster"].get(c["name"]) for c in clusters)] for f in rows
    ]
    return [
        Table("MAE by cluster of similar dynamics", head, cells, marked),
        "The clusters are those of lvlora analyze: KMeans on period, size, correlation and lag of "
        "whole series.",
    ]


def _cost_table(rows: Sequence[Mapping[str, Any]], n_series: int, marked: Sequence[int]) -> Table:
    cells: list[list[Cell]] = []
    for f in rows:
        flops, training = f["flops"] or {}, f.get("training_flops") or {}
        seconds = f["seconds"] if f["kind"] != "floor" else None
        cells.append(
            [
                f["name"],
                seconds,
                None if seconds is None else seconds / n_series,
                flops.get("executed"),
                flops.get("coursework"),
                training.get("executed"),
            ]
        )
    head = [
        "forecaster",
        "seconds",
        "seconds a series",
        "FLOPs executed",
        "FLOPs coursework",
        "FLOPs of its adapter's training, executed",
    ]
    return Table("What the forecasts cost", head, cells, marked)
