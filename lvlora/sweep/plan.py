"""The plan of a sweep: its stages, and what each may cost at most, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from lvlora.answers import NOTHING, Price, Shape
from lvlora.errors import BudgetError, SettingsError
from lvlora.settings.base import Convention
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import PRICED, Params, Space, merged, with_params
from lvlora.train.plan import DEFAULT_STEPS, USUAL, Cost, Validations, validation_choices
from lvlora.train.settings import TrainSettings

SAMPLED_TRIALS = 12
_FINAL_TIMES = 4

SPARE_PERCENT = 5
"""Part of a limit that pays for the repeats of interrupted trials."""

_VALIDATED = 0.25
"""Share of a trial's FLOPs for its validation at most, where validating less will do. A run alone
gives a twentieth; trials are compared by nothing else."""


class Stage(Shape):
    """Trials that are compared with each other, and what each of them gets."""

    stage: str
    trials: int
    space: Space
    """Setting → its values, or its range."""
    points: tuple[Params, ...] | None = None
    """Settings of each trial; null where they are sampled."""
    percent: int = 100
    """Share of the limit for all its trials together."""
    times: int = 1
    """Its steps are this many times those of a search."""
    follows: bool = False
    """It starts from the best of the stage before."""
    trial_steps: int | None = None
    """Optimiser steps of a trial; null: as many as ``caps`` buy."""
    caps: dict[str, int] = Field(default_factory=dict)
    """Convention → FLOPs that a trial may cost."""
    steps: tuple[int, int] = (0, 0)
    """[fewest, most] of a trial."""
    trial_at_most: Price = NOTHING
    """FLOPs of the dearest trial."""
    flops_at_most: Price = NOTHING
    """FLOPs of all trials together."""

    @property
    def subject(self) -> tuple[object, ...]:
        """The searched settings, whatever they may cost."""
        return self.stage, self.space, self.trials, self.points

    def steps_of(self, settings: TrainSettings, cost: Cost) -> int:
        """Return the steps of a trial with these settings."""
        if self.trial_steps is not None:
            return self.trial_steps
        return min(cost.steps_within(settings, cap, c) for c, cap in self.caps.items())


class SearchPlan(Shape):
    """Stages, trials and FLOPs of a sweep before it begins; the FLOPs are without repeats."""

    stages: Annotated[list[Stage], Field(min_length=1)]
    trials: int
    flops_at_most: Price
    convention: Convention
    validation_series: int
    """Scored in each validation of a trial, if there are as many."""
    validations: int | None
    """Upper bound for a trial, beside the one before its first step; null: by --validate-every."""

    def stage_of(self, slot: int) -> int:
        """Return the stage of the ``slot``-th trial of the whole sweep."""
        return next(i for i in range(len(self.stages)) if slot in self.slots(i))

    def slots(self, index: int) -> range:
        """Return the trials of a stage."""
        first = sum(stage.trials for stage in self.stages[:index])
        return range(first, first + self.stages[index].trials)


QUICK = Space({"learning_rate": (3e-4, 1e-3, 3e-3), "rank": (2, 8)})
COURSEWORK = Space({"learning_rate": (1e-5, 5e-5, 1e-4), "rank": (2, 4, 8)})
COURSEWORK_CONTEXT = Space({"seq_len": (128, 512, 768)})


def stages_of(settings: SweepSettings, space: Space | None) -> list[Stage]:
    """Return the stages of these settings, without prices; ``space`` is that of ``--space``."""
    if space is None and settings.preset == "coursework":
        if settings.sampler not in ("auto", "grid") or settings.trials is not None:
            raise SettingsError(
                "--preset coursework is a fixed grid: --sampler and --trials are not for it",
                "Write its values to a file and give that with --space.",
            )
        return [
            _grid("search", COURSEWORK, percent=50),
            _grid("context", COURSEWORK_CONTEXT, percent=20, follows=True),
            _grid("final", Space({}), percent=30, follows=True, times=_FINAL_TIMES),
        ]
    space = space or QUICK
    if sampler_of(settings, space) != "grid":
        return [Stage(stage="search", trials=settings.trials or SAMPLED_TRIALS, space=space)]
    points = space.points()
    if settings.trials is not None and settings.trials < len(points):
        order = np.random.default_rng(settings.seed).permutation(len(points))
        points = [points[i] for i in sorted(order[: settings.trials])]
    return [_grid("search", space, points=tuple(points), trials=len(points))]


def _grid(name: str, space: Space, **changes: Any) -> Stage:
    points = tuple(space.points())
    usual = {"trials": len(points), "points": points, "percent": 100, "times": 1, "follows": False}
    return Stage(**{"stage": name, "space": space, **usual, **changes})


def sampler_of(settings: SweepSettings, space: Space) -> str:
    """Return the search method: the setting, or what suits the space."""
    if settings.sampler != "auto":
        return settings.sampler
    return "grid" if space.is_grid else "tpe"


def make_plan(
    stages: Sequence[Stage],
    settings: SweepSettings,
    base: TrainSettings,
    limits: Mapping[str, int],
    price: Callable[[TrainSettings], Cost],
) -> SearchPlan:
    """Give every stage its share, or refuse.

    Steps follow from the limits where the settings name a limit and no steps: every trial of a
    stage then gets the same FLOPs, so a shorter context means more steps. How thoroughly trials are
    validated follows from them, too, unless the settings say so.

    Args:
        base: what all trials share, without a number of series to validate unless one is given.
        limits: convention → FLOPs that may be spent.
        price: what a step and a validation cost with some settings.
    """
    known: dict[tuple[object, ...], Cost] = {}

    def cost_of(trial: TrainSettings) -> Cost:
        key = tuple(getattr(trial, name) for name in (*PRICED, "validation_series"))
        if key not in known:
            known[key] = price(trial)
        return known[key]

    derived = settings.max_steps is None and (
        settings.max_flops is not None or settings.budget_flops is not None
    )
    how = Validations(base.validation_series or USUAL.series, USUAL.times)
    if derived:
        choices = validation_choices(base.validation_series, often=settings.patience > 0)
        usual = base.model_copy(update={"validation_series": choices[0].series})
        trials = [with_params(usual, point) for point in points_to_price(stages[:1])]
        how = _affordable(choices, trials, _caps(stages[0], limits), cost_of)
    base = base.model_copy(update={"validation_series": how.series})
    planned = []
    for index, stage in enumerate(stages):
        for point in [*(stage.points or ()), *stage.space.corners()]:
            with_params(base, point)  # says what does not go together, of all points
        steps = None if derived else stage.times * (settings.max_steps or DEFAULT_STEPS)
        caps = _caps(stage, limits) if derived else {}
        trials = [with_params(base, point) for point in points_to_price(stages[: index + 1])]
        costs = [(trial, replace(cost_of(trial), times=how.times)) for trial in trials]
        planned.append(
            _priced(stage.model_copy(update={"trial_steps": steps, "caps": caps}), costs)
        )
    plan = SearchPlan(
        stages=planned,
        trials=sum(stage.trials for stage in planned),
        flops_at_most=sum((stage.flops_at_most for stage in planned), NOTHING),
        convention=settings.convention,
        validation_series=how.series,
        validations=None if settings.validate_every else how.times,
    )
    for convention, limit in limits.items():
        if plan.flops_at_most.of(convention) > limit:
            raise BudgetError(
                f"the sweep may cost {plan.flops_at_most.of(convention):,} FLOPs ({convention}), "
                f"{limit:,} may be spent",
                "Leave out --max-steps to get as many steps as fit, or name that limit with "
                "--max-flops; fewer --trials and --validation-series cost less, too.",
            )
    return plan


def _caps(stage: Stage, limits: Mapping[str, int]) -> dict[str, int]:
    """Return convention → FLOPs that each trial of a stage may cost."""
    shared = {c: limit * (100 - SPARE_PERCENT) // 100 for c, limit in limits.items()}
    return {c: s * stage.percent // (100 * stage.trials) for c, s in shared.items()}


def _affordable(
    choices: Sequence[Validations],
    trials: Sequence[TrainSettings],
    caps: Mapping[str, int],
    cost_of: Callable[[TrainSettings], Cost],
) -> Validations:
    """Return the first choice that leaves most FLOPs of every trial to its training, or the last.

    The ``trials``, of the first stage, have the series of the first choice.
    """

    def affordable(how: Validations, trial: TrainSettings, convention: str) -> bool:
        cost, cap = cost_of(trial).validated(how), caps[convention]
        n_steps = cost.steps_within(trial, cap, convention)
        validated = cost.of_run(trial, n_steps) - n_steps * cost.per_step
        return n_steps > 0 and validated.of(convention) <= _VALIDATED * cap

    fitting = (h for h in choices if all(affordable(h, t, c) for t in trials for c in caps))
    return next(fitting, choices[-1])


def points_to_price(stages: Sequence[Stage]) -> list[Params]:
    """Return settings among which the dearest trial of the last stage is."""
    last = stages[-1]
    if _is_exact(last):
        return list(last.points or ())
    return merged([s.space for s in stages] if last.follows else [last.space]).corners()


def _is_exact(stage: Stage) -> bool:
    """Return whether the settings of all its trials are known beforehand."""
    return stage.points is not None and not stage.follows


def _priced(stage: Stage, trials: Sequence[tuple[TrainSettings, Cost]]) -> Stage:
    """Return a stage with its prices, which its dearest trial decides."""
    counts, prices = [], []
    for settings, cost in trials:
        n_steps = stage.steps_of(settings, cost)
        if n_steps < 1:
            convention, cap = min(stage.caps.items(), key=lambda item: item[1])
            needed = cost.of_run(settings, 1).of(convention)
            raise BudgetError(
                f"stage {stage.stage}: each of its trials gets {cap:,} FLOPs ({convention}); one "
                f"step with its validations costs {needed:,}",
                "Raise the limit, validate fewer series (--validation-series), or use fewer "
                "--trials, a smaller --batch-size or --seq-len.",
            )
        counts.append(n_steps)
        prices.append(cost.of_run(settings, n_steps))
    at_most, together = reduce(or_, prices), sum(prices, NOTHING)
    if not _is_exact(stage):  # what lies between the corners may fill its caps better than they do
        at_most = at_most | Price(**{**NOTHING.to_dict(), **stage.caps})
        together = stage.trials * at_most
    return stage.model_copy(
        update={
            "steps": (min(counts), max(counts)),
            "trial_at_most": at_most,
            "flops_at_most": together,
        }
    )
