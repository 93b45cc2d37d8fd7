"""The answer of `lvlora experiment`, its document, and the file of what is done."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lvlora import numbers
from lvlora.answers import NOTHING, Answer, Number, Price, Shape
from lvlora.experiment.settings import Command
from lvlora.report.document import Block, Cell, Document, Section, Table
from lvlora.report.page import PAGE
from lvlora.settings.base import Convention


class Result(Shape):
    """The result of a stage."""

    folder: str
    mae: Number = None
    """On the validation series, of the best adapter."""
    loss: Number = None
    steps: int | None = None
    adapter: str | None = None
    """The folder that later stages take it from."""
    forecasters: dict[str, Number] | None = None
    """Name → MAE, of an evaluation."""


class Finished(Shape):
    """A stage that is done, in experiment.json."""

    settings: dict[str, Any]
    """Those that decide its result, with its command and the hash of the data."""
    result: Result


class FinishedStages(Shape):
    """The content of experiment.json."""

    stages: dict[str, Finished]


class StageRecord(Shape):
    """A stage, done or not."""

    name: str
    command: Command
    what: str
    """In words: steps, trials, series."""
    flops_at_most: Price
    flops: Price = NOTHING
    """The sum of its entries in the ledger, what was lost in interruptions included."""
    seconds: Number
    """Computing time by the ledger; of a stage without a result an estimate, at the rate of the
    last such work; null without any."""
    result: Result | None = None
    """Null until it is done."""


class Experiment(Answer):
    """`lvlora experiment --json`, with --dry-run, too"""

    folder: str
    model: str
    scale: str | None
    stages: list[StageRecord]
    flops: Price
    """All that the ledger of the folder charges, to the stages and to other commands."""
    flops_at_most: Price
    """What is charged, and the price bound of what is left."""
    budget: int | None
    convention: Convention
    files: list[str]


def document(record: Experiment) -> Document:
    """Return the document of an experiment: its done stages, what is left, and all errors."""
    done, waiting = [], []
    evaluated: dict[str, dict[str, float | None]] = {}
    for stage in record.stages:
        result = stage.result
        if result is None:
            time = None if stage.seconds is None else f"about {numbers.duration(stage.seconds)}"
            prices = (stage.flops_at_most.executed, stage.flops_at_most.coursework)
            waiting.append([stage.name, stage.command, stage.what, *prices, time])
            continue
        maes = [result.mae]
        if result.forecasters is not None:
            evaluated[stage.name] = result.forecasters
            maes = list(result.forecasters.values())
        best = min((mae for mae in maes if mae is not None), default=None)
        spent = (stage.flops.executed, stage.flops.coursework, numbers.duration(stage.seconds or 0))
        done.append([stage.name, stage.command, *spent, best, str(Path(result.folder) / PAGE)])
    blocks: list[Block] = []
    if done:
        done.append(["all", "", record.flops.executed, record.flops.coursework, "", None, ""])
        head = ["stage", "command", "executed", "coursework", "time", "MAE", "page"]
        blocks += [
            Table("Stages that are done", head, done, [len(done) - 1]),
            "MAE: of a training or a sweep on the validation series, which chose the adapter; of "
            "an evaluation that of its best model. All: with other commands in this folder.",
        ]
    if waiting:
        head = ["stage", "command", "what", "executed at most", "coursework at most", "time"]
        blocks += [
            Table("Stages that are left", head, waiting),
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
        names = dict.fromkeys(name for maes in evaluated.values() for name in maes)
        rows: list[list[Cell]] = [
            [name, *(maes.get(name) for maes in evaluated.values())] for name in names
        ]
        rows.sort(key=lambda row: [math.inf if mae is None else mae for mae in reversed(row[1:])])
        errors = Table("MAE in each evaluation", ["forecaster", *evaluated], rows)
        sections.append(Section("Errors", [errors]))
    return Document(title=f"Experiment {Path(record.folder).name}", sections=sections)
