"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlora.report.page import (
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
from lvlora.report.sweep.figures import (
    error_by_flops_figure,
    is_map,
    map_figure,
    parallel_figure,
    searched,
)
from lvlora.report.sweep.importance import importance_figure

LIMITS = (
    "The validation part chose among the trials, so the best one's error is a little too good; the "
    "test part was not touched. lvlora evaluate scores the best adapter on it.",
    "One seed for each trial: differences of the size that another seed makes mean nothing.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)


def write_sweep_page(
    path: Path,
    *,
    study: str,
    command: str,
    metric: str,
    rows: Sequence[Mapping[str, Any]],
    plan: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    before: float | None,
    importances: Mapping[str, float],
) -> None:
    """Write report.html of a sweep.

    Args:
        command: the command line that trains with the best settings; empty if there is none.
        rows: a trial each, see `lvlora.report.sweep.figures.Rows`; also ``mae``, ``loss``,
            ``steps``, ``reason``.
        plan: a stage each: ``stage``, ``trials``, ``searched``, ``steps``, ``flops_at_most``.
        facts: totals, name to value.
        before: the error of the model without training.
        importances: searched setting → its share of the differences; empty where it is not known.
    """
    valued = [r for r in rows if r["value"] is not None]
    complete = [r for r in valued if r["state"] == "complete"]
    best = min(complete, key=lambda r: (r["value"], r["trial"]), default=None)
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    cells: list[list[Cell]] = [
        [
            f"trial {row['trial']}",
            row["stage"],
            *(row["params"].get(name) for name in names),
            row["mae"],
            row["loss"],
            row["steps"],
            row["flops"],
            row["state"] + (f": {row['reason']}" if row.get("reason") else ""),
        ]
        for row in rows
    ]
    found: list[Block] = []
    if valued:
        found.append(
            Picture.of(
                error_by_flops_figure(rows, metric, before),
                "The error of each trial against its FLOPs",
                "The grey line joins the trials that no other beats in both.",
            )
        )
        if is_map(rows):
            found.append(
                Picture.of(
                    map_figure(rows, metric),
                    "The error at each pair of searched values",
                    narrow=map_figure(rows, metric, narrow=True),
                )
            )
        if searched(rows):
            found.append(
                Picture.of(parallel_figure(rows, metric), "A line for each trial to its error")
            )
        if importances:
            found.append(
                Picture.of(
                    importance_figure(importances, metric),
                    "What the differences between the trials of the search come from",
                    "Functional analysis of variance; with few trials a hint, no more.",
                )
            )
    outcome: list[Block] = []
    lead = "No trial has a result yet."
    if best is not None:
        chosen = ", ".join(f"{n.replace('_', ' ')} {v}" for n, v in best["params"].items())
        lead = f"Best: trial {best['trial']} ({chosen}), {metric} {best['value']:.4g}."
        outcome.append(f"Train with these settings: {command}")
    outcome.append(Facts(list(facts.items())))
    titles = [name.replace("_", " ") for name in names]
    head = ["trial", "stage", *titles, "MAE", "loss", "steps", "FLOPs", "state"]
    marked = [i for i, row in enumerate(rows) if row is best]
    sections = (
        Section("Outcome", outcome),
        Section("Trials", (Table("Every trial", head, cells, marked),)),
        Section("What was found", found),
        Section(
            "Plan",
            (
                Table(
                    "Stages, before the first step",
                    ["stage", "trials", "searched", "steps", "FLOPs at most"],
                    [
                        [p["stage"], p["trials"], p["searched"], p["steps"], p["flops_at_most"]]
                        for p in plan
                    ],
                ),
            ),
        ),
        Section("Limits", (Points(LIMITS),)),
    )
    write_page(path, PageContent(title=f"Sweep {study}", lead=lead, sections=sections))
