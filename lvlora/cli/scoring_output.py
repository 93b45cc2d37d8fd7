"""The result of an evaluation: as a table for people, as JSON, as CSV, as a folder with a page.

Knows: how each looks. Does not know: how anything was scored.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers, output_files
from lvlora.cli.forecast_files import table_text
from lvlora.cli.program.advice import next_command
from lvlora.cli.program.context import CommandContext
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.settings import BaselineSettings, EvaluateSettings, TrainSettings

if TYPE_CHECKING:
    from lvlora.evaluation.folder import EvaluationFolder
    from lvlora.evaluation.protocol import Task
    from lvlora.evaluation.scoring import Entry

_SKETCHED = 4  # variables
_COLUMNS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "smape": "sMAPE",
    "mase": "MASE",
    "median_series_mae": "median MAE",
    "crps": "CRPS",
    "nll": "NLL/D",
}
_MORE_COLUMNS = {
    "skill": "skill",
    "win_rate": "win rate",
    "valid_steps": "valid steps",
    "valid_periods": "in periods",
    "amplitude_error": "amplitude",
    "phase_error": "phase",
    "spectrum_distance": "spectrum",
    "state_divergence": "D_stsp",
}


def finish(
    entries: Sequence[Entry],
    given: Task,
    folder: EvaluationFolder,
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
    *,
    clusters: Mapping[str, str],
    sizes: Mapping[str, int],
    split: str,
    facts: Mapping[str, Any],
) -> None:
    """Write what is to be written, show what is to be shown.

    Args:
        clusters: id of a series -> name of its cluster; sizes: name -> number of series here.
        split: the text of split.json.
        facts: see `record_of`.
    """
    from lvlora.evaluation.folder import SERIES, TABLE
    from lvlora.evaluation.record import record_of, series_rows, table_rows
    from lvlora.report.evaluation.page import draw_evaluation

    record = record_of(
        entries,
        given,
        quantiles=settings.quantiles,
        facts=facts,
        clusters=[{"name": name, "series": n} for name, n in sizes.items()],
    )
    rows = table_rows(record)
    table = table_text(rows[0], rows[1:])
    files: list[Path] = []
    if folder.path is not None:
        each = series_rows(entries, given, clusters)
        tables = {TABLE: table, SERIES: table_text(each[0], each[1:]), "split.json": split}
        files = folder.write(record, tables)
        files += draw_evaluation(folder.path)
    to_stdout = settings.output == STANDARD_OUTPUT
    if settings.output is not None and not to_stdout:
        output_files.write_text(settings.output, table)
        files.append(settings.output)
    payload = {
        **{key: value for key, value in record.items() if key not in ("drawn", "schema_version")},
        "folder": folder.path,
        "files": files,
    }
    if to_stdout:
        context.output.write(table)
    else:
        context.output.report(payload, lambda: _show(entries, record, context))
    for path in files:
        if path.name == "report.html":
            context.output.note(f"Report: {path}")
    if settings.output is not None and not to_stdout:
        context.output.note(f"Written: {settings.output}")
    if facts["command"] == "baseline":
        asked = ("protocol", "context", "horizon")
        trained = next_command("train", TrainSettings, settings)
        scored = next_command("evaluate", EvaluateSettings, settings, also=asked)
        context.output.hint(f"Next: {trained}, then {scored}")
    elif folder.path is not None:
        page = shlex.quote(str(folder.path))
        context.output.hint(f"Next: lvlora report {page} --open shows it in the browser")


def _show(entries: Sequence[Entry], record: Mapping[str, Any], context: CommandContext) -> None:
    output = context.output
    forecasters = {f["name"]: f for f in record["forecasters"]}
    levels = sorted({level for f in forecasters.values() for level in f["coverage"]}, key=float)
    models = [e.name for e in entries if e.kind == "model"]
    covered_head = [f"in {100 * float(x):g} %" for x in levels]
    led_by = record["led_by"]
    columns = sorted(_COLUMNS, key=lambda name: name != led_by)
    head = ["forecaster", *(_COLUMNS[c] for c in columns), *covered_head, "seconds"]
    compared = bool(models) and any(
        math.isfinite(e.against[models[0]].low) for e in entries if models[0] in e.against
    )
    if compared:
        head.append("MAE - first model's, 95 %" if len(models) > 1 else "MAE - model's, 95 %")
    ordered = sorted(entries, key=lambda e: float(getattr(e.scores, led_by)))
    bold = [i for i, e in enumerate(ordered) if e.kind == "model"]
    rows = []
    for entry in ordered:
        facts = forecasters[entry.name]
        row = [entry.name, *(numbers.plain(facts[c], 3) for c in columns)]
        covered = [facts["coverage"].get(level) for level in levels]
        row += ["–" if c is None else numbers.share(c) for c in covered]
        row.append(numbers.plain(entry.seconds, 2) if entry.kind != "floor" else "–")
        if compared:
            gap = entry.against.get(models[0])
            row.append("" if gap is None else numbers.interval(gap.low, gap.high))
        rows.append(row)
    protocol = record["protocol"]
    name = "" if protocol["name"] == "own" else f"protocol {protocol['name']}, "
    output.table(
        head,
        rows,
        bold=bold,
        title=f"{name}{protocol['split']} part, {protocol['series']} series: "
        f"{protocol['horizon']} steps from {protocol['context']}, original units"
        + (f"; seen: {protocol['seen']}" if protocol["seen"] else ""),
    )
    if led_by != "mae":
        output.line(
            f"Scales of series and variables differ {numbers.plain(record['scale_spread'], 2)} "
            "times: the table is led by scaled errors (MASE), in which all count alike."
        )
        output.line()
    _show_more([forecasters[e.name] for e in ordered], bold, context)
    if len(record["clusters"]) > 1:
        names = [c["name"] for c in record["clusters"]]
        output.table(
            ["MAE by cluster", *(f"{c['name']}, {c['series']} series" for c in record["clusters"])],
            [[e.name, *(numbers.plain(e.per_cluster[n], 3) for n in names)] for e in ordered],
        )
    if context.verbosity > 0:
        _sketch(record, context)
    for entry in entries:
        for level, share in entry.calibrated_coverage.items():
            output.line(
                f"{entry.name}: calibrated {100 * level:g} % intervals cover {numbers.share(share)}"
            )
        if entry.nll is not None and entry.nll.n_impossible:
            output.line(
                f"{entry.name}: {entry.nll.n_impossible} of {entry.nll.n_values} true values are "
                "beyond its grammar, so NLL/D is infinite; without them it is "
                f"{numbers.plain(entry.nll.possible, 3)}"
            )
        if entry.price is not None:
            spent = f"{numbers.flops(entry.price.executed)} FLOPs executed"
            if entry.training_price is not None and entry.training_price.executed:
                spent += f", {numbers.flops(entry.training_price.executed)} by its training"
            output.line(f"{entry.name}: {spent}")


def _show_more(
    forecasters: Sequence[Mapping[str, Any]], bold: Sequence[int], context: CommandContext
) -> None:
    """Skill, win rate and dynamics: a table of its own, of what is defined for anybody."""
    columns = {
        name: head
        for name, head in _MORE_COLUMNS.items()
        if any(f[name] is not None for f in forecasters)
    }
    if not columns:
        return
    rows = []
    for f in forecasters:
        cells = []
        for name in columns:
            value = f[name]
            if not isinstance(value, Mapping):
                cells.append(numbers.plain(value, 3))
            elif value["low"] is None:
                cells.append(numbers.plain(value["value"], 3))
            else:
                cells.append(f"{value['value']:.2f} ({value['low']:.2f} … {value['high']:.2f})")
        rows.append([f["name"], *cells])
    title = "Against seasonal naive, and dynamics" if "skill" in columns else "Dynamics"
    context.output.table(["forecaster", *columns.values()], rows, bold=bold, title=title)


def _sketch(record: Mapping[str, Any], context: CommandContext) -> None:
    """The reference's best and worst series, for those who asked (-v)."""
    from lvlora.report.drawing.text_chart import terminal_plot

    output, drawn = context.output, record["drawn"]
    shown = [s for s in drawn["series"] if s["why"] in ("best", "worst")]
    for series in shown[:: max(1, len(shown) - 1)]:
        for v, variable in enumerate(record["variables"][:_SKETCHED]):
            band = series["bands"][0] if series["bands"] else None
            output.line(
                terminal_plot(
                    [row[v] for row in series["history"]],
                    [row[v] for row in series["median"]],
                    None if band is None else [row[v] for row in band[2]],
                    None if band is None else [row[v] for row in band[3]],
                    height=8,
                    ascii_only=output.ascii_only,
                    time=[*series["history_time"], *series["time"]],
                    title=f"{series['why']}, {series['id']}: {variable} by {drawn['forecaster']}, "
                    f"MAE {numbers.plain(series['mae'], 3)}",
                )
            )
            output.line()
