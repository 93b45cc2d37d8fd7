"""An experiment as people read it, before, while and after it is made."""

from __future__ import annotations

import math
from pathlib import Path

from lvlora import numbers
from lvlora.experiment.record import Experiment
from lvlora.report.document import Block, Cell, Document, Section, Table
from lvlora.report.page import PAGE


def document(record: Experiment) -> Document:
    """Return the document of an experiment: its done stages, what is left, and all errors."""
    done, left, evaluated = [], [], []
    for stage in record.stages:
        if stage.result is None:
            time = None if stage.seconds is None else f"about {numbers.duration(stage.seconds)}"
            prices = (stage.flops_at_most.executed, stage.flops_at_most.coursework)
            left.append([stage.name, stage.command, stage.what, *prices, time])
            continue
        maes = [stage.result.mae]
        if stage.result.forecasters is not None:
            evaluated.append((stage.name, stage.result.forecasters))
            maes = list(stage.result.forecasters.values())
        best = min((mae for mae in maes if mae is not None), default=None)
        spent = (stage.flops.executed, stage.flops.coursework, numbers.duration(stage.seconds or 0))
        page = str(Path(stage.result.folder) / PAGE)
        done.append([stage.name, stage.command, *spent, best, page])
    blocks: list[Block] = []
    if done:
        done.append(["all", "", record.flops.executed, record.flops.coursework, "", None, ""])
        head = ["stage", "command", "executed", "coursework", "time", "MAE", "page"]
        blocks += [
            Table("Stages that are done", head, done, [len(done) - 1]),
            "MAE: of a training or a sweep on the validation series, which chose the adapter; of "
            "an evaluation that of its best model. All: with other commands in this folder.",
        ]
    if left:
        head = ["stage", "command", "what", "executed at most", "coursework at most", "time"]
        blocks += [
            Table("Stages that are left", head, left),
            "No time where the ledger has no such work to take a rate from.",
        ]
    most, charged = record.flops_at_most.of(record.convention), record.flops.of(record.convention)
    of_budget = ""
    if record.budget is not None:
        share = numbers.share(most / record.budget)
        of_budget = f", {share} of the budget of {numbers.flops(record.budget)}"
    blocks.append(
        f"{numbers.flops(charged)} FLOPs are charged ({record.convention}); with what is left at "
        f"most {numbers.flops(most)}{of_budget}."
    )
    sections = [Section("Stages", blocks)]
    if evaluated:
        names = dict.fromkeys(name for _, maes in evaluated for name in maes)
        rows: list[list[Cell]] = [
            [name, *(maes.get(name) for _, maes in evaluated)] for name in names
        ]
        rows.sort(key=lambda row: [math.inf if mae is None else mae for mae in reversed(row[1:])])
        head = ["forecaster", *(name for name, _ in evaluated)]
        sections.append(Section("Errors", [Table("MAE in each evaluation", head, rows)]))
    return Document(title=f"Experiment {Path(record.folder).name}", sections=sections)
