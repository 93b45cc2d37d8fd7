"""The spending of a project as a picture: FLOPs over time, and the budget as a line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.errors import DataError
from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_spending(table: Mapping[str, Any], path: Path) -> None:
    """Draw an accounting table into a PNG, SVG or PDF file.

    Args:
        table: as `lvlora flops --ledger --json` prints it.

    Raises:
        DataError: there are no runs yet.
        SettingsError: the path's suffix is no figure's.
        LvloraError: the file cannot be written.
    """
    style.check_suffix(path)
    if not table["runs"]:
        raise DataError("the ledger has no runs yet", "There is nothing to draw.")
    style.save(spending_figure(table), path)


def spending_figure(table: Mapping[str, Any]) -> Figure:
    """Cumulative FLOPs by the time they were recorded, one stair a convention.

    What is promised to open runs is charged in full, as in the budget.
    """
    runs = sorted(table["runs"], key=lambda run: str(run["recorded_at"]))
    times, unit = _elapsed([datetime.fromisoformat(str(run["recorded_at"])) for run in runs])
    with style.look():
        figure = style.new_figure(height=3.6)
        axes = figure.subplots()
        for index, convention in enumerate(("executed", "coursework")):
            spent = list(accumulate(float(run[convention]) for run in runs))
            axes.step(
                times,
                spent,
                where="post",
                marker="o",
                markersize=3.5,
                color=style.colour(index),
                label=f"{convention}: {style.short(spent[-1])}",
            )
        if table["budget"]:
            label = f"budget ({table['convention']}): {style.short(float(table['budget']))}"
            axes.axhline(float(table["budget"]), color=style.FAINT, linestyle="--", label=label)
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
        axes.set_xlabel(f"{unit} since {runs[0]['recorded_at'][:16].replace('T', ' ')} UTC")
        axes.set_ylabel("FLOPs in all")
        axes.set_title(f"Spending of {len(runs)} {'entry' if len(runs) == 1 else 'entries'}")
        style.legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def _elapsed(moments: list[datetime]) -> tuple[list[float], str]:
    """Time since the first moment, in the unit that suits the last, and the unit's name."""
    seconds = [(moment - moments[0]).total_seconds() for moment in moments]
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds[-1] >= 2 * size:
            return [second / size for second in seconds], unit
    return seconds, "seconds"
