"""The page of an experiment, from what its stages found and its ledger charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import numbers
from lvlora.report.drawing.errors import is_model
from lvlora.report.evaluation.page import read_evaluation
from lvlora.report.page import (
    Block,
    Cell,
    PageContent,
    Picture,
    Points,
    Section,
    Table,
    write_page,
)
from lvlora.report.spending import spending_figure

LIMITS = (
    "Each stage has a folder beside this page, with a report of its own that shows more.",
    "Trainings and searches were compared on the validation part, which chose the adapters: their "
    "errors there are a little too good.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)
_PARTS = 4
"""Of the horizon, in the table of errors."""


def write_experiment_page(
    path: Path,
    *,
    name: str,
    stages: Sequence[Mapping[str, Any]],
    n_stages: int,
    ledger: Mapping[str, Any],
    evaluations: Mapping[str, Path],
) -> None:
    """Write report.html of an experiment.

    Args:
        stages: those that are done, as the answer has them.
        n_stages: of the whole experiment.
        ledger: as ``lvlora flops --ledger --json`` prints it.
        evaluations: name of a stage → the folder of its evaluation.

    Raises:
        DataError: an evaluation's record is damaged.
    """
    done = len(stages) == n_stages
    lead = f"{len(stages)} of {n_stages} stages are done." if not done else "All stages are done."
    found: list[list[Cell]] = [
        [
            stage["name"],
            stage["command"],
            stage["found"].get("steps"),
            stage["found"].get("loss_before"),
            stage["found"].get("loss"),
            stage["found"].get("mae_before"),
            stage["found"].get("mae"),
        ]
        for stage in stages
        if stage["command"] != "evaluate"
    ]
    head = ["stage", "command", "steps", "loss before", "loss", "MAE before", "MAE"]
    of_training = [Table("Of the validation series in training", head, found)] if found else []
    where: list[Block] = []
    for stage, folder in evaluations.items():
        where += _errors(stage, read_evaluation(folder))
    spending: list[Block] = [_accounting(stages, ledger)]
    if ledger["runs"]:
        spending.append(
            Picture.of(spending_figure(ledger), "FLOPs in all over time", "Both conventions.")
        )
    sections = (
        Section("Trainings", of_training),
        Section("Errors", where),
        Section("Accounting", spending),
        Section("Limits", (Points(LIMITS),)),
    )
    write_page(path, PageContent(title=f"Experiment {name}", lead=lead, sections=sections))


def _accounting(stages: Sequence[Mapping[str, Any]], ledger: Mapping[str, Any]) -> Table:
    budget, convention = ledger["budget"], ledger["convention"]
    share = "share of the budget" if budget is None else f"share of {numbers.flops(budget)}"
    head = ["stage", "command", "planned", "executed", "coursework", share, "time"]
    rows: list[list[Cell]] = [
        [
            stage["name"],
            stage["command"],
            stage["flops_at_most"][convention],
            stage["flops"]["executed"],
            stage["flops"]["coursework"],
            _share(stage["flops"][convention], budget),
            numbers.duration(stage["seconds"]),
        ]
        for stage in stages
    ]
    total = ledger["total"]
    rows.append(
        [
            *("all", "", sum(stage["flops_at_most"][convention] for stage in stages)),
            *(total["executed"], total["coursework"], _share(total[convention], budget)),
            numbers.duration(sum(stage["seconds"] for stage in stages)),
        ]
    )
    caption = f"FLOPs; planned: at most, {convention}"
    return Table(caption, head, rows, [len(rows) - 1])


def _share(flops: int, budget: int | None) -> str | None:
    return None if not budget else numbers.share(flops / budget)


def _errors(stage: str, record: Mapping[str, Any]) -> list[Block]:
    """The errors of an evaluation: in all, by variable, by part of the horizon, by cluster."""
    rows = sorted(record["forecasters"], key=lambda row: (row["mae"] is None, row["mae"]))
    marked = [i for i, row in enumerate(rows) if is_model(row)]
    variables, clusters = record["variables"], [c["name"] for c in record["clusters"]]
    horizon = record["protocol"]["horizon"]
    parts = [part for part in np.array_split(np.arange(horizon), _PARTS) if len(part)]
    head = [
        *("forecaster", "MAE", "NLL/D"),
        *variables,
        *(f"steps {part[0] + 1} to {part[-1] + 1}" for part in parts),
        *clusters,
    ]
    cells: list[list[Cell]] = [
        [
            *(row["name"], row["mae"], row["nll"]),
            *_by_variable(row, len(variables)),
            *(_mean(row, part) for part in parts),
            *(row["per_cluster"].get(name) for name in clusters),
        ]
        for row in rows
    ]
    asked = record["protocol"]
    caption = f"{stage}: MAE on {asked['series']} series of the {asked['split']} part"
    return [Table(caption, head, cells, marked)]


def _by_variable(row: Mapping[str, Any], n: int) -> list[Cell]:
    return list(row["per_variable"].get("mae", [None] * n))


def _mean(row: Mapping[str, Any], steps: np.ndarray[Any, Any]) -> float | None:
    """MAE of some steps, of all variables."""
    errors = [v for step in steps for v in row["mae_by_step"][step] if v is not None]
    return float(np.mean(errors)) if errors else None
