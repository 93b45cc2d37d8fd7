"""A run as people read it: its folder as a record, the record as a document.

A killed or stopped run can be read, too: whatever is not there is None. A number that cannot be
believed (text, say) is passed over.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from lvlora import durable, numbers
from lvlora.answers import NOTHING
from lvlora.errors import DataError
from lvlora.forecast.document import nothing_spent
from lvlora.report.document import Cell, Document, Facts, Picture, Points, Section
from lvlora.report.drawing import style
from lvlora.report.drawing.course import Course, course_figure
from lvlora.report.drawing.text_chart import terminal_plot
from lvlora.report.forecast import FloatArray
from lvlora.report.page import PAGE, write_page
from lvlora.train.record import (
    DAMAGED,
    LARGEST,
    Report,
    StepRecord,
    Train,
    TrainPlan,
    Validation,
    ValidationRecord,
    read_text,
    record_of,
)
from lvlora.train.settings import TrainSettings

FIGURE = Path("figures") / "training.png"
_POINTS = 96
"""More steps than this are averaged: two for each column of a chart show nothing more."""
_LIMITS = (
    "The validation part chose the best adapter, so its error is a little too good; the test part "
    "was not touched. Forecast errors during training are of medians of drawn futures of a few "
    "series; lvlora evaluate draws such forecasts.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)


@dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it."""

    summary: Report
    settings: Mapping[str, Any]
    """config.toml, with the defaults of what it leaves open."""
    data: Mapping[str, Any]
    """Source, series, variables, hashes; empty if not recorded."""
    course: Course


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder; one without a step, or with a damaged file, is refused."""
    config = folder / "config.toml"
    try:
        settings = tomllib.loads(read_text(config))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{config}: is not valid TOML: {error}", DAMAGED) from None
    with contextlib.suppress(ValidationError, TypeError):  # of another version: as it stands
        settings = TrainSettings(**settings).model_dump(mode="json")
    data, file = {}, folder / "data.json"
    if file.is_file():
        data = durable.read_json_object(file, LARGEST, hint=DAMAGED)
    parameters = data.pop("trainable_parameters", None)
    metrics = folder / "metrics.jsonl"
    lines = read_text(metrics).splitlines() if metrics.is_file() else ()
    # a line that cannot be believed, such as a torn last one, is left out
    records = [record for line in lines if (record := record_of(line)) is not None]
    if not records:
        raise DataError(
            f"{folder}: the run has recorded no step yet (metrics.jsonl)",
            "There is something to report after the first step.",
        )
    steps = [record for record in records if isinstance(record, StepRecord)]
    validations = [record for record in records if isinstance(record, ValidationRecord)]
    best = next((record for record in reversed(validations) if record.best), None)
    first = next((record for record in validations if record.step == 0), None)
    summary = Report(
        run=folder.resolve().name,
        folder=str(folder),
        steps=max((record.step for record in steps), default=0),
        loss=steps[-1].loss if steps else None,
        zero_shot=None if first is None else Validation(loss=first.loss, mae=first.mae),
        validation=None if best is None else Validation(loss=best.loss, mae=best.mae),
        best_step=None if best is None else best.step,
        flops=sum((record.price for record in records), NOTHING),
        seconds=sum(record.seconds for record in steps),
        tokens=sum(record.tokens for record in steps),
        trainable_parameters=parameters if isinstance(parameters, int) else None,
        files=[],
        opened=False,
    )
    return RunRecord(summary, settings, data, course_of(records))


def course_of(records: Sequence[StepRecord | ValidationRecord]) -> Course:
    """Return the course that the lines of metrics.jsonl tell.

    A resumed run may tell of a step twice; the later line counts.
    """
    steps = {r.step: r for r in records if isinstance(r, StepRecord)}
    validations = {r.step: r for r in records if isinstance(r, ValidationRecord)}
    at, loss, flops = _columns([(n, r.loss, float(r.total_flops)) for n, r in steps.items()], 3)
    validated, losses = _columns([(n, r.loss) for n, r in validations.items()], 2)
    scored, maes = _columns([(n, r.mae) for n, r in validations.items()], 2)
    best = max((n for n, record in validations.items() if record.best), default=None)
    return Course(at, loss, flops, validated, losses, scored, maes, best)


def _columns(rows: Sequence[tuple[float | None, ...]], n_columns: int) -> FloatArray:
    """Return the columns of the rows that have no None, in the order of steps."""
    known = sorted(row for row in rows if None not in row)
    return np.array(known, dtype=np.float64).reshape(-1, n_columns).T


def rebuild(folder: Path) -> Report:
    """Draw a run's figure and page from the folder's other files; a stopped run has them, too."""
    files = [str(file) for file in draw_run(folder)]
    return read_run(folder).summary.model_copy(update={"files": files})


def draw_run(folder: Path) -> list[Path]:
    """Write a run's figure and its page from its other files; return their paths."""
    record = read_run(folder)
    style.save(course_figure(record.course), folder / FIGURE)
    return [folder / FIGURE, *write_page(folder / PAGE, document(record))]


def plan_document(plan: TrainPlan) -> Document:
    """Return what a run would cost, and its time and memory on this machine, as a document."""
    facts: dict[str, Cell] = {
        "model": plan.model,
        "steps": plan.steps,
        "validations": plan.validations,
        "tokens": plan.tokens,
        "trainable parameters": plan.trainable_parameters,
        "FLOPs at most, executed": numbers.flops(plan.flops_at_most.executed),
        "FLOPs at most, coursework": numbers.flops(plan.flops_at_most.coursework),
    }
    if plan.share_of_limit is not None:
        facts["share of the limit"] = numbers.share(plan.share_of_limit)
    estimate = plan.estimate
    if estimate is not None:
        facts["time on this machine"] = f"about {numbers.duration(estimate.seconds)}"
        facts["of it a step"] = numbers.duration(estimate.step_seconds)
        facts["of it a validation"] = numbers.duration(estimate.validation_seconds)
        facts["memory at most"] = f"about {numbers.size(estimate.peak_bytes)}"
    return Document("This run", [Section("", [Facts(facts), nothing_spent(estimate)])])


def document(record: RunRecord) -> Document:
    """Return the document of a run; its pictures are drawn where they are shown."""
    run, course = record.summary, record.course
    outcome: dict[str, Cell] = {"steps": run.steps, "tokens": run.tokens}
    for name, key in (("validation loss", "loss"), ("validation MAE", "mae")):
        for when, errors in (
            ("before training", run.zero_shot),
            ("of the best adapter", run.validation),
        ):
            error = getattr(errors, key, None)
            if error is not None:
                outcome[f"{name} {when}"] = error
    if run.best_step is not None:
        outcome["best adapter at step"] = run.best_step
    cost = {
        "FLOPs, executed": run.flops.executed,
        "FLOPs, coursework": run.flops.coursework,
        "time in steps": numbers.duration(run.seconds),
        "trained parameters": run.trainable_parameters,
    }
    picture = Picture(
        "Loss and validation error by step and FLOPs",
        partial(course_figure, course),
        sketch=partial(_sketch, course) if len(course.steps) > 1 else None,
    )
    sections = (
        Section("Outcome", (Facts(outcome),)),
        Section("Course", (picture,)),
        Section("Cost", (Facts(cost),)),
        Section("Data", (Facts(record.data),) if record.data else (), more=True),
        Section("Settings", (Facts(record.settings),), more=True),
        Section("Limits", (Points(_LIMITS),), more=True),
    )
    return Document(title=f"Run {run.run}", sections=sections)


def _sketch(course: Course) -> str:
    """Return the training loss in characters."""
    losses = numbers.binned(course.losses.tolist(), _POINTS)
    time = np.linspace(course.steps[0], course.steps[-1], len(losses)).tolist()
    title = "training loss by step"
    return terminal_plot(losses, [], height=7, title=title, time=time)


def comparison(result: Train) -> str:
    """Compare forecasts with and without the kept adapter; "" where there are none."""
    before, after = result.maes
    if before is None or after is None or result.gain is None:
        return ""
    if after >= before:
        return (
            "On the validation part the adapter is no better than the model without it "
            f"({numbers.plain(after)} against {numbers.plain(before)}): train longer, or use "
            "--adapter none."
        )
    gain = result.gain
    units, option = {
        "series": ("validation series", "--validation-series"),
        "windows": ("windows of steps that were not trained on", "--validation-steps"),
    }[gain.of]
    mean = numbers.plain(gain.mean, 3)
    if gain.low is None or gain.high is None:
        return f"A gain of {mean} in MAE of one forecast says little. {option} takes more of them."
    within = f"95 % interval {numbers.interval(gain.low, gain.high)}"
    if gain.low <= 0:
        return (
            f"The gain of {mean} in MAE is within the noise of {gain.n} {units} ({within}). "
            f"{option} takes more of them."
        )
    return (
        f"With the adapter the MAE of {gain.n} {units} is smaller by {mean} ({within}). They chose "
        "the adapter, so it may gain a little less."
    )
