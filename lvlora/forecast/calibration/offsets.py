"""Intervals that cover what they say: conformal offsets from series the model was not trained on.

Conformalized quantile regression (Romano, Patterson & Candès 2019, arXiv:1905.03222): on
calibration series each truth y scores by how far it lies outside its interval,

    E = max(q_low - y, y - q_high)        (negative inside),

and the interval [q_low - Q, q_high + Q], with Q the ⌈(n + 1) level⌉-th smallest of n scores, covers
a new truth with at least the probability ``level``, whatever the model, as long as the new series
is exchangeable with those of the calibration. Q may be negative: too wide intervals shrink.

Offsets are in standard deviations of the history (`unit_of`), so that they serve series of any
magnitude, and they belong to a step of the horizon and a variable. Where a step has
fewer than `ENOUGH` scores, those of its neighbours are taken too: as many steps on either side as
it takes. One more row of offsets, over all variables, is used for files with another number of
variables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from lvlora import durable
from lvlora.answers import Count, Shape
from lvlora.data.dataset import FloatArray, Series
from lvlora.data.metrics.quantiles import of_samples
from lvlora.data.metrics.scores import central_levels
from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.forecast.bounds import least_values
from lvlora.forecast.calibration import stored
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.model.adapters.files import HEAD, WEIGHTS, AdapterInfo
from lvlora.model.loading import BaseModel
from lvlora.narrator import Narrator
from lvlora.text.scaling import RULES

ENOUGH = 40
"""Scores of one offset: with fewer a quantile of 90 % is one of the last four."""
NAME = "calibration.json"
FOLDER = "calibrations"

_FAR = 10.0
"""So many times more, or less, than the series of the calibration others may vary."""
_AGAIN = "For data like these: lvlora evaluate DATA --calibrate; or leave --calibrated out."
_OTHERWISE = "lvlora evaluate DATA --calibrate makes one; without --calibrated none is needed."


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
    spread: list[tuple[float, float]]
    """The least and the largest standard deviation of a history, for each variable."""
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
        """How much the offsets are from: "30 series", "8 windows of 1 series"."""
        series = f"{self.series} series"
        return series if self.windows is None else f"{self.windows} windows of {series}"

    @property
    def origin(self) -> str:
        """A sentence that says where the offsets are from."""
        return (
            f"Intervals calibrated by {self.amount} of {self.data} ({self.horizon} steps from "
            f"{self.context}), {self.samples} samples each."
        )

    def check(
        self, model: LanguageModel, variables: Sequence[str], histories: Sequence[Series]
    ) -> None:
        """Refuse numbers that are scaled or written otherwise, and other data.

        Raises:
            SettingsError: the model scales or writes otherwise.
            DataError: the series have other variables, or vary by far more or less.
        """
        for name, value in form_of(model).items():
            if getattr(self, name) != value:
                raise SettingsError(
                    f"--calibrated: the calibration is for {name.replace('_', ' ')} "
                    f"{getattr(self, name)}, and this is {value}",
                    _AGAIN,
                )
        where = f"{self.amount} of {self.data}"
        if self.variables != list(variables):
            raise DataError(
                f"--calibrated: the calibration was made on {', '.join(self.variables)} ({where}), "
                f"not on {', '.join(variables)}",
                _AGAIN,
            )
        spreads = np.median([_spread(history) for history in histories], axis=0).tolist()
        for name, spread, (low, high) in zip(variables, spreads, self.spread, strict=True):
            if not low / _FAR <= spread <= high * _FAR:
                raise DataError(
                    f"--calibrated: {name} varies by {spread:.3g} here (standard deviation), and "
                    f"by {low:.3g} to {high:.3g} in what the calibration was made on ({where})",
                    _AGAIN,
                )

    def unlike(self, sampling: Sampling) -> str:
        """A sentence where futures are drawn otherwise than for the calibration, else empty."""
        other = [
            f"{name} {getattr(self, name)}"
            for name, value in drawn_by(sampling).items()
            if getattr(self, name) != value
        ]
        if not other:
            return ""
        return (
            f"The calibration was made with {', '.join(other)}: with others its intervals may "
            "cover less."
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


_Offset = Annotated[float, Field(ge=-1e12, le=1e12)]


class _Offsets(Shape):
    """Coverage of one central interval at each step: for each variable, and for all together."""

    variables: list[list[_Offset]]
    together: list[_Offset]


class _Stored(Shape):
    """A calibration as its file has it."""

    facts: Facts
    offsets: dict[str, _Offsets]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        horizon, n_variables = self.facts.horizon, len(self.facts.variables)
        for level, rows in self.offsets.items():
            lengths = {len(steps) for steps in (rows.together, *rows.variables)}
            if lengths != {horizon} or len(rows.variables) != n_variables or not float(level) < 1:
                raise ValueError(f"offsets of {level} do not fit the facts")
        if not self.offsets or len(self.facts.spread) != n_variables:
            raise ValueError("offsets or spreads are missing")
        return self


@dataclass(frozen=True)
class Calibration:
    """Offsets of central intervals.

    Attributes:
        offsets: probability of a central interval -> (V + 1, H) in the `unit_of` a series; the
            last row is over all variables.
        facts: where they are from; None for who has nothing to say of that.
    """

    offsets: Mapping[float, FloatArray]
    facts: Facts | None = None

    @property
    def horizon(self) -> int:
        """Steps that there are offsets for."""
        return next((rows.shape[1] for rows in self.offsets.values()), 0)

    def check(self, levels: Sequence[float], n_steps: int) -> None:
        """Refuse other quantiles and more steps than there are offsets for.

        Raises:
            SettingsError: there are none.
        """
        for level in _central(levels):
            if level not in self.offsets:
                known = ", ".join(f"{x:g}" for x in sorted(self.offsets))
                raise SettingsError(
                    f"--calibrated: no offset for intervals of {level:g}; there are some for "
                    f"{known}",
                    f"Use --quantiles {_quantiles_of(self.offsets)}, or calibrate with others.",
                )
        if n_steps > self.horizon:
            raise SettingsError(
                f"--calibrated: {n_steps} steps, and the calibration is for {self.horizon}",
                f"Forecast {self.horizon} steps at most, or calibrate with a longer --horizon.",
            )

    def apply(self, forecast: Forecast, levels: Sequence[float]) -> Forecast:
        """The forecast with calibrated quantiles; samples, median and mean stay as they are.

        No quantile of a variable is below 0 if its history never is: truths that aren't stay
        covered. Offsets of their own may let ends cross, so from narrow to wide each interval is
        extended to hold the median and those before it, which loses no coverage.

        Args:
            levels: quantiles, each the end of a central interval, or 0.5.

        Raises:
            SettingsError: an interval or a step has no offset.
        """
        if forecast.history is None:
            raise ValueError("a forecast without its history cannot be calibrated")
        n_steps, n_variables = forecast.samples.shape[1:]
        self.check(levels, n_steps)
        unit, least = unit_of(forecast.history), least_values(forecast.history.values)
        inner = (forecast.median, forecast.median)
        calibrated: dict[float, FloatArray] = {}
        for level in _central(levels):
            rows = self.offsets[level]
            own = len(rows) - 1 == n_variables
            chosen = rows[:-1] if own else np.repeat(rows[-1:], n_variables, axis=0)
            offset = chosen[:, :n_steps].T * unit
            low, high = central_interval(forecast.samples, level)
            inner = (np.minimum(low - offset, inner[0]), np.maximum(high + offset, inner[1]))
            for q in levels:
                if round(abs(1 - 2 * q), 10) == level:
                    calibrated[q] = np.maximum(inner[0] if q < 0.5 else inner[1], least)
        return replace(forecast, calibrated={**forecast.calibrated, **calibrated})

    def save(self, path: Path, base: BaseModel, info: AdapterInfo | None) -> None:
        """Write it for a model, whole or not at all."""
        facts = {} if self.facts is None else self.facts.model_dump(mode="json")
        offsets = {
            f"{level:.10g}": {"variables": rows[:-1].tolist(), "together": rows[-1].tolist()}
            for level, rows in self.offsets.items()
        }
        content = {"model": base.name, "facts": facts, "offsets": offsets}
        stored.save(path, _weights(base, info), content)


def place_of(
    base: BaseModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> Path:
    """Where the calibration of a model for data with these variables is written."""
    if info is not None:
        return info.folder / NAME
    names = durable.sha256_of_json(list(variables))
    return runs / FOLDER / f"{base.sha256[:16]}-{names[:8]}.json"


def load(
    model: LanguageModel,
    info: AdapterInfo | None,
    runs: Path,
    variables: Sequence[str],
    histories: Sequence[Series],
) -> Calibration:
    """The calibration of a model, which serves these data.

    Raises:
        ModelError: there is none, it is damaged, or for other weights.
        SettingsError, DataError: it is for other formats or data.
    """
    base = model.base
    path = place_of(base, info, runs, variables)
    if not path.is_file():
        lacks = (
            "the adapter has no calibration"
            if info is not None
            else f"{base.name} has no calibration for {', '.join(variables)}"
        )
        raise ModelError(f"--calibrated: {lacks} ({path})", _OTHERWISE)
    content = stored.load(path, _weights(base, info), _Stored, _OTHERWISE)
    content.facts.check(model, variables, histories)
    offsets = {
        float(level): np.array([*rows.variables, rows.together])
        for level, rows in content.offsets.items()
    }
    return Calibration(offsets, content.facts)


def tell_origin(calibration: Calibration, sampling: Sampling, narrator: Narrator) -> None:
    """Note where a calibration is from, and where futures are drawn otherwise than for it."""
    if calibration.facts is not None:
        for note in (calibration.facts.origin, calibration.facts.unlike(sampling)):
            if note:
                narrator.note(note)


def _weights(base: BaseModel, info: AdapterInfo | None) -> dict[str, str]:
    """Hashes of all files that decide a model's forecasts."""
    files = {} if info is None else {n: info.folder / n for n in (WEIGHTS, HEAD)}
    hashes = {name: durable.sha256_of(file) for name, file in files.items() if file.is_file()}
    return {"base": base.sha256, **hashes}


def _spread(history: Series) -> FloatArray:
    """(V,) standard deviations; 0 of a variable without values."""
    known = np.ma.masked_invalid(history.values)
    return np.asarray(np.ma.std(known, axis=0).filled(0.0), dtype=np.float64)


def unit_of(history: Series) -> FloatArray:
    """(V,) what offsets are multiplied with: standard deviations, in original units.

    Of a constant a hundredth of its size, and 1 where nothing is known.
    """
    spread, known = _spread(history), np.ma.masked_invalid(history.values)
    size = np.asarray(np.ma.max(np.ma.abs(known), axis=0).filled(0.0), dtype=np.float64)
    usable = np.where(spread > 1e-9 * size, spread, 0.01 * size)
    return np.where(usable > 0, usable, 1.0)


def central_interval(samples: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Both ends of the samples' (S, …) central interval."""
    low, high = of_samples(samples, [(1 - level) / 2, (1 + level) / 2])
    return low, high


def calibrate(
    truth: FloatArray,
    samples: FloatArray,
    units: FloatArray,
    quantiles: Sequence[float],
    facts: Facts | None = None,
) -> Calibration:
    """Offsets from forecasts of series whose future is known.

    Args:
        truth: (n, H, V), NaN where missing; samples: (n, S, H, V); both in original units.
        units: (n, V), see `unit_of`.
        quantiles: each central pair among them gets offsets.
        facts: to keep with them.

    Raises:
        SettingsError: no central pair, or fewer than two samples.
        DataError: too few known truths for a level.
    """
    levels = central_levels(quantiles)
    if not levels or samples.shape[1] < 2:
        raise SettingsError(
            "there is no interval to calibrate: it takes a pair of quantiles such as 0.1 and 0.9, "
            "and at least two samples",
            "Use --quantiles 0.1,0.5,0.9 and leave --greedy out.",
        )
    offsets: dict[float, FloatArray] = {}
    for level in levels:
        low, high = central_interval(np.moveaxis(samples, 1, 0), level)
        scores = np.maximum(low - truth, truth - high) / units[:, None, :]
        n_variables = truth.shape[2]
        rows = [_by_step(scores[:, :, [v]], level) for v in range(n_variables)]
        offsets[level] = np.stack([*rows, _by_step(scores, level)])
    return Calibration(offsets, facts)


def _by_step(scores: FloatArray, level: float) -> FloatArray:
    """(H,) offsets of scores (n, H, …): each step's own, or with its neighbours'."""
    horizon = scores.shape[1]
    smoothed = np.empty(horizon)
    for step in range(horizon):
        for reach in range(horizon):
            near = scores[:, max(0, step - reach) : step + reach + 1]
            known = near[~np.isnan(near)]
            if len(known) >= ENOUGH or reach == horizon - 1:
                break
        smoothed[step] = offset(known, level)
    return smoothed


def offset(scores: FloatArray, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n scores.

    Raises:
        DataError: with so few scores no finite offset covers ``level``.
    """
    n = len(scores)
    place = math.ceil(round((n + 1) * level, 9))
    if place > n:
        raise DataError(
            f"{n} known truths are too few to calibrate intervals of {level:g}",
            f"It takes {math.ceil(round(level / (1 - level), 9))} at least: calibrate on more "
            "series.",
        )
    return float(np.partition(scores, place - 1)[place - 1])


def share_inside(
    truth: FloatArray, forecasts: Sequence[Forecast], ends: tuple[float, float]
) -> float:
    """Return the share of the known truths (n, H, V) between two quantiles; NaN without any."""
    low, high = (np.stack([f.quantile(q) for f in forecasts]) for q in ends)
    known = ~np.isnan(truth)
    inside = (truth >= low) & (truth <= high)
    return float(inside[known].mean()) if known.any() else float("nan")


def _central(levels: Sequence[float]) -> list[float]:
    """Probabilities of the central intervals that these quantiles are ends of, ascending."""
    return sorted({round(abs(1 - 2 * q), 10) for q in levels} - {0.0})


def _quantiles_of(levels: Mapping[float, object]) -> str:
    ends = {round((1 - x) / 2, 10) for x in levels} | {round((1 + x) / 2, 10) for x in levels}
    return ",".join(f"{q:g}" for q in sorted(ends | {0.5}))
