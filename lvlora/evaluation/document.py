"""An evaluation as people read it: its record as a document, for a page and a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lvlora import numbers
from lvlora.data.metrics.measures import (
    Difference,
    DynamicsErrors,
    Errors,
    Interval,
    metrics_of,
)
from lvlora.evaluation.answers import EvaluationRecord, TaskFacts
from lvlora.evaluation.answers import ForecasterScores as Row
from lvlora.evaluation.comparison import skill_baseline
from lvlora.evaluation.figures import pictures_of
from lvlora.report.document import Block, Cell, Document, Facts, Points, Section, Table

_METRICS = metrics_of(Row)
_HEADS = {name: metric.head_with_unit for name, metric in _METRICS.items()}
_RANKED = ("skill", "win_rate")


def document(record: EvaluationRecord) -> Document:
    """Return the document of an evaluation; its pictures are drawn where they are shown."""
    rows = sorted(record.forecasters, key=lambda f: _order(getattr(f, record.led_by)))
    marked = [i for i, f in enumerate(rows) if f.kind == "model"]
    pictures = pictures_of(record)

    def picture(*names: str) -> list[Block]:
        return [pictures[name] for name in names if name in pictures]

    data = {**record.data.model_dump(), "series too short": record.protocol.left_out}
    if record.protocol.seen:
        data["forecasters see"] = record.protocol.seen
    sections = (
        Section("Outcome", _outcome(record), more=True),
        Section(
            "Forecasters",
            (
                *_errors(record, rows, marked),
                *picture("errors"),
                *_uncertainty(rows, marked),
            ),
        ),
        Section("Differences", (*_differences(rows), *_ranking(rows, marked))),
        Section("Forecasts", picture("forecasts"), more=True),
        Section("Dynamics", (*picture("valid-time"), *_dynamics(rows, marked))),
        Section("Clusters", _clusters(record, rows, marked)),
        Section(
            "Where the errors are",
            (*picture("error-by-step"), _by_variable(record, rows, marked)),
            more=True,
        ),
        Section(
            "Cost",
            (
                _cost(rows, record.protocol.series, marked),
                *picture("cost-training", "cost-flops", "cost-seconds"),
            ),
        ),
        Section("Data", (Facts(data),), more=True),
        Section("Settings", (Facts(record.settings),), more=True),
        Section("Remarks", _remarks(record)),
        Section("Limits", (Points(_limits(record)),), more=True),
    )
    protocol = record.protocol
    name = "" if protocol.name == "own" else f" (protocol {protocol.name})"
    return Document(
        title=f"{protocol.horizon} steps from {_history(protocol)}{name}",
        lead=_lead(record),
        sections=sections,
        footer=f"lvlora {record.lvlora_version}, lvlora {record.command}, {record.created}",
    )


def _order(error: float | None) -> float:
    return math.inf if error is None else error


def _history(protocol: TaskFacts) -> str:
    """Steps of history and windows, in words."""
    steps = "all before" if protocol.all_before else str(protocol.context)
    windows = protocol.windows or 1
    return steps + (f", {windows} windows of each series" if windows > 1 else "")


def _models(record: EvaluationRecord) -> list[Row]:
    return [f for f in record.forecasters if f.kind == "model"]


def _rivals(record: EvaluationRecord) -> list[tuple[float, Row]]:
    """Ours and other programs', with the error that leads, where they have it."""
    pairs = [
        (getattr(f, record.led_by), f) for f in record.forecasters if f.kind in ("rival", "foreign")
    ]
    return [(error, f) for error, f in pairs if error is not None]


def _lead(record: EvaluationRecord) -> str:
    models, protocol, metric = _models(record), record.protocol, record.led_by
    parts = []
    if models and getattr(models[0], metric) is not None:
        parts.append(f"{models[0].name}: {_HEADS[metric]} {getattr(models[0], metric):.4g}")
    best = min(_rivals(record), key=lambda pair: pair[0], default=None)
    if best is not None:
        parts.append(f"the best rival, {best[1].name}: {best[0]:.4g}")
    series = f"{protocol.series} series of the {protocol.split} part"
    units = "original units" if metric == "mae" else "in mean steps of each history"
    seen = f"; histories: {protocol.seen}" if protocol.seen else ""
    return f"{'; '.join(parts)} ({units}, {series}{seen})." if parts else series


def _outcome(record: EvaluationRecord) -> list[Block]:
    metric, rivals = record.led_by, _rivals(record)
    pairs: list[tuple[str, Cell]] = []
    for model in _models(record):
        error = getattr(model, metric)
        pairs.append((f"{_HEADS[metric]} of {model.name}", error))
        if rivals and error is not None:
            beaten = sum(other > error for other, _ in rivals)
            pairs.append((f"rivals that {model.name} beats", f"{beaten} of {len(rivals)}"))
        if model.crps is not None and model.coverage:
            pairs.append((f"CRPS of {model.name}", model.crps))
        if model.nll is not None:
            pairs.append((f"NLL/D of {model.name}, nats", model.nll))
        for level, share in model.coverage.items():
            pairs.append((f"truths inside its {_level(level)} interval", _percent(share)))
        for level, share in model.calibrated_coverage.items():
            pairs.append(
                (f"truths inside its calibrated {_level(level)} interval", _percent(share))
            )
    return [Facts(pairs)] if pairs else ["No language model was scored: rivals alone."]


def _percent(share: float | None) -> str:
    return "–" if share is None else numbers.share(share)


def _level(level: str) -> str:
    return f"{100 * float(level):g} %"


def _errors(record: EvaluationRecord, rows: Sequence[Row], marked: Sequence[int]) -> list[Block]:
    names = [name for name in Errors.model_fields if name != "crps" and not _METRICS[name].wide]
    names.sort(key=lambda name: name != record.led_by)
    cells: list[list[Cell]] = [[f.name, *(getattr(f, name) for name in names)] for f in rows]
    head = ["forecaster", *(_HEADS[name] for name in names)]
    if any(f.season for f in rows):
        head.append("season")
        for row, f in zip(cells, rows, strict=True):
            row.append(f.season)
    season = record.protocol.mase_season
    scale: list[Block] = []
    if season is not None:
        scale = [f"MASE: the error over the history's mean step of a season (in steps: {season})."]
    if record.led_by == "mae":
        caption = "Errors in original units, the best first; models are marked"
        return [Table(caption, head, cells, marked), *scale]
    spread = numbers.plain(record.scale_spread, 2)
    return [
        Table(
            f"Errors, the best {_HEADS[record.led_by]} first; models are marked",
            head,
            cells,
            marked,
        ),
        f"Scales of series and variables differ {spread} times: scaled errors (MASE) lead, in "
        "which all count alike. All others but sMAPE are in original units, and mostly those of "
        "the largest.",
        *scale,
    ]


def _uncertainty(rows: Sequence[Row], marked: Sequence[int]) -> list[Block]:
    """A table of its own: all columns beside each other are more than a screen shows."""
    plain = sorted({level for f in rows for level in f.coverage}, key=float)
    calibrated = sorted({level for f in rows for level in f.calibrated_coverage}, key=float)
    if not plain and not calibrated and all(f.nll is None for f in rows):
        return []
    cells: list[list[Cell]] = [
        [
            *(f.name, f.crps, f.nll),
            *(_percent(f.coverage.get(level)) for level in plain),
            *(_percent(f.calibrated_coverage.get(level)) for level in calibrated),
        ]
        for f in rows
    ]
    head = ["forecaster", _HEADS["crps"], _HEADS["nll"]]
    head += [f"inside {_level(level)}" for level in plain]
    head += [f"inside calibrated {_level(level)}" for level in calibrated]
    return [Table("Uncertainty: scores and coverage of distributions", head, cells, marked)]


def _differences(rows: Sequence[Row]) -> list[Block]:
    models = [f.name for f in rows if f.kind == "model"]
    if all(gap.low is None for f in rows for gap in f.mae_minus.values()):
        return []  # of one series there is no interval, and a difference alone says nothing
    cells: list[list[Cell]] = [
        [f.name, *(_difference(f.mae_minus.get(name)) for name in models)] for f in rows
    ]
    return [
        Table(
            "MAE minus each model's, with its 95 % interval (paired bootstrap over series); above "
            "0 is worse than the model",
            ["forecaster", *(f"minus {name}" for name in models)],
            cells,
        )
    ]


def _difference(gap: Difference | None) -> str | None:
    if gap is None or gap.mean is None:
        return None
    ends = [end for end in (gap.mean, gap.low, gap.high) if end is not None]
    size = max(map(abs, ends))
    # all in one form: the largest with four digits or more, as a table's other numbers
    decimals = min(max(3 - math.floor(math.log10(size)), 0), 4) if size else 4
    form = "+.3e" if size and not 1e-4 <= size < 1e7 else f"+,.{decimals}f"
    mean, *interval = (format(end, form) for end in ends)
    return f"{mean} ({' to '.join(interval)})" if len(interval) == 2 else mean


def _ranking(rows: Sequence[Row], marked: Sequence[int]) -> list[Block]:
    """Skill and win rates with their intervals; nothing where nobody has one."""
    names = [name for name in _RANKED if any(getattr(f, name) for f in rows)]
    if not names:
        return []
    cells: list[list[Cell]] = [
        [f.name, *(_interval(getattr(f, name)) for name in names)] for f in rows
    ]
    baseline = skill_baseline([f.name for f in rows]) or "nobody"
    caption = (
        f"Skill: 1 - geometric mean of scaled errors over those of {baseline} (0 is {baseline}, 1 "
        "perfect). Win rate: share of pairs with the smaller scaled error. With 95 % intervals"
    )
    return [Table(caption, ["forecaster", *(_HEADS[name] for name in names)], cells, marked)]


def _interval(interval: Interval | None) -> str | None:
    if interval is None or interval.value is None:
        return None
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _dynamics(rows: Sequence[Row], marked: Sequence[int]) -> list[Block]:
    """Measures of dynamics; nothing where none is defined."""
    names = [n for n in DynamicsErrors.model_fields if any(getattr(f, n) is not None for f in rows)]
    if not names:
        return []
    cells: list[list[Cell]] = [[f.name, *(getattr(f, name) for name in names)] for f in rows]
    caption = "Dynamics: steps are valid until sMAPE (0 to 100) exceeds 30; all others are errors"
    return [Table(caption, ["forecaster", *(_HEADS[name] for name in names)], cells, marked)]


def _clusters(record: EvaluationRecord, rows: Sequence[Row], marked: Sequence[int]) -> list[Block]:
    if len(record.clusters) < 2:
        return []
    head = ["forecaster", *(f"{c.name}, {c.series} series" for c in record.clusters)]
    cells: list[list[Cell]] = [
        [f.name, *(f.per_cluster.get(c.name) for c in record.clusters)] for f in rows
    ]
    caption = "MAE by cluster of similar dynamics, those of lvlora analyze"
    return [Table(caption, head, cells, marked)]


def _by_variable(record: EvaluationRecord, rows: Sequence[Row], marked: Sequence[int]) -> Table:
    few = len(record.variables) <= 4
    names = [name for name in ("mae", "mase", "crps") if few or name == "mae"]
    empty: list[float | None] = [None] * len(record.variables)
    cells: list[list[Cell]] = [
        [f.name, *(x for name in names for x in f.per_variable.get(name, empty))] for f in rows
    ]
    head = ["forecaster", *(f"{_HEADS[name]}, {v}" for name in names for v in record.variables)]
    return Table("Error by variable", head, cells, marked)


def _cost(rows: Sequence[Row], n_series: int, marked: Sequence[int]) -> Table:
    cells: list[list[Cell]] = []
    for f in rows:
        seconds = f.seconds if f.kind != "floor" else None
        cells.append(
            [
                *(f.name, seconds, None if seconds is None else seconds / n_series),
                *((None, None) if f.flops is None else (f.flops.executed, f.flops.coursework)),
                None if f.training_flops is None else f.training_flops.executed,
            ]
        )
    head = [
        *("forecaster", "seconds", "seconds a series", "FLOPs executed", "FLOPs coursework"),
        "FLOPs of its adapter's training, executed",
    ]
    return Table("What the forecasts cost", head, cells, marked)


def _remarks(record: EvaluationRecord) -> list[Block]:
    """Remarks that stand in no table."""
    lines = []
    if record.data.known:
        users = [f.name for f in record.forecasters if f.uses_known]
        lines.append(
            f"Known columns ({', '.join(record.data.known)}) were used by "
            f"{', '.join(users) or 'nobody'}; the others leave them out."
        )
    for model in _models(record):
        if model.nll_impossible:
            rest = f"; without them it is {numbers.plain(model.nll_possible, 3)}"
            lines.append(
                f"The grammar of {model.name} cannot write {model.nll_impossible:,} of "
                f"{model.n_values:,} true values: its NLL/D is infinite"
                f"{rest if model.nll_possible is not None else ''}."
            )
    return [Points(lines)] if lines else []


def _limits(record: EvaluationRecord) -> list[str]:
    """A sentence or two for each limit that holds for this evaluation."""
    protocol, kinds = record.protocol, {f.kind for f in record.forecasters}
    limits = []
    if protocol.series < 100:
        limits.append(
            f"Only {protocol.series} series were scored: differences between forecasters may be "
            "chance."
        )
    if protocol.split == "validation":
        limits.append(
            "Training chose its best step, and a sweep its best settings, on the validation part: "
            "the error of a tuned model is a little too good here. lvlora evaluate --split test is "
            "for the final table."
        )
    if protocol.split in ("train", "all"):
        limits.append("Series that a model was trained on may be among those that are scored.")
    if "floor" in kinds:
        limits.append(
            "The rounding floor is what writing numbers with so few decimals costs a forecaster "
            "that writes and knows the future. A forecaster that does not write may be better."
        )
    if any("fit" in f.name for f in record.forecasters if f.kind == "rival"):
        limits.append(
            "The fitted equations know the family of systems that such data come from; on data of "
            "another origin they lose that advantage. Every rival's forecast is kept within the "
            "range of its history, widened by its width on both sides."
        )
    if "model" in kinds:
        limits.append(
            "Intervals tell how much the choice of series matters. What another training seed "
            "would do is not in them."
        )
    return [
        *limits,
        "NLL/D is the negative logarithm of the density that a model gave to each true value, in "
        "nats: the smaller the better, and it can be negative.",
        "CRPS of a forecaster without samples is its absolute error: it claims to be certain.",
        "FLOPs are exact counts of the language models' matrix products in two conventions; they "
        "measure neither energy nor time. Seconds depend on the machine and on what else it did.",
    ]
