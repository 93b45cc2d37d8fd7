"""The answer of `lvlora experiment`, and experiment.json, which keeps the stages that are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lvlora import durable
from lvlora.answers import NOTHING, Answer, Number, Price, Shape
from lvlora.errors import DataError, SettingsError
from lvlora.experiment.settings import Command, Stage
from lvlora.settings.base import Convention, differences

FILE = "experiment.json"


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


class Finished(Shape):
    """A stage in experiment.json."""

    settings: dict[str, Any]
    """Those that decide its result, with its command and the hash of the data."""
    result: Result


def read_finished(folder: Path, stages: Sequence[Stage], data_sha256: str) -> dict[str, Finished]:
    """Return stage → its settings and result, from experiment.json; empty where there is none.

    Raises:
        DataError: the file is damaged.
        SettingsError: a stage is done with other settings or data.
    """
    file, hint = folder / FILE, "Take it from a copy, or give the experiment another --out."
    if not file.exists():
        return {}
    try:
        content = durable.read_json_object(file, hint=hint).get("stages")
        finished = TypeAdapter(dict[str, Finished]).validate_python(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise DataError(f"{file}: stages.{place}: {wrong['msg']}", hint) from None
    for stage in stages:
        if stage.name in finished:
            changed = differences(finished[stage.name].settings, stage.deciding(data_sha256))
            if changed:
                raise SettingsError(
                    f"stage {stage.name} is done with other settings: {', '.join(changed)}",
                    "Take them back, or give the experiment another --out.",
                )
    return finished


def write_finished(folder: Path, finished: Mapping[str, Finished]) -> None:
    """Write experiment.json."""
    content = {"stages": dict(finished)}
    text = TypeAdapter(dict[str, dict[str, Finished]]).dump_json(content, indent=1).decode()
    durable.write_text(folder / FILE, text + "\n")
