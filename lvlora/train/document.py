"""A run as people read it: its folder as a record, the record as a document.

A killed or stopped run can be read, too: whatever is not there is None. A number that cannot be
believed (text, say) is passed over.
"""

from __future__ import annotations

import contextlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from lvlora import durable, numbers
from lvlora.answers import Price
from lvlora.data.dates import Calendar
from lvlora.errors import DataError
from lvlora.report.document import Block, Cell, Document, Facts, Picture, Points, Section, Table
from lvlora.report.drawing import style
from lvlora.report.drawing.course import Course, course_figure
from lvlora.report.drawing.text_chart import terminal_plot
from lvlora.report.forecast import FloatArray, ForecastPicture, forecast_figure
from lvlora.report.page import PAGE, write_page
from lvlora.train.record import (
    DAMAGED,
    LARGEST,
    Report,
    Validation,
    ValidationFile,
    read_metrics,
    read_text,
)

_ADAPTERS = ("adapter", "adapter-last")
FIGURE = Path("figures") / "training.png"
_POINTS = 96
"""More steps than this are averaged: two for each column of a chart show nothing more."""
_LIMITS = (
    "The validation part chose the best adapter, so its error is a little too good; the test part "
    "was not touched. Forecast errors during training are of medians of drawn futures of a few "
    "series.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)
_NO_FORECASTS = (
    "Validation forecast nothing in this run, so neither a forecast nor a rival can be shown; "
    "lvlora evaluate makes both."
)


@dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it.

    Attributes:
        summary: the numbers of the whole run.
        settings: config.toml, with the defaults of what it leaves open.
        data: source, series, variables, hashes; empty if not recorded.
        course: its steps and validations, one by one.
        validation: None if nothing was forecast, or the file cannot be believed.
    """

    summary: Report
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    course: Course
    validation: ValidationFile | None


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises:
        DataError: it is no run, a file of it cannot be read, or no step was made.
    """
    settings = _settings(folder / "config.toml")
    data, file = {}, folder / "data.json"
    if file.is_file():
        data = durable.read_json_object(file, LARGEST, hint=DAMAGED)
    rows = read_metrics(folder / "metrics.jsonl")
    if not rows:
        raise DataError(
            f"{folder}: the run has recorded no step yet (metrics.jsonl)",
            "There is something to report after the first step.",
        )
    steps = [row for row in rows if "validation" not in row]
    validations = [row["validation"] for row in rows if "validation" in row]
    best = next((row for row in reversed(validations) if row.get("best") is True), None)
    first = next((row for row in validations if row["step"] == 0), None)
    last = [loss for row in steps if (loss := _number(row.get("loss"))) is not None]

    def total(key: str) -> int:
        return sum(row[key] for row in (*steps, *validations) if type(row.get(key)) is int)

    summary = Report(
        run=folder.resolve().name,
        folder=str(folder),
        steps=max((row["step"] for row in steps), default=0),
        loss=last[-1] if last else None,
        zero_shot=None if first is None else _errors(first),
        validation=None if best is None else _errors(best),
        best_step=None if best is None else best["step"],
        flops=Price(executed=total("flops"), coursework=total("flops_coursework")),
        seconds=sum(_number(row.get("seconds")) or 0.0 for row in steps),
        tokens=sum(int(_number(row.get("tokens")) or 0) for row in steps),
        trainable_parameters=_parameters(folder),
        files=[],
        opened=False,
    )
    validation = ValidationFile.read(folder / "validation.json")
    return RunRecord(summary, settings, data, course_of(rows), validation)


def course_of(rows: Sequence[Mapping[str, Any]]) -> Course:
    """The course that the lines of metrics.jsonl tell.

    A resumed run may tell of a step twice; the later row counts.
    """
    training, validation = {}, {}
    for row in rows:
        if "validation" in row:
            validation[int(row["validation"]["step"])] = row["validation"]
        else:
            training[int(row["step"])] = row
    steps, losses = _column(training, "loss")
    total_steps, totals = _column(training, "total_flops")
    flops = np.interp(steps, total_steps, totals) if len(totals) else np.empty(0)
    kept = max((step for step, row in validation.items() if row.get("best") is True), default=None)
    return Course(
        steps, losses, flops, *_column(validation, "loss"), *_column(validation, "mae"), kept
    )


def _column(rows: Mapping[int, Mapping[str, Any]], key: str) -> tuple[FloatArray, FloatArray]:
    """(steps, numbers) of the rows that have a finite number by this name, in order of steps."""
    pairs = [(s, n) for s in sorted(rows) if (n := _number(rows[s].get(key))) is not None]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _settings(file: Path) -> dict[str, Any]:
    from lvlora.train.settings import TrainSettings

    try:
        values = tomllib.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not valid TOML: {error}", DAMAGED) from None
    try:
        return TrainSettings(**values).model_dump(mode="json")
    except (ValidationError, TypeError):  # of another version: shown as it stands
        return values


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


def _number(value: object) -> float | None:
    """A number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _errors(row: Mapping[str, Any]) -> Validation:
    return Validation(loss=_number(row.get("loss")), mae=_number(row.get("mae")))


def rebuild(folder: Path) -> Report:
    """Draw a run's figure and page from the folder's other files; a stopped run has them, too.

    Raises:
        DataError: the folder is no run, or has no step to tell of.
        LvloraError: a file cannot be written.
    """
    files = [str(file) for file in draw_run(folder)]
    return read_run(folder).summary.model_copy(update={"files": files})


def draw_run(folder: Path) -> list[Path]:
    """Write a run's figure and its page, report.html, from the run's other files.

    Returns:
        the files that were written.

    Raises:
        DataError: the folder is no run, or has no step to tell of.
        LvloraError: a file cannot be written.
    """
    record = read_run(folder)
    style.save(course_figure(record.course), folder / FIGURE)
    return [folder / FIGURE, *write_page(folder / PAGE, document(record))]


def document(record: RunRecord) -> Document:
    """Return the document of a run; its pictures are drawn where they are shown."""
    run, course, validation = record.summary, record.course, record.validation
    outcome: list[tuple[str, Cell]] = [("steps", run.steps), ("tokens", run.tokens)]
    for key in ("loss", "mae"):
        name = f"validation {key.upper() if key == 'mae' else key}"
        for when, errors in (("before training", run.zero_shot), ("", run.validation)):
            error = None if errors is None else getattr(errors, key)
            if error is not None:
                outcome.append((f"{name} {when or 'of the best adapter'}", error))
    if run.best_step is not None:
        outcome.append(("best adapter at step", run.best_step))
    cost = {
        "FLOPs, executed": run.flops.executed,
        "FLOPs, coursework": run.flops.coursework,
        "time in steps": numbers.duration(run.seconds),
        "trained parameters": run.trainable_parameters,
    }
    scored = validation
    if scored is not None and (scored.kept is None or scored.kept.step != run.best_step):
        scored = None  # of an adapter that is no longer the kept one
    picture = Picture(
        "Loss and validation error by step and FLOPs",
        partial(course_figure, course),
        narrow=partial(course_figure, course, narrow=True),
        sketch=partial(_sketch, course) if len(course.steps) > 1 else None,
    )
    sections = (
        Section("Outcome", (Facts(outcome),)),
        Section("Course", (picture,)),
        Section("Forecasts", () if scored is None else _forecasts(scored), more=True),
        Section("Rivals", () if scored is None else _rivals(scored), more=True),
        Section("Cost", (Facts(cost),)),
        Section("Data", (Facts(record.data),) if record.data else (), more=True),
        Section("Settings", (Facts(record.settings),), more=True),
        Section(
            "Limits", (Points(_LIMITS if validation else (*_LIMITS, _NO_FORECASTS)),), more=True
        ),
    )
    return Document(title=f"Run {run.run}", sections=sections)


def _sketch(course: Course, ascii_only: bool) -> str:
    """The training loss in characters."""
    losses = numbers.binned(course.losses.tolist(), _POINTS)
    time = np.linspace(course.steps[0], course.steps[-1], len(losses)).tolist()
    title = "training loss by step"
    return terminal_plot(losses, [], height=7, ascii_only=ascii_only, title=title, time=time)


def _forecasts(file: ValidationFile) -> list[Block]:
    """A figure of the best, middle and worst series."""
    assert file.kept is not None
    try:
        drawn = _pictures(file)
    except (ValueError, IndexError):  # numbers of different shapes
        return []
    return [
        Picture(
            "Forecasts of the kept adapter against the truth",
            partial(forecast_figure, drawn),
            f"Forecasts that the validation at step {file.kept.step} made, of its best, middle and "
            "worst series: line, history; dashes, forecast; circles, truth.",
            narrow=partial(forecast_figure, drawn, narrow=True),
        )
    ]


def _rivals(file: ValidationFile) -> list[Block]:
    """A table of errors: the model before and after training, and plain rivals."""
    assert file.kept is not None
    if file.rivals is None:
        return []
    models = [(f"this adapter, at step {file.kept.step}", file.kept.mae)]
    if file.before is not None:
        models.append(("the model before training", file.before.mae))
    rows = [*models, *((row.name, row.mae) for row in file.rivals)]
    rows.sort(key=lambda row: np.inf if row[1] is None else row[1])
    scored = f"the same {file.series_scored} validation series"
    if file.held_out:
        scored = (
            f"the same {file.series_scored} windows in the last {file.held_out} steps of the "
            "series, which were not trained on"
        )
    return [
        Table(
            "MAE in original units, the best first; models are marked",
            ["forecaster", "MAE"],
            rows,
            [i for i, row in enumerate(rows) if row in models],
        ),
        f"All forecast the same steps of {scored}. The rivals are those "
        "that take no time; lvlora evaluate adds fitted equations, "
        "samples and intervals, on the test part.",
    ]


def _pictures(file: ValidationFile) -> list[ForecastPicture]:
    assert file.kept is not None
    errors = file.kept.series_mae[: len(file.series)]
    pictures = []
    for at, rank in _ranked(errors):
        series, median = file.series[at], _array(file.kept.forecasts[at])
        history, truth = _array(series.history), _array(series.truth)
        if median.shape != truth.shape or median.ndim != 2 or history.ndim != 2:
            raise ValueError("forecasts and truth of different shapes")
        pictures.append(
            ForecastPicture(
                variables=tuple(file.variables),
                time_name=file.time,
                history_time=_array(series.history_time),
                history=history,
                future_time=_array(series.time),
                median=median,
                bands={},
                truth=truth,
                title=f"{series.id}: {rank}, MAE {errors[at]:.3g}",
                line_name="forecast",
                calendar=Calendar.from_dict(file.calendar),
            )
        )
    return pictures


def _ranked(errors: Sequence[float | None]) -> list[tuple[int, str]]:
    """Positions of the best, middle and worst of the series that have an error."""
    order = sorted((e, i) for i, e in enumerate(errors) if e is not None)
    places = {0: "best", len(order) // 2: "middle", len(order) - 1: "worst"}
    return [(order[place][1], rank) for place, rank in sorted(places.items())] if order else []


def _array(values: object) -> FloatArray:
    return np.array(values, dtype=np.float64)  # None becomes NaN
