"""Work of --calibrate and --calibrated: widths from a model's forecasts, and their coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvlora import numbers
from lvlora.data.gaps import mean_known
from lvlora.data.metrics.scores import central_levels, inside_interval
from lvlora.evaluation.job import Candidate, Job
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.forecast import widths
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.widths import Widths
from lvlora.narrator import Narrator


def calibration_for(
    candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> Widths | None:
    """The calibration that --calibrated asks for, before anything is spent.

    Raises:
        ModelError: there is none for this model and these data.
    """
    if not job.settings.calibrated:
        return None
    calibration, facts = widths.calibration_of(
        forecaster, candidate.choice.info, job.settings.runs, job.task.variables
    )
    facts.note_to(narrator, job.sampling, job.task.protocol.horizon)
    if (facts.data_sha256, facts.split) == (job.data_sha256, job.task.protocol.part):
        narrator.note("It was made on the series that are scored: of others it may cover less.")
    return calibration


def keep_calibration(
    entry: Entry, candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> None:
    """Make a calibration of a model's forecasts, for --calibrated, and say where it is.

    Raises:
        SettingsError, DataError: there are no samples, no interval, or too few truths.
    """
    task, info = job.task, candidate.choice.info
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    n_windows = len(task.histories)
    several: dict[str, Any] = {} if n_windows == task.n_series else {"windows": n_windows}
    facts = widths.Facts(
        data=job.data.source,
        data_sha256=job.data_sha256,
        split=task.protocol.part,
        series=task.n_series,
        context=task.protocol.context or task.context,
        horizon=task.protocol.horizon,
        variables=list(task.variables),
        coverage_before=entry.row.coverage,
        **several,
        **widths.drawn_by(job.sampling),
        **widths.form_of(forecaster),
    )
    calibration = widths.calibrate(task.truth, samples, job.settings.quantiles, facts)
    path = widths.keep(calibration, forecaster, info, job.settings.runs)
    covered = ", ".join(
        f"{100 * float(level):g} % intervals covered {numbers.share(share)}"
        for level, share in entry.row.coverage.items()
        if share is not None
    )
    narrator.note(f"{entry.row.name}: {covered}; calibrated by {facts.amount}: {path}")


def coverage(
    entry: Entry, task: Task, calibration: Widths, quantiles: Sequence[float]
) -> dict[str, float]:
    """Probability of each calibrated central interval -> share of known truths inside."""
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    forecasts = [
        calibration.apply(Forecast(h.id, f.time, s, None, len(h), history=h))
        for h, f, s in zip(task.histories, task.futures, samples, strict=True)
    ]
    moved = np.stack([forecast.samples for forecast in forecasts])
    return {
        f"{level:g}": float(mean_known(inside_interval(task.truth, moved, level), (0, 1, 2)))
        for level in central_levels(quantiles)
    }
