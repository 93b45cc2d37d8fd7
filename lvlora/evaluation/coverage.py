"""Calibrating a model by its forecasts of a task, and how well calibrated intervals cover one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvlora.errors import SettingsError
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scoring import Entry
from lvlora.forecast.calibration import Calibration, calibrate, share_inside, units_of
from lvlora.forecast.calibration_facts import describe
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.series.metrics.scores import central_levels


def calibrate_entry(
    entry: Entry,
    given: Task,
    forecaster: Forecaster,
    sampling: Sampling,
    quantiles: Sequence[float],
    *,
    source: str,
    **facts: Any,
) -> Calibration:
    """Offsets from a model's forecasts of the task.

    Args:
        source: of the data; facts: to keep beside those of `calibration_facts.describe`.

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
        split=given.protocol.part,
        **facts,
    )
    return calibrate(given.truth, entry.samples, units, quantiles, told)


def coverage(
    entry: Entry,
    given: Task,
    forecaster: Forecaster,
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


def _forecasts(entry: Entry, given: Task, forecaster: Forecaster) -> list[Forecast]:
    readings = forecaster.readings(given.histories, given.protocol.horizon)
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    return [
        Forecast(h.id, f.time, s, r.scale, len(r.numbers))
        for h, f, s, r in zip(given.histories, given.futures, samples, readings, strict=True)
    ]
