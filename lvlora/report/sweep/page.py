"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.report.document import Block, Cell, Document, Facts, Picture, Points, Section, Table
from lvlora.report.page import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMITS = (
    "The validation part chose among the trials, so the best one's error is a little too good; the "
    "test part was not touched. lvlora evaluate scores the best adapter on it.",
    "One seed for each trial: differences of the size that another seed makes mean nothing.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)
_CAPTIONS = {
    "error-by-flops": ("The error of each trial against its FLOPs", ""),
    "map": ("The error over the two searched settings", ""),
    "parallel": ("A line for each trial to its error", ""),
    "importances": (
        "What the differences between the trials of the search come from",
        "Functional analysis of variance; with few trials a hint, no more.",
    ),
}


def write_sweep_page(
    path: Path,
    *,
    study: str,
    command: str,
    metric: str,
    rows: Sequence[Mapping[str, Any]],
    plan: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    figures: Mapping[str, Figure],
) -> None:
    """Write report.html of a sweep.

    Args:
        command: the command line that trains with the best settings; empty if there is none.
        rows: a trial each, see `lvlora.report.sweep.figures.Rows`; also ``mae``, ``loss``,
            ``steps``, ``reason``.
        plan: a stage each: ``stage``, ``trials``, ``searched``, ``steps``, ``flops_at_most``.
        facts: totals, name to value.
        figures: by name, as `lvlora.report.sweep.figures` gives them.
    """
    complete = [r for r in rows if r["state"] == "complete" and r["value"] is not None]
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
    pictures: list[Block] = [
        Picture(_CAPTIONS[name][0], partial(_as_is, figure), _CAPTIONS[name][1])
        for name, figure in figures.items()
    ]
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
        Section("Figures", pictures),
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
    write_page(path, Document(title=f"Sweep {study}", lead=lead, sections=sections))


def _as_is(figure: Figure) -> Figure:
    return figure
