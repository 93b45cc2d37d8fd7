"""What a sweep will do and what it will cost at most, before anything is spent.

Knows: stages, shares of a limit, whole-number arithmetic. Does not know: studies, models (it is
told what a step costs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.budget import NOTHING, Price
from lvlora.settings import SweepSettings, TrainSettings
from lvlora.train.step_plan import DEFAULT_STEPS, steps_between_validations
from lvlora.train.sweep_space import PRICED, Choice, Params, Space, merged, with_params

SPARE_PERCENT = 5
"""Of a limit: what an interrupted trial repeats must come from somewhere."""

SAMPLED_TRIALS = 12
_FINAL_TIMES = 4


@dataclass(frozen=True)
class Stage:
    """Trials that are compared with each other.

    Attributes:
        space: what is searched here.
        n_trials: how many trials; points: the settings of each, None where they are sampled.
        percent: of the limit, for all its trials together.
        times: its steps are this many times those of a search.
        follows: it starts from the best of the stage before.
    """

    name: str
    space: Space
    n_trials: int
    points: tuple[Params, ...] | None
    percent: int
    times: int = 1
    follows: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        points = None if self.points is None else [dict(p) for p in self.points]
        return {
            "name": self.name, "space": self.space.to_dict(), "n_trials": self.n_trials,
            "points": points, "percent": self.percent, "times": self.times,
            "follows": self.follows,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Stage:
        """The inverse of `to_dict`."""
        points = None if facts["points"] is None else tuple(facts["points"])
        return cls(**{**facts, "space": Space.from_dict(facts["space"]), "points": points})


@dataclass(frozen=True)
class Cost:
    """The most that a step and a validation cost."""

    per_step: Price
    per_validation: Price

    def of_run(self, settings: TrainSettings, n_steps: int) -> Price:
        """The most that a run costs, the validation before its first step included."""
        # the last step is validated, too, wherever it falls
        validations = 1 + -(-n_steps // steps_between_validations(settings, n_steps))
        return n_steps * self.per_step + validations * self.per_validation

    def steps_within(self, settings: TrainSettings, cap: int, convention: str) -> int:
        """The most steps whose run costs no more than ``cap``; 0 where not even one fits."""
        low, high = 0, cap // self.per_step.of(convention)
        while low < high:
            middle = (low + high + 1) // 2
            if self.of_run(settings, middle).of(convention) <= cap:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True)
class Allotment:
    """What each trial of a stage gets.

    Attributes:
        steps: its optimiser steps; None: as many as ``caps`` buy.
        caps: convention → FLOPs that a trial may cost.
        most: the most that one trial costs; together: all of them.
        fewest, largest: steps of the dearest and the cheapest trial.
    """

    steps: int | None
    caps: dict[str, int]
    most: Price
    together: Price
    fewest: int
    largest: int

    def steps_of(self, settings: TrainSettings, cost: Cost) -> int:
        """Steps of a trial with these settings."""
        if self.steps is not None:
            return self.steps
        return min(cost.steps_within(settings, cap, c) for c, cap in self.caps.items())

    def to_dict(self) -> dict[str, Any]:
        """As JSON; FLOPs as text, they pass 2^53."""
        return {
            "steps": self.steps,
            "caps": {c: str(cap) for c, cap in self.caps.items()},
            "most": [str(self.most.executed), str(self.most.coursework)],
            "together": [str(self.together.executed), str(self.together.coursework)],
            "fewest": self.fewest,
            "largest": self.largest,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Allotment:
        """The inverse of `to_dict`."""
        return cls(
            facts["steps"],
            {c: int(cap) for c, cap in facts["caps"].items()},
            Price(*map(int, facts["most"])),
            Price(*map(int, facts["together"])),
            facts["fewest"],
            facts["largest"],
        )


@dataclass(frozen=True)
class Plan:
    """The stages in their order, and what each gets."""

    stages: tuple[Stage, ...]
    allotments: tuple[Allotment, ...]

    @property
    def most(self) -> Price:
        """The most that the whole sweep costs, without repeats."""
        return sum((a.together for a in self.allotments), NOTHING)

    @property
    def n_trials(self) -> int:
        """Trials of all stages."""
        return sum(stage.n_trials for stage in self.stages)

    def stage_of(self, slot: int) -> int:
        """The stage of the ``slot``-th trial of the whole sweep."""
        for index, stage in enumerate(self.stages):
            if slot < stage.n_trials:
                return index
            slot -= stage.n_trials
        raise IndexError(slot)

    def slots(self, index: int) -> range:
        """The trials of a stage."""
        first = sum(stage.n_trials for stage in self.stages[:index])
        return range(first, first + self.stages[index].n_trials)


QUICK = Space({"learning_rate": Choice((3e-4, 1e-3, 3e-3)), "rank": Choice((2, 8))})
COURSEWORK = Space({"learning_rate": Choice((1e-5, 5e-5, 1e-4)), "rank": Choice((2, 4, 8))})
COURSEWORK_CONTEXT = Space({"seq_len": Choice((128, 512, 768))})


def stages_of(settings: SweepSettings, own: Space | None) -> tuple[Stage, ...]:
    """The stages that the settings ask for; ``own`` is the space of ``--space``.

    Raises:
        SettingsError: the sampler does not suit the space, or the pruner the objectives.
    """
    if settings.pareto and settings.pruner != "none":
        raise SettingsError(
            "--pruner and --pareto: a trial that ends early has no place on the front",
            "Give one of them; the front already shows what little FLOPs buy.",
        )
    if own is None and settings.preset == "coursework":
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
    space = QUICK if own is None else own
    if sampler_of(settings, space) != "grid":
        n_trials = settings.trials or SAMPLED_TRIALS
        return (Stage("search", space, n_trials, None, 100),)
    points = space.points()
    if settings.trials is not None and settings.trials < len(points):
        order = np.random.default_rng(settings.seed).permutation(len(points))
        points = [points[i] for i in sorted(order[: settings.trials])]
    return (Stage("search", space, len(points), tuple(points), 100),)


def sampler_of(settings: SweepSettings, space: Space) -> str:
    """The search method: what was asked for, or what suits the space."""
    if settings.sampler != "auto":
        return settings.sampler
    return "grid" if space.is_grid else "tpe"


def make_plan(
    stages: Sequence[Stage],
    settings: SweepSettings,
    base: TrainSettings,
    limits: Mapping[str, int],
    price: Callable[[TrainSettings], Cost],
) -> Plan:
    """Give every stage its share, or refuse.

    Steps follow from the limits where the settings name a limit and no steps: every trial of a
    stage then gets the same FLOPs, so a shorter context means more steps.

    Args:
        limits: convention → FLOPs that may be spent.
        price: what a step and a validation cost with some settings.

    Raises:
        BudgetError: the whole does not fit, or a trial would not get a single step.
        SettingsError: values of the space do not go together.
    """
    known: dict[tuple[object, ...], Cost] = {}

    def cost_of(trial: TrainSettings) -> Cost:
        key = tuple(getattr(trial, name) for name in PRICED)
        if key not in known:
            known[key] = price(trial)
        return known[key]

    derived = settings.max_steps is None and not (
        settings.max_flops is None and settings.budget is None
    )
    allotments = []
    for index, stage in enumerate(stages):
        caps: dict[str, int] = {}
        steps = None if derived else stage.times * (settings.max_steps or DEFAULT_STEPS)
        if derived:
            shared = {c: limit * (100 - SPARE_PERCENT) // 100 for c, limit in limits.items()}
            caps = {c: s * stage.percent // (100 * stage.n_trials) for c, s in shared.items()}
        points, exact = _points_to_price(stages[: index + 1])
        for point in [*(stage.points or ()), *stage.space.corners()]:
            with_params(base, point)  # says what does not go together, of all points
        allotments.append(
            _allot(stage, base, [with_params(base, p) for p in points], exact, steps, caps, cost_of)
        )
    plan = Plan(tuple(stages), tuple(allotments))
    for convention, limit in limits.items():
        if plan.most.of(convention) > limit:
            raise BudgetError(
                f"the sweep may cost {plan.most.of(convention):,} FLOPs ({convention}), "
                f"{limit:,} may be spent",
                "Leave out --max-steps to get as many steps as fit, or name that limit with "
                "--max-flops; fewer --trials cost less, too.",
            )
    return plan


def _points_to_price(stages: Sequence[Stage]) -> tuple[list[Params], bool]:
    """Settings among which the dearest trial of the last stage is; whether they are its trials."""
    last = stages[-1]
    if last.points is not None and not last.follows:
        return list(last.points), True
    before = [stage.space for stage in stages] if last.follows else [last.space]
    return merged(before).corners(), False


def _allot(
    stage: Stage,
    base: TrainSettings,
    trials: Sequence[TrainSettings],
    exact: bool,
    steps: int | None,
    caps: dict[str, int],
    cost_of: Callable[[TrainSettings], Cost],
) -> Allotment:
    counts, prices = [], []
    draft = Allotment(steps, caps, NOTHING, NOTHING, 0, 0)
    for trial in trials:
        cost = cost_of(trial)
        n_steps = draft.steps_of(trial, cost)
        if n_steps < 1:
            convention, cap = min(caps.items(), key=lambda item: item[1])
            needed = cost.of_run(trial, 1).of(convention)
            raise BudgetError(
                f"stage {stage.name}: each of its trials gets {cap:,} FLOPs ({convention}); one "
                f"step with its validations costs {needed:,}",
                "Raise the limit, validate fewer series (--validation-series), or use fewer "
                "--trials, a smaller --batch-size or --seq-len.",
            )
        counts.append(n_steps)
        prices.append(cost.of_run(trial, n_steps))
    most = NOTHING
    for one in prices:
        most = most | one
    together = sum(prices, NOTHING) if exact else stage.n_trials * most
    return Allotment(steps, caps, most, together, min(counts), max(counts))
