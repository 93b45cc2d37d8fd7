"""A study as an answer, with the command that trains with its best settings, and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.settings.fields import read_fields
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep import answers
from lvlora.sweep.facts import limit_in
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.space import merged, with_params
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, SharedStudy, end_of, slot_of, state_of
from lvlora.sweep.trial import trial_folder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_NOT_IN_COMMAND = ("max_steps", "max_flops", "data", "save_every", "threads")


def answer_of(
    study: SharedStudy, settings: SweepSettings, *, draw: bool, named: bool = True
) -> answers.Sweep:
    """The study as it is.

    Args:
        draw: write its figures and its page, too.
        named: its data are those that the settings name, so that a command can name them.
    """
    folder, best = folder_of(settings), study.best()
    front = [slot_of(trial) for trial in study.front(settings.convention)]
    trials = [trial_of(study, trial, settings, front) for trial in study.records()]
    command = None
    if best is not None and named:
        # a longer run may well be validated more thoroughly than its trial was
        command = command_of(with_params(shared_settings(settings, None), best.params))
    spent = study.committed()
    found = answers.Sweep(
        study=settings.study,
        finished=not study.unfinished(),
        trials=_counted(trials, study.plan.n_trials),
        best=_best(trials, best),
        front=front,
        importances=study.importances(),
        flops=spent.as_answer(),
        limit=limit_of(study, settings),
        convention=settings.convention,
        plan=plan_answer(study.plan, settings),
        table=trials,
        command=command,
        files=[str(path) for path in draw_study(study, settings, trials, folder, command)]
        if draw
        else [],
        seconds_left=_seconds_left(study),
    )
    return found.of(settings)


def limit_of(study: SharedStudy, settings: SweepSettings) -> int | None:
    """FLOPs that all trials together may spend: as is said now, else as the study began with."""
    return limit_in(study.study) if settings.max_flops is None else settings.max_flops


def shared_settings(settings: SweepSettings, plan: SearchPlan | None) -> TrainSettings:
    """What all trials share, the plan's series to score among it; limits and steps are not."""
    shared = settings.model_dump(include=set(TrainSettings.model_fields))
    series = settings.validation_series if plan is None else plan.validations.series
    return TrainSettings(
        **{**shared, "max_flops": None, "max_steps": None, "validation_series": series}
    )


def trial_of(
    study: SharedStudy, trial: FrozenTrial, settings: SweepSettings, front: Collection[int] = ()
) -> answers.Trial:
    """A trial as an answer.

    Args:
        front: the trials that no other beats in both error and FLOPs.
    """
    state, slot = state_of(trial), slot_of(trial)
    assert state is not None  # an attempt that was lost takes no slot
    end = end_of(trial) if state in OVER else {}
    flops = (end.get("flops") or {}).get(settings.convention)
    return answers.Trial(
        trial=slot,
        stage=study.plan.stages[study.plan.stage_of(slot)].name,
        params=dict(trial.params),
        value=end.get("value"),
        mae=end.get("mae"),
        loss=end.get("loss"),
        steps=end.get("steps"),
        flops=None if flops is None else int(flops),
        seconds=end.get("seconds"),
        state=state,
        front=slot in front,
        reason=end.get("reason"),
        folder=str(trial_folder(folder_of(settings), slot).path),
    )


def plan_answer(plan: SearchPlan, settings: SweepSettings) -> answers.PlanSummary:
    """The plan as an answer."""
    stages = [
        answers.Stage(
            stage=stage.name,
            trials=stage.n_trials,
            space=stage.space.to_dict(),
            steps=(allotment.fewest, allotment.largest),
            flops_at_most=allotment.together.as_answer(),
        )
        for stage, allotment in zip(plan.stages, plan.allotments, strict=True)
    ]
    return answers.PlanSummary(
        stages=stages,
        trials=plan.n_trials,
        flops_at_most=plan.at_most.as_answer(),
        convention=settings.convention,
        validation_series=plan.validations.series,
        validations=None if settings.validate_every else plan.validations.times,
    )


def command_of(settings: TrainSettings) -> str:
    """The command line that trains with these settings; defaults are left out."""
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


def _counted(trials: Sequence[answers.Trial], planned: int) -> answers.TrialCounts:
    states = [trial.state for trial in trials]
    return answers.TrialCounts(
        planned=planned,
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        running=states.count("running"),
        waiting=planned - len(trials) + states.count("waiting"),
    )


def _best(trials: Sequence[answers.Trial], best: FrozenTrial | None) -> answers.Best | None:
    for trial in trials:
        if best is not None and trial.trial == slot_of(best):
            return answers.Best(**trial.model_dump(include=set(answers.Best.model_fields)))
    return None


def _seconds_left(study: SharedStudy) -> float | None:
    """Until all is done, one trial after another, at the pace of those that are done."""
    done = [trial for trial in study.records() if state_of(trial) in OVER]
    times = [(trial.datetime_start, trial.datetime_complete) for trial in done]
    seconds = sum((over - began).total_seconds() for began, over in times if began and over)
    spent = sum(study.spent_by(trial).executed for trial in done)
    if not seconds or not spent or not study.unfinished():
        return None
    shares = [study.plan.allotments[study.plan.stage_of(slot_of(t))].at_most for t in done]
    left = study.plan.at_most.executed - sum(price.executed for price in shares)
    return max(0.0, seconds / spent * left)


def draw_study(
    study: SharedStudy,
    settings: SweepSettings,
    trials: Sequence[answers.Trial],
    folder: Path,
    command: str | None,
) -> list[Path]:
    """The figures and the page; returns the files."""
    from lvlora.report.drawing import style
    from lvlora.report.sweep.figures import sweep_figures
    from lvlora.report.sweep.page import write_sweep_page

    metric, before = _metric(study)
    rows = [trial.model_dump() for trial in trials]
    space = merged([stage.space for stage in study.plan.stages])
    distributions = {name: values.distribution() for name, values in space.dimensions.items()}
    figures = sweep_figures(rows, metric, distributions, study.importances())
    written = [folder / "figures" / f"{name}.png" for name in figures]
    for path, figure in zip(written, figures.values(), strict=True):
        style.save(figure, path)
    spent = study.committed()
    facts: dict[str, Any] = {
        "trials": f"{len(rows)} of {study.plan.n_trials}",
        f"{metric} before training": before,
        "FLOPs, executed": spent.executed,
        "FLOPs, coursework": spent.coursework,
        "sampler": study.sampler,
        "pruner": settings.pruner,
        "objectives": f"{metric}, FLOPs" if settings.pareto else metric,
        "seed": settings.seed,
    }
    page = folder / "report.html"
    write_sweep_page(
        page,
        study=settings.study,
        command=command or "",
        metric=metric,
        rows=rows,
        plan=study.plan.rows(settings.convention),
        facts=facts,
        figures=figures,
    )
    return [*written, page]


def _metric(study: SharedStudy) -> tuple[str, float | None]:
    """What the value of a trial is, and what it was before training."""
    for trial in study.records():
        end = end_of(trial)
        if end.get("value") is not None:
            if end.get("mae") is not None:
                return "validation MAE", end.get("mae_before")
            return "validation loss", end.get("loss_before")
    return "validation error", None
