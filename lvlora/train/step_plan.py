"""How many steps a run makes, after which of them it validates, and with how many series.

Knows: prices of a step and of a validation, limits. Does not know: models, what was spent before.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace

from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.budget import Price
from lvlora.settings.training import LearningSettings

DEFAULT_STEPS = 200
_MOST_STEPS = 10**9
_MOST_VALIDATIONS = 10**5
"""More than any machine makes; a plan of more could not even be written down."""


@dataclass(frozen=True)
class Validations:
    """How thoroughly a run validates unless its settings say so.

    Attributes:
        series: of the validation part, scored each time.
        times: beside the one before the first step.
        horizon: steps of each forecast, at most; None: the second half of a series.
    """

    series: int
    times: int
    horizon: int | None = None


USUAL = Validations(series=16, times=4)
_CHOICES = (
    USUAL,
    Validations(8, 4),
    Validations(8, 2),
    Validations(4, 2),
    Validations(4, 1),
    Validations(4, 1, horizon=20),
)
"""From the most thorough to the least."""

_SHARE = 0.05
_FREE_FLOPS = 2e12
"""Validation that costs less is never cut: the bundled model's takes seconds."""
_FORWARD = 1 / 3
_CALL, _CALL_OF_A_SERIES = 16, 2
"""A call of the model that decodes reads all weights for few tokens; it takes as long as so many
tokens of training, and so many more for each series. For SmolLM2-135M, four series 20 steps ahead,
that makes 3,800 tokens of a validation; it took as long as 4,600."""


def choose_validations(
    settings: LearningSettings,
    per_step: Price,
    *,
    tokens_per_step: int,
    tokens_read: int,
    tokens_a_step: int,
    calls_a_step: int,
    horizon: int,
) -> Validations:
    """The most thorough validation that takes a twentieth of the run, by what is known before.

    It goes by work, not by time, so that a run is the same on every machine.

    Args:
        tokens_per_step: trained in an optimiser step.
        tokens_read: of a series, for its loss and as the history of its forecast.
        tokens_a_step, calls_a_step: of a forecast, written and of the model.
        horizon: steps of a whole forecast.
    """
    convention, limit = settings.convention, settings.max_flops
    bought = limit // per_step.of(convention) if limit is not None else DEFAULT_STEPS
    trained = (settings.max_steps or bought) * tokens_per_step
    free = _FREE_FLOPS / per_step.executed * tokens_per_step

    def tokens(choice: Validations) -> float:
        n_steps = min(horizon, choice.horizon or horizon)
        one = choice.series * (tokens_read + n_steps * tokens_a_step) * _FORWARD
        one += n_steps * calls_a_step * (_CALL + _CALL_OF_A_SERIES * choice.series)
        times = (
            trained // (tokens_per_step * settings.validate_every)
            if (settings.validate_every)
            else choice.times
        )
        return (1 + times) * one

    fitting = (c for c in _CHOICES if tokens(c) <= _SHARE * trained + free)
    found = next(fitting, _CHOICES[-1])
    return found if (found.horizon or 0) < horizon else replace(found, horizon=None)


def whole_validations(series: int | None, *, often: bool) -> list[Validations]:
    """What may be chosen from where forecasts are never shortened; the most thorough first.

    Args:
        series: the only number of them, if it was said.
        often: whether somebody wants to know in between how a run does.
    """
    if series is not None:
        found = [Validations(series, times) for times in (USUAL.times, 2, 1)]
    else:
        found = [c for c in _CHOICES if c.horizon is None]
        found += [Validations(4, USUAL.times)] if often else []
    return [c for c in found if c.times == USUAL.times] if often else found


def steps_between_validations(
    settings: LearningSettings, n_steps: int, times: int = USUAL.times
) -> int:
    """As the settings say, or so that there are ``times`` in a run of ``n_steps``."""
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
        """The same, but for how thoroughly it is validated: no more series than there are."""
        series = min(how.series, self.series)
        share = Price(
            *(-(-n * series // self.series) for n in self.per_validation.to_dict().values())
        )
        return Cost(self.per_step, share, how.times, series)

    def of_run(self, settings: LearningSettings, n_steps: int) -> Price:
        """The most that a run costs, the validation before its first step included."""
        # the last step is validated, too, wherever it falls
        every = steps_between_validations(settings, n_steps, self.times)
        validations = 1 + -(-n_steps // every)
        return n_steps * self.per_step + validations * self.per_validation

    def steps_within(self, settings: LearningSettings, cap: int, convention: str) -> int:
        """The most steps whose run costs no more than ``cap``; 0 where not even one fits."""
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
    """How many steps, and after which of them to validate (beside once before the first).

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
            what = f"{n:,} steps" if n > _MOST_STEPS else f"{n // every:,} validations"
            bought = "" if settings.max_steps else f" that --max-flops {limit:,} buys"
            raise SettingsError(
                f"the {what}{bought} are more than a run can have "
                f"({_MOST_STEPS:,} steps, {_MOST_VALIDATIONS:,} validations)",
                "Name fewer --max-steps, or a larger --validate-every.",
            )
        return frozenset({*range(every, n + 1, every), n}) if validation else frozenset()

    def most(n: int) -> int:
        """Rises with n, as the true price of a few steps more need not."""
        every = settings.validate_every
        wanted = -(-n // every) if every else min(n, times)
        return n * step + (1 + wanted) * validation

    if settings.max_steps is not None or limit is None:
        n_steps = settings.max_steps or DEFAULT_STEPS
        at = validated(n_steps)
        wanted = n_steps * step + (1 + len(at)) * validation
        if limit is not None and wanted > limit:
            validations = f" and {1 + len(at)} validations" if at else ""
            raise BudgetError(
                f"{n_steps} steps{validations} may cost {wanted:,} FLOPs ({convention}), "
                f"--max-flops allows {limit:,}",
                "Leave out --max-steps to get as many steps as fit, or --no-validation.",
            )
        return n_steps, at
    steps = range(1, min(limit // step, _MOST_STEPS + 1) + 1)
    n_steps = bisect.bisect_right(steps, limit, key=most)
    if n_steps < 1:
        validations = f", two validations {2 * validation:,}" if validation else ""
        raise BudgetError(
            f"--max-flops {limit:,}: one step costs {step:,} FLOPs ({convention}){validations}",
            "Raise the limit, use a smaller --batch-size or --seq-len, or --no-validation.",
        )
    return n_steps, validated(n_steps)
