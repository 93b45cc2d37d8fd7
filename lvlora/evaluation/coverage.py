"""What --calibrate and --calibrated do: offsets from a model's forecasts, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvlora import numbers
from lvlora.errors import SettingsError
from lvlora.evaluation.candidates import Candidate
from lvlora.evaluation.job import Job
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.forecast.calibration import files as calibration_files
from lvlora.forecast.calibration.facts import amount, describe
from lvlora.forecast.calibration.offsets import Calibration, calibrate, share_inside, units_of
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.reading import joint_scale
from lvlora.forecast.sampling import Sampling
from lvlora.narrator import Narrator
from lvlora.series.metrics.scores import central_levels


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
    found = calibration_files.load_fitting(
        forecaster,
        candidate.choice.info,
        job.settings.runs,
        sampling=job.sampling,
        quantiles=job.settings.quantiles,
        horizon=job.task.protocol.horizon,
        variables=job.task.variables,
        histories=job.task.histories,
        narrator=narrator,
    )
    if found.facts.get("data_sha256") == job.data_sha256 and (
        found.facts.get("split") == job.task.protocol.part
    ):
        narrator.note("It was made on the series that are scored: of others it may cover less.")
    return found


def keep_calibration(
    entry: Entry, candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> None:
    """Make a calibration of a model's forecasts, for --calibrated, and say where it is."""
    made = calibrate_entry(
        entry,
        job.task,
        forecaster,
        job.sampling,
        job.settings.quantiles,
        source=job.data.source,
        data_sha256=job.data_sha256,
        coverage_before={f"{x:g}": c for x, c in entry.scores.coverage.items()},
    )
    info = candidate.choice.info
    path = calibration_files.place_of(forecaster.base, info, job.settings.runs, job.task.variables)
    calibration_files.save(path, made, forecaster.base, info)
    covered = ", ".join(
        f"{100 * level:g} % intervals covered {numbers.share(share)}"
        for level, share in entry.scores.coverage.items()
    )
    narrator.note(f"{entry.name}: {covered}; calibrated by {amount(made.facts)}: {path}")


def calibrate_entry(
    entry: Entry,
    given: Task,
    forecaster: LanguageModel,
    sampling: Sampling,
    quantiles: Sequence[float],
    *,
    source: str,
    **facts: Any,
) -> Calibration:
    """Offsets from a model's forecasts of the task.

    Args:
        source: of the data; facts: to keep beside those of `calibration.facts.describe`.

    Raises:
        SettingsError, DataError: there are no samples, no interval, or too few truths.
    """
    if entry.samples is None:
        raise SettingsError(
            "--calibrate: greedy forecasts have no intervals", "Leave --greedy out."
        )
    forecasts = _forecasts(entry, given, forecaster)
    units = np.array([units_of(h, f) for h, f in zip(given.histories, forecasts, strict=True)])
    told = describe(
        forecaster,
        sampling,
        source=source,
        variables=given.variables,
        units=units,
        context=given.protocol.context or given.context,
        horizon=given.protocol.horizon,
        n_series=len(set(given.of_series)),
        split=given.protocol.part,
        **facts,
    )
    return calibrate(given.truth, entry.samples, units, quantiles, told)


def coverage(
    entry: Entry,
    given: Task,
    forecaster: LanguageModel,
    calibration: Calibration,
    quantiles: Sequence[float],
) -> dict[float, float]:
    """Probability of each calibrated central interval -> share of known truths inside."""
    found = [
        calibration.apply(f, h, quantiles)
        for f, h in zip(_forecasts(entry, given, forecaster), given.histories, strict=True)
    ]
    return {
        level: share_inside(given.truth, found, _ends(quantiles, level))
        for level in central_levels(quantiles)
    }


def _ends(quantiles: Sequence[float], level: float) -> tuple[float, float]:
    """The two of the quantiles that bound a central interval, as they were written."""
    of_level = [q for q in quantiles if abs(abs(1 - 2 * q) - level) < 1e-9]
    return min(of_level), max(of_level)


def _forecasts(entry: Entry, given: Task, forecaster: LanguageModel) -> list[Forecast]:
    readings = forecaster.plan.readings(given.histories, given.protocol.horizon)
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    return [
        Forecast(h.id, f.time, s, joint_scale(r), min(len(part.numbers) for part in r))
        for h, f, s, r in zip(given.histories, given.futures, samples, readings, strict=True)
    ]
