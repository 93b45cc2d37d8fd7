"""The plan of a sweep: its stages, and what each may cost at most, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, SettingsError
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import PRICED, Params, Space, merged, with_params
from lvlora.train.schedule import DEFAULT_STEPS, USUAL, Cost, Validations, validation_choices
from lvlora.train.settings import TrainSettings

SAMPLED_TRIALS = 12
_FINAL_TIMES = 4

SPARE_PERCENT = 5
"""Part of a limit that pays for the repeats of interrupted trials."""

_VALIDATED = 0.25
"""Share of a trial's FLOPs for its validation at most, where validating less will do. A run alone
gives a twentieth; trials are compared by nothing else."""


@dataclass(frozen=True)
class Stage:
    """Trials that are compared with each other, and what each of them gets.

    Attributes:
        space: the settings that are searched here.
        n_trials: number of trials; points: the settings of each, None where they are sampled.
        percent: of the limit, for all its trials together.
        times: its steps are this many times those of a search.
        follows: it starts from the best of the stage before.
        steps: optimiser steps of a trial; None: as many as ``caps`` buy.
        caps: convention → FLOPs that a trial may cost.
        validations: of each trial, where the settings do not say.
        at_most: the price bound of one trial; together: of all of them.
        fewest, largest: steps of the dearest and the cheapest trial.
    """

    name: str
    space: Space
    n_trials: int
    points: tuple[Params, ...] | None
    percent: int
    times: int = 1
    follows: bool = False
    steps: int | None = None
    caps: dict[str, int] = field(default_factory=dict)
    validations: Validations = USUAL
    at_most: Price = NOTHING
    together: Price = NOTHING
    fewest: int = 0
    largest: int = 0

    @property
    def subject(self) -> tuple[object, ...]:
        """The searched settings, whatever they may cost."""
        return self.name, self.space, self.n_trials, self.points

    def steps_of(self, settings: TrainSettings, cost: Cost) -> int:
        """Return the steps of a trial with these settings."""
        if self.steps is not None:
            return self.steps
        cost = replace(cost, times=self.validations.times)
        return min(cost.steps_within(settings, cap, c) for c, cap in self.caps.items())


QUICK = Space({"learning_rate": (3e-4, 1e-3, 3e-3), "rank": (2, 8)})
COURSEWORK = Space({"learning_rate": (1e-5, 5e-5, 1e-4), "rank": (2, 4, 8)})
COURSEWORK_CONTEXT = Space({"seq_len": (128, 512, 768)})


@dataclass(frozen=True)
class SearchPlan:
    """The stages in their order."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @property
    def at_most(self) -> Price:
        """The most that the whole sweep costs, without repeats."""
        return sum((stage.together for stage in self.stages), NOTHING)

    @property
    def validations(self) -> Validations:
        """Those of every trial, so that trials can be compared."""
        return self.stages[0].validations

    @property
    def n_trials(self) -> int:
        """Trials of all stages."""
        return sum(stage.n_trials for stage in self.stages)

    def stage_of(self, slot: int) -> int:
        """Return the stage of the ``slot``-th trial of the whole sweep."""
        for index in range(len(self.stages)):
            if slot in self.slots(index):
                return index
        raise IndexError(slot)

    def slots(self, index: int) -> range:
        """Return the trials of a stage."""
        first = sum(stage.n_trials for stage in self.stages[:index])
        return range(first, first + self.stages[index].n_trials)


def stages_of(settings: SweepSettings, space: Space | None) -> tuple[Stage, ...]:
    """Return the stages of these settings; ``space`` is that of ``--space``.

    Raises:
        SettingsError: the sampler does not suit the space.
    """
    if space is None and settings.preset == "coursework":
        if settings.sampler not in ("auto", "grid") or settings.trials is not None:
            raise SettingsError(
                "--preset coursework is a fixed grid: --sampler and --trials are not for it",
                "Write its values to a file and give that with --space.",
            )
        grid, contexts = COURSEWORK.points(), COURSEWORK_CONTEXT.points()
        return (
            Stage("search", COURSEWORK, len(grid), tuple(grid), 50),
            Stage("context", COURSEWORK_CONTEXT, len(contexts), tuple(contexts), 20, follows=True),
            Stage("final", Space({}), 1, ({},), 30, _FINAL_TIMES, follows=True),
        )
    space = space or QUICK
    if sampler_of(settings, space) != "grid":
        n_trials = settings.trials or SAMPLED_TRIALS
        return (Stage("search", space, n_trials, None, 100),)
    points = space.points()
    if settings.trials is not None and settings.trials < len(points):
        order = np.random.default_rng(settings.seed).permutation(len(points))
        points = [points[i] for i in sorted(order[: settings.trials])]
    return (Stage("search", space, len(points), tuple(points), 100),)


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
    stage then gets the same FLOPs, so a shorter context means more steps.

    How thoroughly trials are validated follows from them, too, unless the settings say so.

    Args:
        base: what all trials share, without a number of series to validate unless one is given.
        limits: convention → FLOPs that may be spent.
        price: what a step and a validation cost with some settings.

    Raises:
        BudgetError: the whole does not fit, or a trial would not get a single step.
        SettingsError: values of the space do not go together.
    """
    known: dict[tuple[object, ...], Cost] = {}

    def cost_of(trial: TrainSettings) -> Cost:
        key = tuple(getattr(trial, name) for name in (*PRICED, "validation_series"))
        if key not in known:
            known[key] = price(trial)
        return known[key]

    derived = settings.max_steps is None and not (
        settings.max_flops is None and settings.budget_flops is None
    )
    how = Validations(base.validation_series or USUAL.series, USUAL.times)
    if derived:
        choices = validation_choices(base.validation_series, often=settings.patience > 0)
        usual = base.model_copy(update={"validation_series": choices[0].series})
        trials = [with_params(usual, p) for p in points_to_price(stages[:1])[0]]
        how = _affordable(choices, trials, _caps(stages[0], limits), cost_of)
    base = base.model_copy(update={"validation_series": how.series})
    planned = []
    for index, stage in enumerate(stages):
        for point in [*(stage.points or ()), *stage.space.corners()]:
            with_params(base, point)  # says what does not go together, of all points
        points, exact = points_to_price(stages[: index + 1])
        draft = replace(
            stage,
            steps=None if derived else stage.times * (settings.max_steps or DEFAULT_STEPS),
            caps=_caps(stage, limits) if derived else {},
            validations=how,
        )
        trials = [with_params(base, point) for point in points]
        planned.append(_priced(draft, trials, exact, cost_of))
    plan = SearchPlan(tuple(planned))
    for convention, limit in limits.items():
        if plan.at_most.of(convention) > limit:
            raise BudgetError(
                f"the sweep may cost {plan.at_most.of(convention):,} FLOPs ({convention}), "
                f"{limit:,} may be spent",
                "Leave out --max-steps to get as many steps as fit, or name that limit with "
                "--max-flops; fewer --trials and --validation-series cost less, too.",
            )
    return plan


def _caps(stage: Stage, limits: Mapping[str, int]) -> dict[str, int]:
    """Return convention → FLOPs that each trial of a stage may cost."""
    shared = {c: limit * (100 - SPARE_PERCENT) // 100 for c, limit in limits.items()}
    return {c: s * stage.percent // (100 * stage.n_trials) for c, s in shared.items()}


def _affordable(
    choices: Sequence[Validations],
    trials: Sequence[TrainSettings],
    caps: Mapping[str, int],
    cost_of: Callable[[TrainSettings], Cost],
) -> Validations:
    """Return the first choice that leaves most FLOPs of every trial to its training, or the last.

    Args:
        trials: of the first stage, with the series of the first choice.
    """

    def affordable(how: Validations, trial: TrainSettings, convention: str) -> bool:
        cost, cap = cost_of(trial).validated(how), caps[convention]
        n_steps = cost.steps_within(trial, cap, convention)
        validated = cost.of_run(trial, n_steps) - n_steps * cost.per_step
        return n_steps > 0 and validated.of(convention) <= _VALIDATED * cap

    fitting = (h for h in choices if all(affordable(h, t, c) for t in trials for c in caps))
    return next(fitting, choices[-1])


def points_to_price(stages: Sequence[Stage]) -> tuple[list[Params], bool]:
    """Return settings among which the dearest trial of the last stage is.

    Returns:
        the settings, and whether they are its trials themselves.
    """
    last = stages[-1]
    if last.points is not None and not last.follows:
        return list(last.points), True
    before = [stage.space for stage in stages] if last.follows else [last.space]
    return merged(before).corners(), False


def _priced(
    stage: Stage,
    trials: Sequence[TrainSettings],
    exact: bool,
    cost_of: Callable[[TrainSettings], Cost],
) -> Stage:
    """Return a stage with its prices.

    Args:
        trials: among which its dearest is; exact: they are its trials themselves.
    """
    counts, prices = [], []
    for trial in trials:
        cost = replace(cost_of(trial), times=stage.validations.times)
        n_steps = stage.steps_of(trial, cost)
        if n_steps < 1:
            convention, cap = min(stage.caps.items(), key=lambda item: item[1])
            needed = cost.of_run(trial, 1).of(convention)
            raise BudgetError(
                f"stage {stage.name}: each of its trials gets {cap:,} FLOPs ({convention}); one "
                f"step with its validations costs {needed:,}",
                "Raise the limit, validate fewer series (--validation-series), or use fewer "
                "--trials, a smaller --batch-size or --seq-len.",
            )
        counts.append(n_steps)
        prices.append(cost.of_run(trial, n_steps))
    at_most = NOTHING
    for one in prices:
        at_most = at_most | one
    if not exact:  # what lies between the corners may fill its caps better than they do
        at_most = at_most | Price(**{**NOTHING.to_dict(), **stage.caps})
    together = sum(prices, NOTHING) if exact else stage.n_trials * at_most
    return replace(
        stage, at_most=at_most, together=together, fewest=min(counts), largest=max(counts)
    )
