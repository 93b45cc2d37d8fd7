"""An experiment as people read it: its record and its plan as documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lvlora import numbers
from lvlora.answers import Price
from lvlora.experiment.answers import Experiment, ExperimentPlan, StageResult
from lvlora.report.document import Block, Cell, Document, Points, Section, Table

LIMITS = (
    "Each stage has a folder beside this page. Its own report shows errors by variable, step and "
    "cluster.",
    "Trainings and searches were compared on the validation part, which chose the adapters: their "
    "errors there are a little too good.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)
_PACES = {
    "ledger": "Times are at the rate of the last such work in the ledger.",
    "products": "Times are lower bounds: the ledger has no such work, so they are at the rate of "
    "matrix products here. lvlora train --dry-run measures a run's steps.",
}
_MEASURES = ("steps", "loss_before", "loss", "mae_before", "mae")


def document(record: Experiment) -> Document:
    """Return the document of an experiment, or of as much of it as is done."""
    trained = [stage for stage in record.stages if stage.command != "evaluate"]
    rows: list[list[Cell]] = [
        [stage.name, stage.command, *(getattr(stage.found, name) for name in _MEASURES)]
        for stage in trained
    ]
    head = ["stage", "command", "steps", "loss before", "loss", "MAE before", "MAE"]
    trainings = [Table("Errors on the validation series in training", head, rows)] if rows else []
    evaluated = [stage for stage in record.stages if stage.found.forecasters is not None]
    spending: list[Block] = [_accounting(record)]
    if record.budget is not None and record.left is not None:
        spending.append(
            f"{numbers.share(1 - record.left / record.budget)} of the budget of "
            f"{numbers.flops(record.budget)} FLOPs ({record.convention}) is spent."
        )
    sections = (
        Section("Trainings", trainings),
        Section("Errors", [_errors(evaluated)] if evaluated else []),
        Section("Accounting", spending),
        Section("Limits", (Points(LIMITS),), more=True),
    )
    lead = f"{len(record.stages)} stage{'' if len(record.stages) == 1 else 's'} done."
    return Document(title=f"Experiment {Path(record.folder).name}", lead=lead, sections=sections)


def plan_document(plan: ExperimentPlan) -> Document:
    """Return the document of an experiment before it is made."""
    rows: list[list[Cell]] = [
        [
            *(stage.name, stage.command, stage.what),
            *(stage.flops_at_most.executed, stage.flops_at_most.coursework),
            "done" if stage.done else _time(stage.seconds),
        ]
        for stage in plan.stages
    ]
    total = plan.flops_at_most
    rows.append(["together", "", "", total.executed, total.coursework, _time(plan.seconds)])
    head = ["stage", "command", "what", "executed at most", "coursework at most", "time"]
    blocks: list[Block] = [Table(f"Experiment in {plan.folder}", head, rows, [len(rows) - 1])]
    if plan.budget is not None and plan.share_of_budget is not None:
        blocks.append(
            f"With the {numbers.flops(getattr(plan.charged, plan.convention))} FLOPs that are "
            f"charged already: at most {numbers.share(plan.share_of_budget)} of the budget of "
            f"{numbers.flops(plan.budget)} ({plan.convention})."
        )
    blocks.append(f"{_PACES[plan.pace]} Nothing was charged.")
    return Document(title=f"Plan of {plan.folder}", sections=(Section("Stages", blocks),))


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"about {numbers.duration(seconds)}"


def _errors(evaluated: Sequence[StageResult]) -> Table:
    """Return the MAE of each forecaster in each evaluation, the best of the last first."""
    maes = [stage.found.forecasters or {} for stage in evaluated]
    names = {name: [each.get(name) for each in maes] for each in maes for name in each}

    def order(name: str) -> tuple[float, ...]:
        return tuple(math.inf if mae is None else mae for mae in reversed(names[name]))

    rows: list[list[Cell]] = [[name, *names[name]] for name in sorted(names, key=order)]
    return Table("MAE in each evaluation", ["forecaster", *(s.name for s in evaluated)], rows)


def _accounting(record: Experiment) -> Table:
    budget, convention = record.budget, record.convention
    share = "share of the budget" if budget is None else f"share of {numbers.flops(budget)}"

    def cells(flops: Price) -> list[Cell]:
        part = None if not budget else numbers.share(getattr(flops, convention) / budget)
        return [flops.executed, flops.coursework, part]

    rows: list[list[Cell]] = [
        [
            *(stage.name, stage.command, getattr(stage.flops_at_most, convention)),
            *cells(stage.flops),
            numbers.duration(stage.seconds),
        ]
        for stage in record.stages
    ]
    rows.append(["others", "", None, *cells(record.others), ""])
    rows.append(["all", "", None, *cells(record.flops), ""])
    head = ["stage", "command", "planned", "executed", "coursework", share, "time"]
    caption = f"FLOPs; planned: at most, {convention}; others: charged to no stage here"
    return Table(caption, head, rows, [len(rows) - 1])
