"""A study as an answer: its trials, its best settings, and what it would cost."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lvlora.answers import NOTHING, Answer, Estimate, Number, Price, Shape
from lvlora.flops.ledger import FILE_NAME, Ledger, entries_of_study
from lvlora.settings.base import Convention
from lvlora.settings.fields import read_fields
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Dimension, Space, merged, with_params
from lvlora.sweep.storage import folder_of, trial_folder
from lvlora.sweep.study import OVER, SharedStudy, end_of, slot_of, state_of
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


Params = dict[str, bool | int | float | str | None]


class Best(Shape):
    """The best trial."""

    params: Params
    value: Number
    """The minimum of the search."""
    trial: int
    mae: Number
    loss: Number
    folder: str


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
    best: Best | None
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
    best = study.best()
    front = [slot_of(trial) for trial in study.front(settings.convention)]
    trials = [trial_of(study, trial, settings, front) for trial in study.records()]
    command = None
    if best is not None and in_file:
        # a longer run may well be validated more thoroughly than its trial was
        command = command_of(with_params(shared_settings(settings, None), best.params))
    best_trial = next((t for t in trials if best and t.trial == slot_of(best)), None)
    plan = plan_summary(study.plan, settings)
    return Sweep(
        study=settings.study,
        finished=not study.unfinished(),
        trials=_counted(trials, study.plan.n_trials),
        best=None
        if best_trial is None
        else Best(**best_trial.model_dump(include=set(Best.model_fields))),
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
    shared = settings.model_dump(include=set(TrainSettings.model_fields))
    series = settings.validation_series if plan is None else plan.validations.series
    return TrainSettings(
        **{**shared, "max_flops": None, "max_steps": None, "validation_series": series}
    )


def trial_of(
    study: SharedStudy, trial: FrozenTrial, settings: SweepSettings, front: Collection[int] = ()
) -> Trial:
    """Return a trial as an answer.

    Args:
        front: the trials that no other beats in both error and FLOPs.
    """
    state, slot = state_of(trial), slot_of(trial)
    assert state is not None  # an attempt that was lost takes no slot
    end = end_of(trial) if state in OVER else {}
    return Trial(
        trial=slot,
        stage=study.plan.stages[study.plan.stage_of(slot)].name,
        params=dict(trial.params),
        value=end.get("value"),
        mae=end.get("mae"),
        loss=end.get("loss"),
        steps=end.get("steps"),
        flops=(end.get("flops") or {}).get(settings.convention),
        seconds=end.get("seconds"),
        state=state,
        front=slot in front,
        reason=end.get("reason"),
        folder=str(trial_folder(folder_of(settings), slot).path),
    )


def plan_summary(plan: SearchPlan, settings: SweepSettings) -> PlanSummary:
    """Return the plan as an answer."""
    stages = [
        Stage(
            stage=stage.name,
            trials=stage.n_trials,
            space=dict(stage.space.dimensions),
            steps=(allotment.fewest, allotment.largest),
            flops_at_most=allotment.together,
        )
        for stage, allotment in zip(plan.stages, plan.allotments, strict=True)
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
    if not (settings.runs / FILE_NAME).exists():
        return NOTHING
    with Ledger.for_runs(settings.runs, create=False, reading=True) as ledger:
        rows = entries_of_study(ledger.rows(), settings.study, study.facts.first_entry)
    return sum((row.charged for row in rows), NOTHING)


def _counted(trials: Sequence[Trial], planned: int) -> TrialCounts:
    states = [trial.state for trial in trials]
    return TrialCounts(
        planned=planned,
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        running=states.count("running"),
        waiting=planned - len(trials) + states.count("waiting"),
    )


def _seconds_left(study: SharedStudy) -> float | None:
    """Return the time until all is done, one trial after another, at the pace until now."""
    done = [trial for trial in study.records() if state_of(trial) in OVER]
    times = [(trial.datetime_start, trial.datetime_complete) for trial in done]
    seconds = sum((over - began).total_seconds() for began, over in times if began and over)
    spent = sum(int((end_of(trial).get("flops") or {}).get("executed", 0)) for trial in done)
    if not seconds or not spent or not study.unfinished():
        return None
    shares = [study.plan.allotments[study.plan.stage_of(slot_of(t))].at_most for t in done]
    remaining = study.plan.at_most.executed - sum(price.executed for price in shares)
    return max(0.0, seconds / spent * remaining)


def importances(plan: PlanSummary, trials: Sequence[Trial]) -> dict[str, float]:
    """Return setting → its share of the variance of the values of the first stage's trials.

    By functional ANOVA (Hutter, Hoos & Leyton-Brown 2014). Empty where there are too few trials,
    settings or differences.
    """
    import optuna

    complete = [t for t in trials if t.state == "complete" and t.value is not None]
    first = of_first_stage(plan, complete)
    names = searched(first)
    few = len(first) < LEAST_TRIALS or len(names) < 2
    if few or len({trial.value for trial in first}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(
        study_of(first, names, space_of_plan(plan)), evaluator=evaluator
    )
    return {name: float(share) for name, share in shares.items()}


def searched(trials: Sequence[Trial]) -> list[str]:
    """Return the settings that every trial has and that take more than one value."""
    names = trials[0].params if trials else {}
    shared = [name for name in names if all(name in trial.params for trial in trials)]
    return [name for name in shared if len({trial.params[name] for trial in trials}) > 1]


def space_of_plan(plan: PlanSummary) -> Space:
    return merged([Space(stage.space) for stage in plan.stages])


def of_first_stage(plan: PlanSummary, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.stage == plan.stages[0].stage]


def study_of(trials: Sequence[Trial], names: Sequence[str], space: Space) -> Study:
    """Return a study in memory with a complete trial for each of these."""
    import optuna

    study = optuna.create_study()
    distributions = space.distributions()
    for trial in trials:
        assert trial.value is not None
        study.add_trial(
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: distributions[name] for name in names},
                value=float(trial.value),
            )
        )
    return study
