"""An experiment as people read it: its record and its plan as documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lvlora import numbers
from lvlora.experiment.record import Experiment, ExperimentPlan, StageResult
from lvlora.report.document import Block, Cell, Document, Section, Table
from lvlora.report.page import PAGE


def document(record: Experiment) -> Document:
    """Return the document of an experiment, or of as much of it as is done."""
    rows: list[list[Cell]] = [
        [
            *(stage.name, stage.command, "done", stage.flops.executed, stage.flops.coursework),
            numbers.duration(stage.seconds),
            *_result(stage),
            str(Path(stage.result.folder) / PAGE),
        ]
        for stage in record.stages
    ]
    rows.append(["others", "", "", record.others.executed, record.others.coursework, "", "", ""])
    rows.append(["all", "", "", record.flops.executed, record.flops.coursework, "", "", ""])
    head = ["stage", "command", "state", "executed", "coursework", "time", "MAE", "page"]
    blocks: list[Block] = [
        Table("FLOPs, time and error of each stage", head, rows, [len(rows) - 1]),
        "MAE: of a training or a sweep on the validation series, which chose the adapter; of an "
        "evaluation that of its best model. Others: commands that are no stage here.",
    ]
    if record.budget is not None and record.left is not None:
        blocks.append(
            f"{numbers.share(1 - record.left / record.budget)} of the budget of "
            f"{numbers.flops(record.budget)} FLOPs ({record.convention}) is spent."
        )
    evaluated = [stage for stage in record.stages if stage.result.forecasters is not None]
    sections = (
        Section("Stages", blocks),
        Section("Errors", [_errors(evaluated)] if evaluated else []),
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
            f"With the {numbers.flops(plan.charged.of(plan.convention))} FLOPs that are "
            f"charged already: at most {numbers.share(plan.share_of_budget)} of the budget of "
            f"{numbers.flops(plan.budget)} ({plan.convention})."
        )
    if plan.seconds is None:
        blocks.append("No time where the ledger has no such work to take a rate from.")
    blocks.append("Nothing was charged.")
    return Document(title=f"Plan of {plan.folder}", sections=(Section("Stages", blocks),))


def _result(stage: StageResult) -> list[Cell]:
    forecasters = stage.result.forecasters
    if forecasters is None:
        return [stage.result.mae]
    return [min((mae for mae in forecasters.values() if mae is not None), default=None)]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"about {numbers.duration(seconds)}"


def _errors(evaluated: Sequence[StageResult]) -> Table:
    """Return the MAE of each forecaster in each evaluation, the best of the last first."""
    maes = [stage.result.forecasters or {} for stage in evaluated]
    names = {name: [each.get(name) for each in maes] for each in maes for name in each}

    def order(name: str) -> tuple[float, ...]:
        return tuple(math.inf if mae is None else mae for mae in reversed(names[name]))

    rows: list[list[Cell]] = [[name, *names[name]] for name in sorted(names, key=order)]
    return Table("MAE in each evaluation", ["forecaster", *(s.name for s in evaluated)], rows)
