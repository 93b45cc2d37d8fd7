"""An evaluation as people see it: tables of errors, dynamics and clusters, and remarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output

if TYPE_CHECKING:
    from lvlora.evaluation.answers import Evaluation, ForecasterScores, Interval, Protocol

_SKETCHED = 4  # variables
_RANKED = ("skill", "win_rate")


def show_scores(found: Evaluation, output: Output) -> None:
    """The tables of an evaluation, and what no table says."""
    ordered = sorted(found.forecasters, key=lambda f: _order(getattr(f, found.led_by)))
    bold = [i for i, f in enumerate(ordered) if f.kind == "model"]
    _show_errors(found, ordered, bold, output)
    if found.led_by != "mae":
        output.line(
            f"Scales of series and variables differ {numbers.plain(found.scale_spread, 2)} "
            "times: the table is led by scaled errors (MASE), in which all count alike."
        )
        output.line()
    _show_more(ordered, bold, output)
    if len(found.clusters) > 1:
        output.table(
            ["MAE by cluster", *(f"{c.name}, {c.series} series" for c in found.clusters)],
            [
                [f.name, *(numbers.plain(f.per_cluster[c.name], 3) for c in found.clusters)]
                for f in ordered
            ],
        )
    if output.verbosity > 0:
        _sketch(found, output)
    if found.data.known:
        users = [f.name for f in found.forecasters if f.uses_known]
        output.note(
            f"Known columns ({', '.join(found.data.known)}) were given to "
            f"{', '.join(users) or 'nobody'}; the others leave them out."
        )
    for row in found.forecasters:
        _show_remarks(row, output)


def _order(error: float | None) -> float:
    return math.inf if error is None else error


def _show_errors(
    found: Evaluation,
    ordered: Sequence[ForecasterScores],
    bold: Sequence[int],
    output: Output,
) -> None:
    from lvlora.evaluation.answers import ForecasterScores
    from lvlora.series.metrics.measures import Errors, metrics_of

    levels = sorted({level for f in ordered for level in f.coverage}, key=float)
    models = [f.name for f in found.forecasters if f.kind == "model"]
    heads = {**metrics_of(Errors), "nll": metrics_of(ForecasterScores)["nll"]}
    columns = [name for name, metric in heads.items() if not metric.wide]
    columns.sort(key=lambda name: name != found.led_by)
    head = ["forecaster", *(heads[name].head for name in columns)]
    head += [f"in {100 * float(level):g} %" for level in levels]
    head.append("seconds")
    gaps = {f.name: f.mae_minus.get(models[0]) for f in ordered} if models else {}
    compared = any(gap is not None and gap.low is not None for gap in gaps.values())
    if compared:
        head.append("MAE - first model's, 95 %" if len(models) > 1 else "MAE - model's, 95 %")
    rows = []
    for f in ordered:
        row = [f.name, *(numbers.plain(getattr(f, name), 3) for name in columns)]
        covered = [f.coverage.get(level) for level in levels]
        row += ["–" if share is None else numbers.share(share) for share in covered]
        timed = f.kind != "floor" and f.seconds is not None
        row.append(numbers.plain(f.seconds, 2) if timed else "–")
        if compared:
            gap = gaps[f.name]
            row.append("" if gap is None else numbers.interval(gap.low, gap.high))
        rows.append(row)
    protocol = found.protocol
    name = "" if protocol.name == "own" else f"protocol {protocol.name}, "
    output.table(
        head,
        rows,
        bold=bold,
        title=f"{name}{protocol.split} part, {protocol.series} series: "
        f"{protocol.horizon} steps from {_given(protocol)}, original units"
        + (f"; seen: {protocol.seen}" if protocol.seen else ""),
    )


def _given(protocol: Protocol) -> str:
    """Steps of history and windows, in words."""
    seen = "all before" if protocol.all_before else str(protocol.context)
    several = f", {protocol.windows} windows each" if (protocol.windows or 1) > 1 else ""
    return seen + several


def _show_more(
    forecasters: Sequence[ForecasterScores], bold: Sequence[int], output: Output
) -> None:
    """Skill, win rate and dynamics: a table of its own, of what is defined for anybody."""
    from lvlora.evaluation.answers import ForecasterScores
    from lvlora.series.metrics.measures import DynamicsErrors, metrics_of

    heads = metrics_of(ForecasterScores)
    columns = {
        name: heads[name].head
        for name in (*_RANKED, *DynamicsErrors.model_fields)
        if any(getattr(f, name) is not None for f in forecasters)
    }
    if not columns:
        return
    rows = [
        [
            f.name,
            *(
                _with_interval(getattr(f, name))
                if name in _RANKED
                else numbers.plain(getattr(f, name), 3)
                for name in columns
            ),
        ]
        for f in forecasters
    ]
    title = "Against seasonal naive, and dynamics" if "skill" in columns else "Dynamics"
    output.table(["forecaster", *columns.values()], rows, bold=bold, title=title)


def _with_interval(found: Interval | None) -> str:
    if found is None or found.value is None or found.low is None:
        return numbers.plain(None if found is None else found.value, 3)
    return f"{found.value:.2f} ({found.low:.2f} … {found.high:.2f})"


def _sketch(found: Evaluation, output: Output) -> None:
    """The reference's best and worst series, for those who asked (-v)."""
    from lvlora.report.drawing.text_chart import terminal_plot

    drawn = found.drawn
    if drawn is None:
        return
    shown = [s for s in drawn.series if s.why in ("best", "worst")]
    for series in shown[:: max(1, len(shown) - 1)]:
        band = series.bands[0] if series.bands else None
        for v, variable in enumerate(found.variables[:_SKETCHED]):
            output.line(
                terminal_plot(
                    _column(series.history, v),
                    _column(series.median, v),
                    None if band is None else _column(band[2], v),
                    None if band is None else _column(band[3], v),
                    height=8,
                    ascii_only=output.ascii_only,
                    time=[*series.history_time, *series.time],
                    title=f"{series.why}, {series.id}: {variable} by {drawn.forecaster}, "
                    f"MAE {numbers.plain(series.mae, 3)}",
                )
            )
            output.line()


def _column(rows: Sequence[Sequence[float | None]], place: int) -> list[float]:
    return [math.nan if value is None else value for value in (row[place] for row in rows)]


def _show_remarks(row: ForecasterScores, output: Output) -> None:
    """What of one forecaster no table says."""
    line = output.line
    for level, share in row.calibrated_coverage.items():
        said = "–" if share is None else numbers.share(share)
        line(f"{row.name}: calibrated {100 * float(level):g} % intervals cover {said}")
    if row.nll_impossible:
        rest = f"; without them it is {numbers.plain(row.nll_possible, 3)}"
        line(
            f"{row.name}: its grammar cannot write {row.nll_impossible} of {row.n_values} true "
            f"values, so NLL/D is infinite{rest if row.nll_possible is not None else ''}"
        )
    if row.flops is not None:
        spent = f"{numbers.flops(row.flops.executed)} FLOPs executed"
        if row.training_flops is not None and row.training_flops.executed:
            spent += f", {numbers.flops(row.training_flops.executed)} by its training"
        line(f"{row.name}: {spent}")
