"""A study as an answer: its trials, its best settings, and what it would cost."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvlora.answers import NOTHING, Answer, Estimate, Number, Price, Shape
from lvlora.flops.ledger import entries as ledger_entries
from lvlora.flops.ledger import entries_of_study
from lvlora.settings.base import Convention
from lvlora.settings.fields import read_fields
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Dimension, Params, with_params
from lvlora.sweep.study import SharedStudy, State, end_of, slot_of, state_of, trial_folder
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Stage(Shape):
    """Trials that are searched together."""

    stage: str
    trials: int
    space: dict[str, Dimension]
    """Setting → its values, or its range."""
    steps: tuple[int, int]
    """[fewest, most] of a trial."""
    flops_at_most: Price


class PlanSummary(Shape):
    """Stages, trials and FLOPs of a sweep before it begins."""

    stages: list[Stage]
    trials: int
    flops_at_most: Price
    convention: Convention
    validation_series: int
    """Scored in each validation of a trial, if there are as many."""
    validations: int | None
    """Upper bound for a trial, beside the one before its first step; null: by --validate-every."""


class SweepPlan(Answer):
    """`lvlora sweep --dry-run --json`"""

    study: str
    plan: PlanSummary
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
    plan: PlanSummary
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
    """Return the study as it is.

    Args:
        in_file: its data are in the file that the settings name, so that a command can name it.
        stopped_by: the limit that ended the search.
    """
    trials = [trial_of(study, trial, settings) for trial in study.by_slot().values()]
    attempt, best, command = study.best(), None, None
    if attempt is not None:
        best = next(trial for trial in trials if trial.trial == slot_of(attempt))
        if in_file:
            # a longer run may well be validated more thoroughly than its trial was
            command = command_of(with_params(shared_settings(settings, None), attempt.params))
    return Sweep(
        study=settings.study,
        finished=not study.unfinished(),
        trials=_counted(trials, study.plan.n_trials),
        best=best,
        flops=_spent(study, settings),
        limit=limit_of(study, settings),
        convention=settings.convention,
        plan=plan_summary(study.plan, settings),
        table=trials,
        command=command,
        files=[],
        seconds_left=_seconds_left(study),
        settings=study.facts.settings,
        stopped_by=stopped_by,
    )


def limit_of(study: SharedStudy, settings: SweepSettings) -> int | None:
    """Return the FLOPs that all trials may spend: by this call, else as the study began with."""
    return study.facts.max_flops if settings.max_flops is None else settings.max_flops


def shared_settings(settings: SweepSettings, plan: SearchPlan | None) -> TrainSettings:
    """Return what all trials share, with the plan's series to score; limits and steps are not."""
    series = settings.validation_series if plan is None else plan.validations.series
    shared = settings.model_dump(include=set(TrainSettings.model_fields))
    own = {"max_flops": None, "max_steps": None, "validation_series": series}
    return TrainSettings(**{**shared, **own})


def trial_of(study: SharedStudy, attempt: FrozenTrial, settings: SweepSettings) -> Trial:
    """Return a trial as an answer."""
    state, slot, end = state_of(attempt), slot_of(attempt), end_of(attempt)
    assert state is not None  # an attempt that was lost takes no slot
    return Trial(
        trial=slot,
        stage=study.plan.stages[study.plan.stage_of(slot)].name,
        params=dict(attempt.params),
        **{name: end.get(name) for name in ("value", "mae", "loss", "steps", "seconds", "reason")},
        flops=end["flops"][settings.convention] if "flops" in end else None,
        state=state,
        folder=str(trial_folder(settings, slot).path),
    )


def outcome_of(study: SharedStudy, settings: SweepSettings, attempt: FrozenTrial) -> str:
    """Return the result of a trial as a sentence."""
    trial, best = trial_of(study, attempt, settings), study.best()
    if trial.value is None:
        return f"Trial {trial.trial} failed: {trial.reason}"
    name = "loss" if trial.mae is None else "MAE"
    is_best = best is not None and slot_of(best) == trial.trial
    note = "  (best so far)" if is_best else ""
    return f"Trial {trial.trial}: validation {name} {trial.value:.4g}{note}"


def plan_summary(plan: SearchPlan, settings: SweepSettings) -> PlanSummary:
    """Return the plan as an answer."""
    stages = [
        Stage(
            stage=stage.name,
            trials=stage.n_trials,
            space=dict(stage.space.dimensions),
            steps=(stage.fewest, stage.largest),
            flops_at_most=stage.together,
        )
        for stage in plan.stages
    ]
    return PlanSummary(
        stages=stages,
        trials=plan.n_trials,
        flops_at_most=plan.at_most,
        convention=settings.convention,
        validation_series=plan.validations.series,
        validations=None if settings.validate_every else plan.validations.times,
    )


def command_of(settings: TrainSettings) -> str:
    """Return the command line that trains with these settings; defaults are left out."""
    defaults = TrainSettings()
    words = ["lvlora", "train"]
    if settings.data is not None:
        words.append(str(settings.data))
    for field in read_fields(TrainSettings):
        value = getattr(settings, field.name)
        if field.argument or field.name in _NOT_IN_COMMAND:
            continue
        if value is not None and value != getattr(defaults, field.name):
            words += field.words(value)
    return shlex.join(words)


def _spent(study: SharedStudy, settings: SweepSettings) -> Price:
    """Return the FLOPs that the ledger charges to the study, with those of lost attempts."""
    rows = entries_of_study(ledger_entries(settings.runs), settings.study, study.facts.first_entry)
    return sum((row.charged for row in rows), NOTHING)


def _counted(trials: Sequence[Trial], planned: int) -> TrialCounts:
    states = Counter(trial.state for trial in trials)
    return TrialCounts(
        planned=planned,
        **{state: states[state] for state in ("complete", "failed", "running")},
        waiting=planned - len(trials),
    )


def _seconds_left(study: SharedStudy) -> float | None:
    """Return the time until all is done, one trial after another, at the pace until now."""
    done = {slot: end_of(t) for slot, t in study.by_slot().items() if "flops" in end_of(t)}
    spent = sum(end["flops"]["executed"] for end in done.values())
    if not spent or not study.unfinished():
        return None
    over = [study.plan.stages[study.plan.stage_of(slot)].at_most.executed for slot in done]
    remaining = max(0, study.plan.at_most.executed - sum(over))
    return float(sum(end["seconds"] for end in done.values()) / spent * remaining)
