"""Work of --calibrate and --calibrated: offsets from a model's forecasts, and their coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora import numbers
from lvlora.data.metrics.scores import central_levels
from lvlora.errors import SettingsError
from lvlora.evaluation.candidates import Candidate
from lvlora.evaluation.job import Job
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.forecast.calibration.offsets import (
    Calibration,
    Facts,
    calibrate,
    drawn_by,
    form_of,
    load,
    place_of,
    share_inside,
    tell_origin,
    unit_of,
)
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.narrator import Narrator


def calibration_for(
    candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> Calibration | None:
    """The calibration that --calibrated asks for, before anything is spent.

    Raises:
        ModelError: there is none for this model.
        SettingsError, DataError: it is for other intervals, steps, formats or data.
    """
    if not job.settings.calibrated:
        return None
    calibration = load(
        forecaster,
        candidate.choice.info,
        job.settings.runs,
        job.task.variables,
        job.task.histories,
    )
    calibration.check(job.settings.quantiles, job.task.protocol.horizon)
    tell_origin(calibration, job.sampling, narrator)
    facts = calibration.facts
    if facts and (facts.data_sha256, facts.split) == (job.data_sha256, job.task.protocol.part):
        narrator.note("It was made on the series that are scored: of others it may cover less.")
    return calibration


def keep_calibration(
    entry: Entry, candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> None:
    """Make a calibration of a model's forecasts, for --calibrated, and say where it is.

    Raises:
        SettingsError, DataError: there are no samples, no interval, or too few truths.
    """
    given, info = job.task, candidate.choice.info
    if entry.samples is None:
        raise SettingsError(
            "--calibrate: greedy forecasts have no intervals", "Leave --greedy out."
        )
    units = np.array([unit_of(history) for history in given.histories])
    n_series = len(set(given.of_series))
    several = {} if n_series == len(units) else {"windows": len(units)}
    facts = Facts.model_validate(
        {
            "data": job.data.source,
            "data_sha256": job.data_sha256,
            "split": given.protocol.part,
            "series": n_series,
            **several,
            "context": given.protocol.context or given.context,
            "horizon": given.protocol.horizon,
            "variables": list(given.variables),
            "spread": [(float(u.min()), float(u.max())) for u in units.T],
            "coverage_before": {f"{x:g}": c for x, c in entry.scores.coverage.items()},
            **drawn_by(job.sampling),
            **form_of(forecaster),
        }
    )
    calibration = calibrate(given.truth, entry.samples, units, job.settings.quantiles, facts)
    path = place_of(forecaster.base, info, job.settings.runs, given.variables)
    calibration.save(path, forecaster.base, info)
    covered = ", ".join(
        f"{100 * level:g} % intervals covered {numbers.share(share)}"
        for level, share in entry.scores.coverage.items()
    )
    narrator.note(f"{entry.name}: {covered}; calibrated by {facts.amount}: {path}")


def coverage(
    entry: Entry, given: Task, calibration: Calibration, quantiles: Sequence[float]
) -> dict[float, float]:
    """Probability of each calibrated central interval -> share of known truths inside."""
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    forecasts = [
        calibration.apply(Forecast(h.id, f.time, s, None, len(h), history=h), quantiles)
        for h, f, s in zip(given.histories, given.futures, samples, strict=True)
    ]
    return {
        level: share_inside(given.truth, forecasts, _ends(quantiles, level))
        for level in central_levels(quantiles)
    }


def _ends(quantiles: Sequence[float], level: float) -> tuple[float, float]:
    """The two of the quantiles that bound a central interval, as they were written."""
    of_level = [q for q in quantiles if abs(abs(1 - 2 * q) - level) < 1e-9]
    return min(of_level), max(of_level)
