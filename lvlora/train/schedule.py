"""Steps of a run, their rates, and the steps after which it validates."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

from lvlora.answers import Price
from lvlora.errors import BudgetError, SettingsError
from lvlora.train.settings import LearningSettings, Schedule

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1e-4
_COSINE_END = 0.1
DEFAULT_STEPS = 200
LEAST_BATCHES = 500
"""Micro-batches from which on a run is long enough for its layers to be compiled."""
_MOST_STEPS = 10**9
_MOST_VALIDATIONS = 10**5
"""More than any machine makes; a plan of more could not even be written down."""


@dataclass(frozen=True)
class Validations:
    """Thoroughness of a run's validations.

    Attributes:
        series: of the validation part, scored each time.
        times: beside the one before the first step, where the settings do not say how often.
    """

    series: int
    times: int


USUAL = Validations(series=16, times=4)
_LEAST = Validations(series=4, times=1)
_SHARE = 20
"""One part in so many of a run's FLOPs is for validation."""
_FREE_FLOPS = 2 * 10**12
"""Or so many, where that is more: seconds on any machine."""


def validation_choices(series: int | None = None, *, often: bool = False) -> list[Validations]:
    """Return choices from the most thorough to the least: fewer series first, then less often.

    Args:
        series: the only number of series; None for a choice.
        often: never less often, for progress within a run.
    """
    fewer = range(USUAL.series, _LEAST.series - 1, -1) if series is None else (series,)
    seldom = () if often else range(USUAL.times - 1, _LEAST.times - 1, -1)
    return [
        *(Validations(n, USUAL.times) for n in fewer),
        *(Validations(fewer[-1], times) for times in seldom),
    ]


def choose_validations(
    settings: LearningSettings, per_step: Price, price_of: Callable[[int], Price]
) -> Validations:
    """Choose validations as thorough as a twentieth of the run's FLOPs (or 2e12) pays for.

    It goes by FLOPs, not by time, so that a run is the same on every machine.

    Args:
        price_of: the most that a validation of so many series costs.
    """
    convention, limit = settings.convention, settings.max_flops
    step = per_step.of(convention)
    n_steps = settings.max_steps or (DEFAULT_STEPS if limit is None else limit // step)
    allowed = max(n_steps * step // _SHARE, _FREE_FLOPS)
    for choice in validation_choices():
        every = settings.validate_every
        times = choice.times if every is None else n_steps // every
        if (1 + times) * price_of(choice.series).of(convention) <= allowed:
            return choice
    return _LEAST


def steps_between_validations(
    settings: LearningSettings, n_steps: int, times: int = USUAL.times
) -> int:
    """Return the settings' number, or that of ``times`` validations in ``n_steps``."""
    return settings.validate_every or max(1, -(-n_steps // times))


@dataclass(frozen=True)
class Cost:
    """The most that a step and a validation cost.

    Attributes:
        times: validations of a trial whose settings do not say how often.
        series: that a validation scores.
    """

    per_step: Price
    per_validation: Price
    times: int = USUAL.times
    series: int = USUAL.series

    def validated(self, how: Validations) -> Cost:
        """Return the cost with other validations, of no more series than there are."""
        series = min(how.series, self.series)
        share = Price(
            *(-(-n * series // self.series) for n in self.per_validation.to_dict().values())
        )
        return Cost(self.per_step, share, how.times, series)

    def of_run(self, settings: LearningSettings, n_steps: int) -> Price:
        """Return the most that a run costs, the validation before its first step included."""
        # the last step is validated, too, wherever it falls
        every = steps_between_validations(settings, n_steps, self.times)
        validations = 1 + -(-n_steps // every)
        return n_steps * self.per_step + validations * self.per_validation

    def steps_within(self, settings: LearningSettings, cap: int, convention: str) -> int:
        """Return the most steps whose run costs no more than ``cap``; 0 where none fits."""
        low, high = 0, cap // self.per_step.of(convention)
        while low < high:
            middle = (low + high + 1) // 2
            if self.of_run(settings, middle).of(convention) <= cap:
                low = middle
            else:
                high = middle - 1
        return low


def plan_steps(
    settings: LearningSettings,
    per_step: Price,
    per_validation: Price,
    times: int = USUAL.times,
) -> tuple[int, frozenset[int]]:
    """Return the number of steps, and after which to validate (besides before the first).

    ``max_flops`` without ``max_steps`` buys as many steps as fit beside the validations.

    Args:
        times: validations in a run whose settings do not say how often.

    Raises:
        BudgetError: not one step fits into ``max_flops``, or not as many as ``max_steps``.
        SettingsError: there are more of them than any run can make.
    """
    convention, limit = settings.convention, settings.max_flops
    step, validation = per_step.of(convention), per_validation.of(convention)

    def validated(n: int) -> frozenset[int]:
        every = steps_between_validations(settings, n, times)
        if n > _MOST_STEPS or (validation and n // every > _MOST_VALIDATIONS):
            raise SettingsError(
                f"{n:,} steps with a validation after every {every:,} are more than a run can have "
                f"({_MOST_STEPS:,} steps, {_MOST_VALIDATIONS:,} validations)",
                "Name fewer --max-steps, or a larger --validate-every.",
            )
        return frozenset({*range(every, n + 1, every), n}) if validation else frozenset()

    def most(n: int) -> int:
        """Rises with n, as the true price of a few steps more need not."""
        every = settings.validate_every
        wanted = -(-n // every) if every else min(n, times)
        return n * step + (1 + wanted) * validation

    if settings.max_steps is None and limit is not None:
        steps = range(1, min(limit // step, _MOST_STEPS + 1) + 1)
        n_steps = bisect.bisect_right(steps, limit, key=most)
        if n_steps < 1:
            validations = f", two validations {2 * validation:,}" if validation else ""
            raise BudgetError(
                f"--max-flops {limit:,}: one step costs {step:,} FLOPs ({convention}){validations}",
                "Raise the limit, use a smaller --batch-size or --seq-len, or --no-validation.",
            )
        return n_steps, validated(n_steps)
    n_steps = settings.max_steps or DEFAULT_STEPS
    at = validated(n_steps)
    wanted = n_steps * step + (1 + len(at)) * validation
    if limit is not None and wanted > limit:
        raise BudgetError(
            f"{n_steps} steps and their validations may cost {wanted:,} FLOPs ({convention}), "
            f"--max-flops allows {limit:,}",
            "Leave out --max-steps to get as many steps as fit, or --no-validation.",
        )
    return n_steps, at


def learning_rate(step: int, n_steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """Return the rate of ``step`` (from 0) in a run of ``n_steps``.

    - cosine: linear warm-up, then half a cosine down to a tenth of the peak (Loshchilov & Hutter
      2016, arXiv:1608.03983).
    - one-cycle: cosine up from peak/25, cosine down to peak/10,000 (Smith & Topin 2017,
      arXiv:1708.07120).
    - constant: linear warm-up, then the peak.

    Args:
        warmup: share of the steps in which the rate rises.
    """
    rising = round(warmup * n_steps)
    if step < rising:
        if schedule == "one-cycle":
            way = (step + 1) / rising
            return peak * _between(_ONE_CYCLE_START, 1.0, 0.5 - 0.5 * math.cos(math.pi * way))
        return peak * (step + 1) / rising
    if schedule == "constant":
        return peak
    way = (step - rising) / max(1, n_steps - rising)
    end = _ONE_CYCLE_END if schedule == "one-cycle" else _COSINE_END
    return peak * _between(end, 1.0, 0.5 + 0.5 * math.cos(math.pi * way))


def _between(low: float, high: float, part: float) -> float:
    return low + (high - low) * part
