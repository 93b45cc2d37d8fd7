"""What a calibration was made with, and whether it serves other forecasts.

Offsets belong to a model with its adapter (`files` holds them to the weights), to the
rule of the scale, the format of the numbers, the horizon, and to data: the same variables, which
vary about as much as those that they were made on. What a model's folder says of any series is in
`widths`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvlora.errors import DataError, SettingsError
from lvlora.forecast.calibration.offsets import Calibration
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import FloatArray, Series
from lvlora.text.scaling import RULES

_FAR = 10.0
"""So many times more, or less, than the series of the calibration others may vary."""
_AGAIN = "For data like these: lvlora evaluate DATA --calibrate; or leave --calibrated out."


def describe(
    forecaster: LanguageModel,
    sampling: Sampling,
    *,
    source: str,
    variables: Sequence[str],
    units: FloatArray,
    context: int,
    horizon: int,
    n_series: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the facts of a calibration, as JSON.

    Args:
        source: of the data; variables: V names.
        units: (n, V) of the n histories, see `calibration.units_of`.
        n_series: that the histories are windows of, where some have several.
        context, horizon: steps given and asked for.
        more: further facts, such as the hash of the data and which part of them it is.
    """
    return {
        "data": source,
        **more,
        "series": len(units) if n_series is None else n_series,
        **({} if n_series in (None, len(units)) else {"windows": len(units)}),
        "context": context,
        "horizon": horizon,
        "variables": list(variables),
        "spread": [[float(u.min()), float(u.max())] for u in units.T],
        **_sampling(sampling),
        **_form(forecaster),
    }


def amount(facts: Mapping[str, Any]) -> str:
    """Return how much the offsets are from: "30 series", "8 windows of 1 series"."""
    series = f"{facts.get('series')} series"
    return f"{facts['windows']} windows of {series}" if "windows" in facts else series


def origin(facts: Mapping[str, Any]) -> str:
    """Return where the offsets are from, for people."""
    return (
        f"Intervals calibrated by {amount(facts)} of {facts.get('data')} "
        f"({facts.get('horizon')} steps from {facts.get('context')}), "
        f"{facts.get('samples')} samples each."
    )


def check_form(calibration: Calibration, forecaster: LanguageModel) -> None:
    """Whether it is for numbers that are scaled and written as this forecaster does.

    Raises:
        SettingsError: it is not.
    """
    facts = calibration.facts
    for name, value in _form(forecaster).items():
        if facts.get(name) != value:
            raise SettingsError(
                f"--calibrated: the calibration is for {name.replace('_', ' ')} "
                f"{facts.get(name, 'of an earlier version')}, and this is {value}",
                _AGAIN,
            )


def check_data(
    calibration: Calibration, variables: Sequence[str], histories: Sequence[Series]
) -> None:
    """Whether it is for such series.

    Raises:
        DataError: they have other variables, or vary by far more or less.
    """
    facts = calibration.facts
    where = f"{amount(facts)} of {facts.get('data')}"
    known = [str(name) for name in facts.get("variables", ())]
    if known != list(variables):
        raise DataError(
            f"--calibrated: the calibration was made on {', '.join(known) or 'other variables'} "
            f"({where}), not on {', '.join(variables)}",
            _AGAIN,
        )
    spreads = np.array(
        [np.ma.std(np.ma.masked_invalid(h.values), axis=0).filled(0.0) for h in histories]
    )
    for name, spread, (low, high) in zip(
        variables, np.median(spreads, axis=0).tolist(), facts["spread"], strict=True
    ):
        if not low / _FAR <= spread <= high * _FAR:
            raise DataError(
                f"--calibrated: {name} varies by {spread:.3g} here (standard deviation), and by "
                f"{low:.3g} to {high:.3g} in what the calibration was made on ({where})",
                _AGAIN,
            )


def other_sampling(calibration: Calibration, sampling: Sampling) -> str:
    """A sentence where futures are drawn otherwise than for the calibration, else empty."""
    facts = calibration.facts
    other = [
        f"{name} {facts[name]}"
        for name, value in _sampling(sampling).items()
        if facts.get(name, value) != value
    ]
    if not other:
        return ""
    return (
        f"The calibration was made with {', '.join(other)}: with others its intervals may cover "
        "less."
    )


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "samples": sampling.samples,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "views": sampling.views,
    }


def _form(forecaster: LanguageModel) -> dict[str, Any]:
    rule = "history" if forecaster.scale is None else "dataset"
    return {
        "decimals": forecaster.decimals,
        "number_format": forecaster.number_format,
        "scale": f"{rule} {RULES}",
        "widths": "as drawn" if forecaster.widths is None else forecaster.widths.sha256[:16],
    }
