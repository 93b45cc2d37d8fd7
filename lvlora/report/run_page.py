"""The page of a training run.

Knows: what a run recorded. Does not know: how it was made, HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlora.report.page import Cell, Facts, PageContent, Picture, Points, Section, write_page
from lvlora.report.training_figure import training_figure

LIMITS = (
    "The validation part chose the best adapter, so its error is a little too good; the test part "
    "was not touched. Forecast errors during training are of greedy forecasts of the second half "
    "of a few series.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)


def write_run_page(
    path: Path,
    *,
    run: str,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    result: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
) -> None:
    """Write report.html of a training run.

    Args:
        settings: name to value.
        data: source, series, variables, hashes.
        result: the command's JSON payload.
        metrics: the rows of metrics.jsonl.
    """
    before, after = result.get("zero_shot") or {}, result.get("validation") or {}
    outcome: list[tuple[str, Cell]] = [("steps", result["steps"]), ("tokens", result["tokens"])]
    for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
        if before.get(key) is not None:
            outcome.append((f"{name} before training", before[key]))
        if after.get(key) is not None:
            outcome.append((f"{name} of the best adapter", after[key]))
    flops = result["flops"]
    cost: list[tuple[str, Cell]] = [
        ("FLOPs, executed", flops["executed"]),
        ("FLOPs, coursework", flops["coursework"]),
        ("seconds in steps", result["seconds"]),
        ("trained parameters", result["trainable_parameters"]),
    ]
    course = Picture.of(training_figure(metrics), "Loss and validation error by step and FLOPs")
    chosen: list[tuple[str, Cell]] = [
        (name, None if value is None else str(value)) for name, value in settings.items()
    ]
    sections = (
        Section("Outcome", (Facts(outcome),)),
        Section("Course", (course,)),
        Section("Cost", (Facts(cost),)),
        Section("Data", (Facts(list(data.items())),)),
        Section("Settings", (Facts(chosen),)),
        Section("Limits", (Points(LIMITS),)),
    )
    write_page(path, PageContent(title=f"Run {run}", sections=sections))
