"""Widths from one's own data: a factor at which intervals hold truths that are known.

Conformal prediction (docs/intervals.md): each truth y scores by the factor at which its interval,
widened about the median m, just holds it: E = max((m - y) / (m - q_low), (y - m) / (q_high - m)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import durable
from lvlora.answers import Count, Shape
from lvlora.data.dataset import FloatArray
from lvlora.data.metrics.scores import central_levels, of_samples
from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.forecast.calibration.widths import Widths, checked
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.model.adapters.files import HEAD, WEIGHTS, AdapterInfo
from lvlora.narrator import Narrator
from lvlora.text.scaling import RULES

FOLDER = "calibrations"
_LEAST = 0.01
"""Least factor: intervals do not shrink to nothing."""
_AGAIN = "lvlora evaluate DATA --calibrate makes one; without --calibrated none is needed."


class Facts(Shape):
    """The forecasts that a calibration is from, and so those that it serves."""

    data: str
    data_sha256: str
    split: str
    series: Count
    windows: Count | None = None
    """Number of windows, where some series have several."""
    context: Count
    horizon: Count
    variables: list[str]
    samples: int
    temperature: float
    top_p: float
    views: int
    decimals: int
    number_format: str
    scale: str
    widths: str
    coverage_before: dict[str, float | None]

    @property
    def amount(self) -> str:
        """The number of forecasts: "30 series", "8 windows of 1 series"."""
        series = f"{self.series} series"
        return series if self.windows is None else f"{self.windows} windows of {series}"

    def note_to(self, narrator: Narrator, sampling: Sampling, n_steps: int) -> None:
        """Note the origin, and where the forecasts differ from those of the calibration."""
        narrator.note(
            f"Intervals calibrated by {self.amount} of {self.data} ({self.horizon} steps from "
            f"{self.context}), {self.samples} samples each."
        )
        differences = [
            f"{name} {getattr(self, name)}"
            for name, value in drawn_by(sampling).items()
            if getattr(self, name) != value
        ]
        if n_steps > self.horizon:
            differences.append(f"{self.horizon} steps")
        if differences:
            narrator.note(
                f"The calibration was made with {', '.join(differences)}: with others its "
                "intervals may cover less."
            )


def form_of(model: LanguageModel) -> dict[str, Any]:
    """How a model scales and writes numbers, and widens futures."""
    rule = "history" if model.scale is None else "dataset"
    return {
        "decimals": model.decimals,
        "number_format": model.number_format,
        "scale": f"{rule} {RULES}",
        "widths": "as drawn" if model.widths is None else model.widths.sha256[:16],
    }


def drawn_by(sampling: Sampling) -> dict[str, Any]:
    """How futures are drawn."""
    return {name: getattr(sampling, name) for name in ("samples", "temperature", "top_p", "views")}


def calibrate(
    truth: FloatArray, samples: FloatArray, quantiles: Sequence[float], facts: Facts | None = None
) -> Widths:
    """Widths from forecasts of series whose future is known.

    Args:
        truth: (n, H, V), NaN where missing; samples: (n, S, H, V).
        quantiles: each central pair among them is an interval to hold its share.
        facts: to keep with them.

    Raises:
        SettingsError: no central pair, or fewer than two samples.
        DataError: too few known truths, of forecasts that have a width, for an interval.
    """
    levels = central_levels(quantiles)
    if not levels or samples.shape[1] < 2:
        raise SettingsError(
            "there is no interval to calibrate: it takes a pair of quantiles such as 0.1 and 0.9, "
            "and at least two samples",
            "Use --quantiles 0.1,0.5,0.9 and leave --greedy out.",
        )
    factors = []
    for level in levels:
        ends = of_samples(samples, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=1)
        low, middle, high = np.asarray(ends)
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (truth - middle) / (high - middle)
            scores = np.where(truth < middle, (middle - truth) / (middle - low), above)
        scores[truth == middle] = 0.0
        # where futures are all alike there is no width that a factor could change
        factors.append(order_statistic(scores[np.isfinite(scores)], level))
    logs = np.log(np.fmax(factors, _LEAST))
    return Widths(
        constant=float(logs.mean()), facts={} if facts is None else facts.model_dump(mode="json")
    )


def order_statistic(scores: FloatArray, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n scores.

    Raises:
        DataError: with so few scores no finite factor covers ``level``.
    """
    n = len(scores)
    place = math.ceil(round((n + 1) * level, 9))
    if place > n:
        raise DataError(
            f"{n} known truths of forecasts with a width are too few to calibrate intervals of "
            f"{level:g}",
            f"It takes {math.ceil(round(level / (1 - level), 9))} at least: calibrate on more "
            "series.",
        )
    return float(np.partition(scores, place - 1)[place - 1])


def keep(widths: Widths, model: LanguageModel, info: AdapterInfo | None, runs: Path) -> Path:
    """Write a calibration for all that decides a model's forecasts, and return where it is."""
    path, identity = _place_of(model, info, runs, widths.facts["variables"])
    widths.save(path, identity)
    return path


def load(
    model: LanguageModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> tuple[Widths, Facts]:
    """Return the calibration of a model, which serves data with these variables.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path, identity = _place_of(model, info, runs, variables)
    if not path.is_file():
        raise ModelError(
            f"--calibrated: {model.name} has no calibration for {', '.join(variables)} with "
            f"{model.decimals} decimals ({path})",
            _AGAIN,
        )
    widths = Widths.load(path, identity, _AGAIN)
    return widths, checked(path, Facts, widths.facts, _AGAIN)


def _place_of(
    model: LanguageModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> tuple[Path, dict[str, str]]:
    """Return the file of a calibration, and what it is for: weights, form and variables."""
    files = {} if info is None else {name: info.folder / name for name in (WEIGHTS, HEAD)}
    identity = {
        "base": model.base.sha256,
        **{name: durable.sha256_of(file) for name, file in files.items() if file.is_file()},
        **{name: str(value) for name, value in form_of(model).items()},
        "variables": durable.sha256_of_json(list(variables)),
    }
    return runs / FOLDER / f"{durable.sha256_of_json(identity)[:24]}.json", identity
