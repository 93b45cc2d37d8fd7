"""What a training run left in its folder, read back without loading anything heavy.

A killed or stopped run can be read too: whatever is not there is None. What cannot be believed (a
number that is text) is passed over.
"""

from __future__ import annotations

import contextlib
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.errors import DataError

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
DATA = "data.json"
VALIDATION = "validation.json"
_ADAPTERS = ("adapter", "adapter-last")
_LARGEST = 2**30  # bytes of a file that is read whole


@dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it.

    Attributes:
        name: the folder's.
        settings: config.toml, with the defaults of what it leaves open.
        data: source, series, variables, hashes; empty if not recorded.
        metrics: the rows of metrics.jsonl that could be read.
        trainable_parameters: numbers in the saved adapter; None before one was saved.
        forecasts: validation.json; empty if nothing was forecast, or it cannot be read.
    """

    name: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    trainable_parameters: int | None = None
    forecasts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimiser steps that were made."""
        return max((row["step"] for row in self._training()), default=0)

    @property
    def loss(self) -> float | None:
        """Training loss of the last step."""
        losses = [_number(row.get("loss")) for row in self._training()]
        return losses[-1] if losses else None

    @property
    def tokens(self) -> int:
        """Targets of all steps."""
        return sum(int(_number(row.get("tokens")) or 0) for row in self._training())

    @property
    def seconds(self) -> float:
        """Time in steps, without loading and validation."""
        return sum(_number(row.get("seconds")) or 0.0 for row in self._training())

    @property
    def flops(self) -> dict[str, int]:
        """What steps and validations cost, in both conventions, exactly."""
        rows = [*self._training(), *self._validations()]
        keys = {"executed": "flops", "coursework": "flops_coursework"}
        return {
            name: sum(row[key] for row in rows if type(row.get(key)) is int)
            for name, key in keys.items()
        }

    @property
    def zero_shot(self) -> dict[str, float | None] | None:
        """Loss and MAE before the first step."""
        return next((_scores(row) for row in self._validations() if row["step"] == 0), None)

    @property
    def validation(self) -> dict[str, float | None] | None:
        """Loss and MAE of the best adapter."""
        best = self._best()
        return None if best is None else _scores(best)

    @property
    def best_step(self) -> int | None:
        """The step whose adapter was kept."""
        best = self._best()
        return None if best is None else int(best["step"])

    def _best(self) -> Mapping[str, Any] | None:
        return next((row for row in reversed(self._validations()) if row.get("best") is True), None)

    def _training(self) -> list[Mapping[str, Any]]:
        return [row for row in self.metrics if "validation" not in row]

    def _validations(self) -> list[Mapping[str, Any]]:
        return [row["validation"] for row in self.metrics if "validation" in row]


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises:
        DataError: it is no run, a file of it cannot be read, or no step was made.
    """
    record = RunRecord(
        folder.resolve().name,
        _settings(folder / CONFIG),
        _data(folder / DATA),
        list(_rows(folder / METRICS)),
        _parameters(folder),
        _forecasts(folder / VALIDATION),
    )
    if not record.metrics:
        raise DataError(
            f"{folder}: the run has recorded no step yet ({METRICS})",
            "There is something to report after the first step.",
        )
    return record


def _settings(file: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    from lvlora.settings.training import TrainSettings

    try:
        given = tomllib.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not valid TOML: {error}", _DAMAGED) from None
    try:
        return TrainSettings(**given).model_dump(mode="json")
    except (ValidationError, TypeError):  # of another version: shown as it stands
        return given


def _data(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    return durable.read_json_object(file, _LARGEST, hint=_DAMAGED)


def _forecasts(file: Path) -> dict[str, Any]:
    # a page without it is better than none
    with contextlib.suppress(DataError):
        return durable.read_json_object(file, _LARGEST)
    return {}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Every whole line that tells of a step; the torn one of a killed run is left out."""
    if not file.is_file():
        return
    for line in _text(file).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = durable.parse_json(line)
            inner = row.get("validation", row) if isinstance(row, dict) else None
            if isinstance(inner, dict) and type(inner.get("step")) is int:
                yield row


def _parameters(folder: Path) -> int | None:
    """The numbers in the adapter's files, by their headers."""
    from safetensors import SafetensorError, safe_open

    for adapter in _ADAPTERS:
        total = 0
        for file in sorted((folder / adapter).glob("*.safetensors")):
            # an adapter that can't be read is for `lvlora forecast` to complain about
            with contextlib.suppress(SafetensorError, OSError):
                durable.open_regular(file).close()
                with safe_open(file, "numpy") as header:
                    shapes = [header.get_slice(name).get_shape() for name in header.keys()]
                total += sum(math.prod(shape) for shape in shapes)
        if total:
            return total
    return None


_DAMAGED = "The file was changed or damaged; the run's other files may still be good."


def _text(file: Path) -> str:
    try:
        return durable.read_bounded(file, _LARGEST).decode(errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})", _DAMAGED) from None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _scores(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: _number(row.get(key)) for key in ("loss", "mae")}
