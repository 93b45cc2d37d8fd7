"""A study as an answer: its trials, its best settings, and what it would cost."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from lvlora.answers import Answer, Estimate, Number, Price, Shape
from lvlora.flops import ledger
from lvlora.flops.rows import charged
from lvlora.settings.base import Convention
from lvlora.settings.fields import read_fields
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Params, with_params
from lvlora.sweep.study import SharedStudy, State, compared, end_of, slot_of, state_of, trial_folder
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class SweepPlan(Answer):
    """`lvlora sweep --dry-run --json`"""

    study: str
    plan: SearchPlan
    estimate: Estimate | None
    """Null where there are no weights to measure with."""


class TrialCounts(Shape):
    """Trials by state."""

    planned: int
    complete: int
    failed: int
    running: int
    waiting: int


class Trial(Shape):
    """One training."""

    trial: int
    stage: str
    params: Params
    value: Number
    mae: Number
    loss: Number
    steps: int | None
    flops: int | None
    """In the convention of the study."""
    seconds: Number
    state: State
    reason: str | None
    """Why it failed."""
    folder: str


class Sweep(Answer):
    """`lvlora sweep --json` and `lvlora sweep --status --json`"""

    study: str
    finished: bool
    trials: TrialCounts
    best: Trial | None
    flops: Price
    limit: int | None
    """--max-flops."""
    convention: Convention
    plan: SearchPlan
    table: list[Trial]
    command: str | None
    """Command line that trains with the best settings."""
    files: list[str]
    seconds_left: Number
    """Remaining time of training, by one process."""
    settings: dict[str, Any]
    """Settings that all trials share."""
    stopped_by: str | None
    """The limit that the next trial would pass, if that ended the search; the same call with a
    larger limit goes on."""


_NOT_IN_COMMAND = ("max_steps", "max_flops", "data", "save_every", "threads")


def record_of(
    study: SharedStudy,
    settings: SweepSettings,
    *,
    in_file: bool = True,
    stopped_by: str | None = None,
) -> Sweep:
    """Return the study as it is; no command can name data that are not ``in_file``."""
    table = [trial_of(study, attempt, settings) for attempt in study.by_slot().values()]
    attempt, best, command = study.best(), None, None
    if attempt is not None:
        best = trial_of(study, attempt, settings)
        if in_file:
            # a longer run may well be validated more thoroughly than its trial was
            command = command_of(with_params(shared_settings(settings, None), attempt.params))
    states = Counter(trial.state for trial in table)
    entries = ledger.entries_of_study(
        ledger.entries(settings.runs), settings.study, study.facts.first_entry
    )
    return Sweep(
        study=settings.study,
        finished=not study.open_slots(),
        trials=TrialCounts(
            planned=study.plan.trials,
            complete=states["complete"],
            failed=states["failed"],
            running=states["running"],
            waiting=study.plan.trials - len(table),
        ),
        best=best,
        flops=charged(entries),  # with those of lost attempts
        limit=limit_of(study, settings),
        convention=settings.convention,
        plan=study.plan,
        table=table,
        command=command,
        files=[],
        seconds_left=_seconds_left(study),
        settings=compared(study.facts.settings),
        stopped_by=stopped_by,
    )


def limit_of(study: SharedStudy, settings: SweepSettings) -> int | None:
    """Return the FLOPs that all trials may spend: by this call, else as the study began with."""
    return study.original.max_flops if settings.max_flops is None else settings.max_flops


def shared_settings(settings: SweepSettings, plan: SearchPlan | None) -> TrainSettings:
    """Return what all trials share, with the plan's series to score; limits and steps are not."""
    series = settings.validation_series if plan is None else plan.validation_series
    shared = settings.model_dump(include=set(TrainSettings.model_fields))
    own = {"max_flops": None, "max_steps": None, "validation_series": series}
    return TrainSettings(**{**shared, **own})


def trial_of(study: SharedStudy, attempt: FrozenTrial, settings: SweepSettings) -> Trial:
    """Return a trial as an answer."""
    state, slot, end = state_of(attempt), slot_of(attempt), end_of(attempt)
    assert state is not None  # an attempt that was lost takes no slot
    return Trial(
        trial=slot,
        stage=study.plan.stages[study.plan.stage_of(slot)].stage,
        params=dict(attempt.params),
        **{name: end.get(name) for name in ("value", "mae", "loss", "steps", "seconds", "reason")},
        flops=end["flops"][settings.convention] if "flops" in end else None,
        state=state,
        folder=str(trial_folder(settings, slot).path),
    )


def command_of(settings: TrainSettings) -> str:
    """Return the command line that trains with these settings; defaults are left out."""
    defaults = TrainSettings()
    words = ["lvlora", "train", *([] if settings.data is None else [str(settings.data)])]
    for field in read_fields(TrainSettings):
        value = getattr(settings, field.name)
        if field.argument or field.name in _NOT_IN_COMMAND:
            continue
        if value is not None and value != getattr(defaults, field.name):
            words += field.words(value)
    return shlex.join(words)


def _seconds_left(study: SharedStudy) -> float | None:
    """Return the time until all is done, one trial after another, at the pace until now."""
    done = {slot: end_of(t) for slot, t in study.by_slot().items() if "flops" in end_of(t)}
    spent = sum(end["flops"]["executed"] for end in done.values())
    if not spent or not study.open_slots():
        return None
    over = [study.plan.stages[study.plan.stage_of(slot)].trial_at_most.executed for slot in done]
    remaining = max(0, study.plan.flops_at_most.executed - sum(over))
    return float(sum(end["seconds"] for end in done.values()) / spent * remaining)
