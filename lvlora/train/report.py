"""The report of a run again, from its folder."""

from __future__ import annotations

from pathlib import Path

from lvlora.answers import Flops
from lvlora.report.run.page import draw_run
from lvlora.report.run.record import read_run
from lvlora.train.answers import Report, Validation


def rebuild(folder: Path) -> Report:
    """Draw a run's figure and page from the folder's other files; a stopped run has them, too.

    Raises:
        DataError: the folder is no run, or has no step to tell of.
        LvloraError: a file cannot be written.
    """
    record = read_run(folder)
    files = draw_run(folder)
    before, best = record.zero_shot, record.validation
    return Report(
        run=record.name,
        folder=str(folder),
        steps=record.steps,
        loss=record.loss,
        zero_shot=None if before is None else Validation(**before),
        validation=None if best is None else Validation(**best),
        best_step=record.best_step,
        flops=Flops(**record.flops),
        seconds=record.seconds,
        tokens=record.tokens,
        trainable_parameters=record.trainable_parameters,
        files=[str(file) for file in files],
        opened=False,
    )
