"""The page of a training run, made from nothing but the run's folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lvlora.report.document import Cell, Document, Facts, Picture, Points, Section
from lvlora.report.page import PAGE, write_page
from lvlora.report.run.forecasts import forecasts_of, rivals_of
from lvlora.report.run.record import RunRecord, read_run
from lvlora.report.run.training import draw_training, training_figure

FIGURE = Path("figures") / "training.png"

LIMITS = (
    "The validation part chose the best adapter, so its error is a little too good; the test part "
    "was not touched. Forecast errors during training are of greedy forecasts of the second half "
    "of a few series.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)

_NO_FORECASTS = (
    "Validation forecast nothing in this run, so neither a forecast nor a rival can be shown; "
    "lvlora evaluate makes both."
)


def draw_run(folder: Path) -> list[Path]:
    """Write a run's figure and its page, report.html, from the run's other files.

    Returns:
        the files that were written.

    Raises:
        DataError: the folder is no run, or has no step to tell of.
        LvloraError: a file cannot be written.
    """
    record = read_run(folder)
    draw_training(folder / FIGURE, record.metrics)
    write_page(folder / PAGE, run_page(record))
    return [folder / FIGURE, folder / PAGE]


def run_page(record: RunRecord) -> Document:
    """The content of the page."""
    before, after = record.zero_shot or {}, record.validation or {}
    outcome: list[tuple[str, Cell]] = [("steps", record.steps), ("tokens", record.tokens)]
    for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
        if before.get(key) is not None:
            outcome.append((f"{name} before training", before[key]))
        if after.get(key) is not None:
            outcome.append((f"{name} of the best adapter", after[key]))
    if record.best_step is not None:
        outcome.append(("best adapter at step", record.best_step))
    flops = record.flops
    cost: list[tuple[str, Cell]] = [
        ("FLOPs, executed", flops["executed"]),
        ("FLOPs, coursework", flops["coursework"]),
        ("seconds in steps", record.seconds),
        ("trained parameters", record.trainable_parameters),
    ]
    course = Picture(
        "Loss and validation error by step and FLOPs",
        partial(training_figure, record.metrics),
        narrow=partial(training_figure, record.metrics, narrow=True),
    )
    sections = (
        Section("Outcome", (Facts(outcome),)),
        Section("Course", (course,)),
        Section("Forecasts", forecasts_of(record.forecasts, record.best_step)),
        Section("Rivals", rivals_of(record.forecasts, record.best_step)),
        Section("Cost", (Facts(cost),)),
        Section("Data", (Facts(record.data),) if record.data else ()),
        Section("Settings", (Facts(record.settings),)),
        Section("Limits", (Points(LIMITS if record.forecasts else (*LIMITS, _NO_FORECASTS)),)),
    )
    return Document(title=f"Run {record.name}", sections=sections)
