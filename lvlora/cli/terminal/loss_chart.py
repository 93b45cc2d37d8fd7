"""The losses of a run on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lvlora import numbers
from lvlora.cli.terminal.output import Output

_POINTS = 96
"""More steps than this are averaged: two for each of the chart's columns show nothing more."""


def show_losses(metrics: Sequence[Mapping[str, Any]], output: Output) -> None:
    """A chart of the training loss over the steps, and a line of the validation's; nothing for a
    run of fewer than two steps."""
    from lvlora.report.drawing.text_chart import terminal_plot

    steps = [row for row in metrics if _finite(row.get("loss")) and "validation" not in row]
    if len(steps) < 2:
        return
    losses = numbers.binned([float(row["loss"]) for row in steps], _POINTS)
    ends = [float(steps[0]["step"]), float(steps[-1]["step"])]
    each = (ends[1] - ends[0]) / (len(losses) - 1)
    output.line(
        terminal_plot(
            losses,
            [],
            height=7,
            ascii_only=output.ascii_only,
            title="training loss by step",
            time=[ends[0] + i * each for i in range(len(losses))],
        )
    )
    checks = [row["validation"] for row in metrics if "validation" in row]
    seen = [float(check["loss"]) for check in checks if _finite(check.get("loss"))]
    if len(seen) > 1:
        output.line(
            f"validation loss  {output.curve(seen)}  {numbers.plain(seen[0])} to "
            f"{numbers.plain(seen[-1])}"
        )


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
