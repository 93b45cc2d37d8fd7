"""A study as an answer: its trials, its best settings, and what it would cost."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from lvlora.answers import NOTHING, Answer, Estimate, Number, Price, Shape
from lvlora.flops.ledger import entries as ledger_entries
from lvlora.flops.ledger import entries_of_study
from lvlora.settings.base import Convention
from lvlora.settings.fields import read_fields
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Dimension, Params, Space, merged, with_params
from lvlora.sweep.storage import folder_of, trial_folder
from lvlora.sweep.study import SharedStudy, end_of, slot_of, state_of
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 4
"""Importances of fewer trials mean nothing."""


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
    pruned: int
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
    state: Literal["complete", "pruned", "failed", "running", "waiting"]
    front: bool
    """No other trial beats it in both error and FLOPs."""
    reason: str | None
    """Why it failed."""
    folder: str


class Sweep(Answer):
    """`lvlora sweep --json` and `lvlora sweep --status --json`"""

    study: str
    finished: bool
    trials: TrialCounts
    best: Trial | None
    front: list[int]
    importances: dict[str, float]
    """Setting → share of the differences that come from it."""
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
    plan = plan_summary(study.plan, settings)
    trials = [trial_of(study, trial, settings) for trial in study.by_slot().values()]
    front = _front(trials)
    trials = [t.model_copy(update={"front": True}) if t.trial in front else t for t in trials]
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
        front=front,
        importances=importances(plan, trials),
        flops=_spent(study, settings),
        limit=limit_of(study, settings),
        convention=settings.convention,
        plan=plan,
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
        front=False,
        folder=str(trial_folder(folder_of(settings), slot).path),
    )


def outcome_of(study: SharedStudy, settings: SweepSettings, attempt: FrozenTrial) -> str:
    """Return the result of a trial as a sentence."""
    trial, best = trial_of(study, attempt, settings), study.best()
    if trial.value is None:
        return f"Trial {trial.trial} failed: {trial.reason}"
    early = "ended early, " if trial.state == "pruned" else ""
    name = "loss" if trial.mae is None else "MAE"
    is_best = best is not None and slot_of(best) == trial.trial
    note = "  (best so far)" if is_best else ""
    return f"Trial {trial.trial}: {early}validation {name} {trial.value:.4g}{note}"


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


def _front(trials: Sequence[Trial]) -> list[int]:
    """Return the trials that no other beats in both error and FLOPs, the cheapest first."""
    complete = [(t.flops or 0, t.value, t.trial) for t in trials if t.state == "complete"]
    front: list[int] = []
    least = math.inf
    for _, value, trial in sorted(complete):
        if value is not None and value < least:
            front.append(trial)
            least = value
    return front


def _spent(study: SharedStudy, settings: SweepSettings) -> Price:
    """Return the FLOPs that the ledger charges to the study, with those of lost attempts."""
    rows = entries_of_study(ledger_entries(settings.runs), settings.study, study.facts.first_entry)
    return sum((row.charged for row in rows), NOTHING)


def _counted(trials: Sequence[Trial], planned: int) -> TrialCounts:
    states = Counter(trial.state for trial in trials)
    return TrialCounts(
        planned=planned,
        **{state: states[state] for state in ("complete", "pruned", "failed", "running")},
        waiting=planned - len(trials) + states["waiting"],
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


def importances(plan: PlanSummary, trials: Sequence[Trial]) -> dict[str, float]:
    """Return setting → its share of the variance of the values of the first stage's trials.

    By functional ANOVA (Hutter, Hoos & Leyton-Brown 2014). Empty where there are too few trials,
    settings or differences.
    """
    import optuna

    first = of_first_stage(plan, [trial for trial in trials if trial.state == "complete"])
    names = searched(first)
    few = len(first) < LEAST_TRIALS or len(names) < 2
    if few or len({trial.value for trial in first}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    study = study_of(first, space_of_plan(plan, names))
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def searched(trials: Sequence[Trial]) -> list[str]:
    """Return the settings that every trial has and that take more than one value."""
    names = trials[0].params if trials else {}
    shared = [name for name in names if all(name in trial.params for trial in trials)]
    return [name for name in shared if len({trial.params[name] for trial in trials}) > 1]


def space_of_plan(plan: PlanSummary, names: Sequence[str]) -> Space:
    """Return the dimensions of some settings that a plan searches."""
    dimensions = merged(Space(stage.space) for stage in plan.stages).dimensions
    return Space({name: dimensions[name] for name in names})


def of_first_stage(plan: PlanSummary, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of a plan's first stage."""
    return [trial for trial in trials if trial.stage == plan.stages[0].stage]


def study_of(trials: Sequence[Trial], space: Space) -> Study:
    """Return a study in memory with a complete trial for each of these."""
    import optuna

    study = optuna.create_study()
    for trial in trials:
        study.enqueue_trial({name: trial.params[name] for name in space.dimensions})
        attempt = study.ask()
        space.suggest(attempt)
        study.tell(attempt, trial.value)
    return study
