"""The spending of a project as a picture: FLOPs over time, and the budget as a line."""

from __future__ import annotations

from datetime import datetime
from itertools import accumulate
from pathlib import Path

from lvlora.errors import DataError
from lvlora.flops.answers import FlopsLedger
from lvlora.report.drawing import style


def draw_spending(answer: FlopsLedger, path: Path) -> None:
    """Draw cumulative FLOPs by the time they were recorded, one stair a convention.

    What is promised to open runs is charged in full, as in the budget.

    Raises:
        DataError: there are no runs yet.
        SettingsError: the path's suffix is no figure's.
        LvloraError: the file cannot be written.
    """
    style.check_suffix(path)
    if not answer.runs:
        raise DataError("the ledger has no runs yet", "There is nothing to draw.")
    runs = sorted(answer.runs, key=lambda run: run.recorded_at)
    times, unit = _elapsed([datetime.fromisoformat(run.recorded_at) for run in runs])
    with style.look():
        figure = style.new_figure(height=3.6)
        axes = figure.subplots()
        for index, convention in enumerate(("executed", "coursework")):
            spent = list(accumulate(float(getattr(run, convention)) for run in runs))
            axes.step(
                times,
                spent,
                where="post",
                marker="o",
                markersize=3.5,
                color=style.colour(index),
                label=f"{convention}: {style.short(spent[-1])}",
            )
        if answer.budget:
            label = f"budget ({answer.convention}): {style.short(float(answer.budget))}"
            axes.axhline(float(answer.budget), color=style.FAINT, linestyle="--", label=label)
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
        axes.set_xlabel(f"{unit} since {runs[0].recorded_at[:16].replace('T', ' ')} UTC")
        axes.set_ylabel("FLOPs in all")
        axes.set_title(f"Spending of {len(runs)} {'entry' if len(runs) == 1 else 'entries'}")
        style.legend_below(figure, axes.get_legend_handles_labels()[0])
    style.save(figure, path)


def _elapsed(moments: list[datetime]) -> tuple[list[float], str]:
    """Time since the first moment, in the unit that suits the last, and the unit's name."""
    seconds = [(moment - moments[0]).total_seconds() for moment in moments]
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds[-1] >= 2 * size:
            return [second / size for second in seconds], unit
    return seconds, "seconds"
