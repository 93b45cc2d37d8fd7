"""The records of a run: the answers of its commands, and the lines and files that it keeps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lvlora import durable
from lvlora.answers import Answer, Estimate, Number, Price, Shape
from lvlora.errors import DataError

LARGEST = 2**30
"""Bytes of a file that is read whole."""
DAMAGED = "The file was changed or damaged; the run's other files may still be good."


class Validation(Shape):
    """Errors on the validation part."""

    loss: Number
    mae: Number
    """Mean absolute error of forecasts, in original units; null where none can be made."""

    @property
    def score(self) -> float:
        """The number that is to be small: the error, or the loss where nothing was forecast."""
        score = self.loss if self.mae is None else self.mae
        return math.inf if score is None else score


class Gain(Shape):
    """How much smaller the MAE of the kept adapter is than that of the model before training."""

    mean: float
    low: Number
    high: Number
    """A 95 % interval of the mean (Student's, paired); null of one."""
    n: int
    of: Literal["series", "windows"]
    """Unit of ``n``: series that were not trained on, or windows in the last steps of series,
    which were not."""


class Train(Answer):
    """`lvlora train --json`: a run that made all the steps that it could."""

    run: str
    steps: int
    """Steps that were made."""
    planned_steps: int
    """Steps of its schedule."""
    loss: Number
    """Loss of the last step."""
    zero_shot: Validation | None
    """Before training."""
    validation: Validation | None
    """Validation of the best adapter."""
    gain: Gain | None
    """Gain of the best adapter, in the measure that chose it; null where nothing was forecast."""
    best_step: int | None
    stopped_early: bool
    """By --patience."""
    stopped_by_limit: bool
    """By --max-flops; --resume with a larger one goes on."""
    flops: Price
    validation_flops: Price
    """The part of ``flops`` that went into validations."""
    flops_at_most: Price
    """Price bound of the whole run."""
    validations: int
    """Planned, the one before the first step included."""
    seconds: float
    """In training steps."""
    tokens: int
    """Tokens of training steps."""
    trainable_parameters: int
    adapter: str
    folder: str
    files: list[str]
    """Figures and the page."""


Result = Train
"""Its name for programs."""


class RunEstimate(Estimate):
    """The time and memory of a run, on this machine."""

    first_step_seconds: float
    step_seconds: float
    validation_seconds: float


class TrainPlan(Answer):
    """`lvlora train --dry-run --json`"""

    model: str
    steps: int
    validations: int
    """The one before the first step included."""
    tokens: int
    trainable_parameters: int
    flops_at_most: Price
    share_of_limit: float | None
    """Limit of --max-flops, else of --budget; null without either."""
    estimate: RunEstimate | None
    """Null where several processes would make the run."""


class Report(Answer):
    """`lvlora report RUN --json`, of a run"""

    run: str
    folder: str
    steps: int
    """Steps that were made."""
    loss: Number
    """Loss of the last step."""
    zero_shot: Validation | None
    """Before training."""
    validation: Validation | None
    """Validation of the best adapter."""
    best_step: int | None
    flops: Price
    seconds: float
    """In training steps."""
    tokens: int
    """Tokens of training steps."""
    trainable_parameters: int | None
    """Null before an adapter was saved."""
    files: list[str]
    """Figures and the page."""
    opened: bool


class ScoredSeries(Shape):
    """A history and the future that validation compares with."""

    id: str
    history_time: list[Number]
    history: list[list[Number]]
    time: list[Number]
    truth: list[list[Number]]


class Forecasts(Shape):
    """Forecasts of one validation."""

    step: int
    """Step of the run after which it was made."""
    mae: Number
    series_mae: list[Number]
    """Errors of every series that is scored."""
    forecasts: list[list[list[Number]]]
    """Forecasts of the first series: (n, H, V)."""


class RivalError(Shape):
    """A plain rival on the same series."""

    name: str
    mae: Number


class ValidationFile(Shape):
    """validation.json: forecasts of validation, the truth, and the errors of plain rivals."""

    schema_version: Literal[1] = 1
    calendar: dict[str, Any] | None = None
    held_out: int = 0
    """Steps at the end of each series that were not trained on; 0: the series were not."""
    variables: list[str]
    time: str
    series_scored: int
    series: list[ScoredSeries]
    """The first of them."""
    before: Forecasts | None = None
    """Validation of the model before training."""
    kept: Forecasts | None = None
    """The last validation whose adapter was kept."""
    rivals: list[RivalError] | None = None

    @classmethod
    def read(cls, path: Path) -> ValidationFile | None:
        """Read a run's file; None where there is none that can be believed."""
        try:
            text = durable.read_bounded(path, LARGEST)
            return cls.model_validate_json(text, strict=True)
        except (OSError, ValueError, DataError):
            return None

    def write(self, path: Path) -> None:
        """Write it.

        Raises:
            LvloraError: the file cannot be written.
        """
        durable.write_text(path, self.model_dump_json() + "\n")

    def is_about(self, other: ValidationFile) -> bool:
        """Whether both score the same series."""
        results = {"before", "kept", "rivals"}
        return self.model_dump(exclude=results) == other.model_dump(exclude=results)


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Every whole line of metrics.jsonl that tells of a step; a torn last one is left out.

    Raises:
        DataError: it cannot be read.
    """
    rows = []
    for line in read_text(file).splitlines() if file.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            row = durable.parse_json(line)
            if isinstance(row, dict) and type(step_of(row)) is int:
                rows.append(row)
    return rows


def step_of(row: Mapping[str, Any]) -> Any:
    """The step that a line of metrics.jsonl is about; anything where it was damaged."""
    inner = row.get("validation", row)
    return inner.get("step") if isinstance(inner, Mapping) else None


def read_text(file: Path) -> str:
    """Text of one of a run's files.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return durable.read_bounded(file, LARGEST).decode(errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})", DAMAGED) from None
