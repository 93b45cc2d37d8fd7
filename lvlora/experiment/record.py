"""The results of an experiment: experiment.json, and the answers of the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lvlora import durable
from lvlora.answers import NOTHING, Answer, Number, Price, Shape
from lvlora.errors import DataError, SettingsError
from lvlora.experiment.settings import Command, Stage
from lvlora.flops.rows import Row
from lvlora.settings.base import Convention, differences

FILE = "experiment.json"


class PlannedStage(Shape):
    """A stage before it is made."""

    name: str
    command: Command
    what: str
    """In words: steps, trials, series."""
    done: bool
    flops_at_most: Price
    seconds: Number
    """At the rate of the last such work in the ledger; null without any, 0 once done."""


class ExperimentPlan(Answer):
    """`lvlora experiment --dry-run --json`"""

    folder: str
    model: str
    stages: list[PlannedStage]
    flops_at_most: Price
    """All stages, those that are done included."""
    charged: Price
    """By the ledger of the folder until now."""
    budget: int | None
    convention: Convention
    share_of_budget: float | None
    """Charged FLOPs and the price bound of the rest, over the budget."""
    seconds: Number
    """Time of the stages that are not done; null where that of one is unknown."""


class Result(Shape):
    """The result of a stage."""

    folder: str
    mae_before: Number = None
    """On the validation series, before training."""
    mae: Number = None
    """After training, of the best adapter."""
    loss_before: Number = None
    loss: Number = None
    steps: int | None = None
    adapter: str | None = None
    """The folder that later stages take it from."""
    forecasters: dict[str, Number] | None = None
    """Name → MAE, of an evaluation."""


class StageResult(Shape):
    """A stage that is done."""

    name: str
    command: Command
    flops_at_most: Price
    """As planned."""
    flops: Price
    """The sum of its entries in the ledger, what was lost in interruptions included."""
    share_of_budget: float | None
    seconds: float
    """Computing time: the sum of its entries in the ledger."""
    result: Result


class Experiment(Answer):
    """`lvlora experiment --json`"""

    folder: str
    scale: str | None
    stages: list[StageResult]
    others: Price
    """Charged by the ledger of the folder to no stage here: other commands, unfinished stages."""
    flops: Price
    """All that the ledger of the folder charges: the stages and ``others``."""
    budget: int | None
    convention: Convention
    left: int | None
    """Rest of the budget."""
    files: list[str]


class FinishedStage(Shape):
    """A stage in experiment.json."""

    settings: dict[str, Any]
    """Those that decide its result, with its command and the hash of the data."""
    result: Result


class Record(Shape):
    """The content of experiment.json: the stages that are done."""

    stages: dict[str, FinishedStage] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, stages: Sequence[Stage], data_sha256: str) -> Record:
        """Return the record in a folder; an empty one where there is none.

        Raises:
            DataError: the file is damaged.
            SettingsError: a stage is done with other settings or data.
        """
        file, hint = folder / FILE, "Take it from a copy, or give the experiment another --out."
        if not file.exists():
            return cls()
        try:
            record = cls.model_validate(durable.read_json_object(file, hint=hint))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise DataError(f"{file}: {place}: {wrong['msg']}", hint) from None
        for stage in stages:
            if stage.name in record.stages:
                now = deciding(stage, data_sha256)
                different = differences(record.stages[stage.name].settings, now)
                if different:
                    raise SettingsError(
                        f"stage {stage.name} is done with other settings: {', '.join(different)}",
                        "Take them back, or give the experiment another --out.",
                    )
        return record

    def with_result(self, stage: Stage, data_sha256: str, result: Result) -> Record:
        """Return the record with the result of one more stage."""
        finished = FinishedStage(settings=deciding(stage, data_sha256), result=result)
        return Record(stages={**self.stages, stage.name: finished})

    def write(self, folder: Path) -> None:
        """Write experiment.json."""
        durable.write_text(folder / FILE, self.model_dump_json(indent=1) + "\n")


def deciding(stage: Stage, data_sha256: str) -> dict[str, Any]:
    """Return all that decides a stage's result."""
    settings = stage.settings.deciding("result", "model", "limit")
    return {"command": stage.command, **settings, "data": data_sha256}


def entries_of(name: str, entries: Sequence[Row]) -> list[Row]:
    """Return the ledger's entries of a stage: of its run, its trials or its evaluation."""
    return [row for row in entries if row.run == name or row.run.startswith(f"{name}/")]


def charged(entries: Sequence[Row]) -> Price:
    """Return the FLOPs of entries of the ledger."""
    return sum((row.charged for row in entries), NOTHING)
