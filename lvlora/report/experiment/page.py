"""The page of an experiment: results of its stages, and what the ledger charged for each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lvlora import numbers
from lvlora.report.document import Block, Cell, Document, Picture, Points, Section, Table
from lvlora.report.page import write_page
from lvlora.report.spending import spending_figure

LIMITS = (
    "Each stage has a folder beside this page. Its own report shows errors by variable, step and "
    "cluster.",
    "Trainings and searches were compared on the validation part, which chose the adapters: their "
    "errors there are a little too good.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)


def write_experiment_page(
    path: Path, answer: Mapping[str, Any], *, n_stages: int, ledger: Mapping[str, Any]
) -> None:
    """Write report.html of an experiment.

    Args:
        answer: as ``lvlora experiment --json`` prints it, of the stages that are done.
        n_stages: of the whole experiment.
        ledger: as ``lvlora flops --ledger --json`` prints it.
    """
    stages = answer["stages"]
    done = len(stages) == n_stages
    lead = "All stages are done." if done else f"{len(stages)} of {n_stages} stages are done."
    measures = ("steps", "loss_before", "loss", "mae_before", "mae")
    trained: list[list[Cell]] = [
        [stage["name"], stage["command"], *(stage["found"].get(name) for name in measures)]
        for stage in stages
        if stage["command"] != "evaluate"
    ]
    head = ["stage", "command", "steps", "loss before", "loss", "MAE before", "MAE"]
    trainings = [Table("Of the validation series in training", head, trained)] if trained else []
    errors: list[Block] = [
        Table(
            f"{stage['name']}: MAE, from {Path(stage['found']['folder']).name}",
            ["forecaster", "MAE"],
            [[name, mae] for name, mae in sorted(_maes(stage), key=_order)],
        )
        for stage in stages
        if stage["command"] == "evaluate"
    ]
    spending: list[Block] = [_accounting(answer)]
    if ledger["runs"]:
        figure = partial(spending_figure, ledger)
        spending.append(Picture("FLOPs in all over time", figure, "Both conventions."))
    sections = (
        Section("Trainings", trainings),
        Section("Errors", errors),
        Section("Accounting", spending),
        Section("Limits", (Points(LIMITS),)),
    )
    title = f"Experiment {Path(answer['folder']).name}"
    write_page(path, Document(title=title, lead=lead, sections=sections))


def _accounting(answer: Mapping[str, Any]) -> Table:
    budget, convention = answer["budget"], answer["convention"]
    share = "share of the budget" if budget is None else f"share of {numbers.flops(budget)}"
    head = ["stage", "command", "planned", "executed", "coursework", share, "time"]

    def cells(flops: Mapping[str, int]) -> list[Cell]:
        part = None if not budget else numbers.share(flops[convention] / budget)
        return [flops["executed"], flops["coursework"], part]

    rows: list[list[Cell]] = [
        [
            *(stage["name"], stage["command"], stage["flops_at_most"][convention]),
            *cells(stage["flops"]),
            numbers.duration(stage["seconds"]),
        ]
        for stage in answer["stages"]
    ]
    rows.append(["others", "", None, *cells(answer["others"]), ""])
    rows.append(["all", "", None, *cells(answer["flops"]), ""])
    caption = f"FLOPs; planned: at most, {convention}; others: of no stage here"
    return Table(caption, head, rows, [len(rows) - 1])


def _maes(stage: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    return list((stage["found"].get("forecasters") or {}).items())


def _order(row: tuple[str, float | None]) -> tuple[bool, float]:
    return row[1] is None, row[1] or 0.0
