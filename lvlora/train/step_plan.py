"""How many steps a run makes, and after which of them it validates.

Knows: prices of a step and of a validation, limits. Does not know: models, what was spent before.
"""

from __future__ import annotations

import bisect

from lvlora.errors import BudgetError
from lvlora.flops.budget import Price
from lvlora.settings.training import LearningSettings

DEFAULT_STEPS = 200
_VALIDATIONS = 4
"""Beside the one before the first step, unless the settings say how often."""


def steps_between_validations(settings: LearningSettings, n_steps: int) -> int:
    """As the settings say, or so that there are four in a run of ``n_steps``."""
    return settings.validate_every or max(1, -(-n_steps // _VALIDATIONS))


def plan_steps(
    settings: LearningSettings, per_step: Price, per_validation: Price
) -> tuple[int, frozenset[int]]:
    """How many steps, and after which of them to validate (beside once before the first).

    ``max_flops`` without ``max_steps`` buys as many steps as fit beside the validations.

    Raises:
        BudgetError: not one step fits into ``max_flops``, or not as many as ``max_steps``.
    """
    convention, limit = settings.convention, settings.max_flops
    step, validation = per_step.of(convention), per_validation.of(convention)

    def validated(n: int) -> frozenset[int]:
        every = steps_between_validations(settings, n)
        return frozenset({*range(every, n + 1, every), n}) if validation else frozenset()

    def most(n: int) -> int:
        """Rises with n, as the true price of a few steps more need not."""
        every = settings.validate_every
        times = -(-n // every) if every else min(n, _VALIDATIONS)
        return n * step + (1 + times) * validation

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
    n_steps = bisect.bisect_right(range(1, limit // step + 1), limit, key=most)
    if n_steps < 1:
        validations = f", two validations {2 * validation:,}" if validation else ""
        raise BudgetError(
            f"--max-flops {limit:,}: one step costs {step:,} FLOPs ({convention}){validations}",
            "Raise the limit, use a smaller --batch-size or --seq-len, or --no-validation.",
        )
    return n_steps, validated(n_steps)
