"""Attempts: what Optuna's trials of a study are to a sweep, which count, and what they tell.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot: one that was interrupted or killed is marked as failed and its slot is free
again, with the same parameters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lvlora.flops import process_lock
from lvlora.flops.budget import Price
from lvlora.sweep.space import Choice, Dimension, Params, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

State = Literal["waiting", "running", "complete", "pruned", "failed", "lost"]
COUNTS: tuple[State, ...] = ("waiting", "running", "complete", "pruned", "failed")
"""States in which an attempt takes its slot."""
OVER: tuple[State, ...] = ("complete", "pruned", "failed")

STALE_SECONDS = 900.0
"""A process on another machine counts as dead when it has not been heard of for so long."""
_BEGINNING_SECONDS = 60.0

LEAST_TRIALS = 4
"""From fewer nothing can be said."""


@dataclass(frozen=True)
class Attempt:
    """One Optuna trial.

    Attributes:
        start: what was known when it began (holder, price); end: what came out.
        heard, began, ended: seconds since 1970: the last heartbeat, the first and last moment.
        spent: FLOPs that it was charged; None while it runs.
    """

    number: int
    slot: int
    state: State
    params: Params
    value: float | None
    start: dict[str, Any]
    end: dict[str, Any]
    heard: float | None
    began: float | None
    ended: float | None
    spent: Price | None


def attempt_of(trial: FrozenTrial, lost: Mapping[str, Any] | None) -> Attempt | None:
    """What one of Optuna's trials is; None if it gave way or is not lvlora's.

    Args:
        lost: what the study knows of an attempt that was given back.
    """
    attrs = trial.user_attrs
    end = dict(attrs.get("end", {}))
    if "slot" not in attrs or end.get("outcome") == "void":
        return None
    state: State
    if lost is not None:
        state = "lost"
    elif trial.state.name == "FAIL":
        state = "failed" if end.get("outcome") == "failed" else "lost"
    else:
        names: dict[str, State] = {"WAITING": "waiting", "RUNNING": "running", "PRUNED": "pruned"}
        state = names.get(trial.state.name, "complete")
    spent = None
    if lost is not None:
        spent = from_text(lost["spent"])
    elif state != "running" and "spent" in end:
        spent = from_text(end["spent"])
    began, ended = (
        None if moment is None else moment.timestamp()
        for moment in (trial.datetime_start, trial.datetime_complete)
    )
    return Attempt(
        number=trial.number,
        slot=int(attrs["slot"]),
        state=state,
        params=dict(trial.params),
        value=end.get("value"),
        start=dict(attrs.get("start", {})),
        end=end,
        heard=attrs.get("heartbeat"),
        began=began,
        ended=ended,
        spent=spent,
    )


def by_slot(attempts: Iterable[Attempt]) -> dict[int, Attempt]:
    """Slot → the first attempt that takes it."""
    found: dict[int, Attempt] = {}
    for attempt in attempts:
        if attempt.state in COUNTS:
            found.setdefault(attempt.slot, attempt)
    return found


def best_of(attempts: Iterable[Attempt]) -> Attempt | None:
    """The complete attempt with the lowest value; of equals, the first."""
    complete = [a for a in attempts if a.state == "complete" and a.value is not None]
    return min(complete, key=lambda a: (a.value or 0.0, a.slot), default=None)


def front_of(attempts: Iterable[Attempt], convention: str) -> list[Attempt]:
    """The complete attempts that no other beats in both value and FLOPs, the cheapest first."""
    front: list[Attempt] = []
    complete = [a for a in attempts if a.state == "complete" and a.value is not None]
    for attempt in sorted(complete, key=lambda a: (flops_of(a, convention), a.value, a.slot)):
        if not front or (attempt.value or 0.0) < (front[-1].value or 0.0):
            front.append(attempt)
    return front


def flops_of(attempt: Attempt, convention: str) -> int:
    """What the whole trial of a finished attempt spent, earlier attempts at it included."""
    return int((attempt.end.get("flops") or {}).get(convention, 0))


def is_alive(attempt: Attempt) -> bool:
    """Whether somebody still works on a running attempt."""
    held_by = attempt.start.get("holder")
    if held_by is None:  # it was taken a moment ago, or by a process that died at that moment
        return attempt.began is not None and time.time() - attempt.began < _BEGINNING_SECONDS
    if process_lock.is_on_this_machine(held_by):
        return process_lock.is_another_living_process(held_by)
    heard = attempt.heard or attempt.began
    return heard is not None and time.time() - heard < STALE_SECONDS


def as_text(price: Price) -> list[str]:
    """For a storage; FLOPs as text, they pass 2^53."""
    return [str(price.executed), str(price.coursework)]


def from_text(pair: Sequence[str]) -> Price:
    """The inverse of `as_text`."""
    return Price(int(pair[0]), int(pair[1]))


def importances(space: Space, attempts: Iterable[Attempt]) -> dict[str, float]:
    """Setting → its share of the variance of the trials' values (functional ANOVA; Hutter, Hoos &
    Leyton-Brown 2014); empty where there are too few trials, settings or differences.

    Args:
        space: what was searched.
        attempts: of that search; only complete ones count.
    """
    import optuna

    made = [a for a in attempts if a.state == "complete" and a.value is not None]
    names = [n for n in space.dimensions if len({a.params.get(n) for a in made}) > 1]
    if len(made) < LEAST_TRIALS or len(names) < 2 or len({a.value for a in made}) < 2:
        return {}
    distributions = {name: _distribution(space.dimensions[name]) for name in names}
    study = optuna.create_study()
    for attempt in made:
        params = {name: attempt.params[name] for name in names}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=distributions, value=attempt.value
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        step = 1 if dimension.step is None else int(dimension.step)
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=step
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
