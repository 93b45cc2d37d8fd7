"""The verb: a run is planned, loaded, made in a folder of its own, drawn, and answers.

`fine_tune` is it for programs; `run_training` and `plan_training` are what the command calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlora.answers import Flops
from lvlora.errors import BudgetError
from lvlora.flops.ledger import check_limits
from lvlora.forecast.estimate import AROUND_SECONDS
from lvlora.model.loading import has_weights
from lvlora.narrator import Narrator, Silent
from lvlora.report.run.page import draw_run
from lvlora.series.dataset import Dataset
from lvlora.series.known import read_known
from lvlora.settings.checked import checked
from lvlora.settings.training import TrainSettings
from lvlora.train import answers
from lvlora.train.answers import Train, TrainPlan
from lvlora.train.estimate import of_run
from lvlora.train.loop import load_run
from lvlora.train.new_run import new_run, stopped_run, stored_settings
from lvlora.train.observer import Observer
from lvlora.train.observer import Silent as SilentRun
from lvlora.train.plan import Plan, plan_run
from lvlora.train.process import undisturbed
from lvlora.train.ranks import ALONE, Ranks
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, check_out
from lvlora.train.trackers.tracked import check_installed, tracked
from lvlora.train.validation import add_rivals, gain_of
from lvlora.train.worker import Read, follow, for_others, load_together


def fine_tune(
    data: Dataset | str | Path,
    *,
    observer: Observer | None = None,
    **options: Any,
) -> Train:
    """Fine-tune a base model with LoRA, as ``lvlora train`` does: one run in a folder of its own.

    The run is charged to the ledger among the runs, and its adapter opens by
    ``open_model(adapter=result.adapter)``. A stopped run goes on by ``lvlora train --resume``; with
    data that are in no file it cannot, so write them first. Random states and the number of threads
    of the program are afterwards what they were, and runs in several threads give what each would
    give alone.

    Args:
        data: the trajectories, or their file.
        observer: told of every step and validation; None tells nobody.
        options: those of ``lvlora train``, fields of `TrainSettings`.

    Returns:
        The object that ``lvlora train --json`` prints.

    Raises:
        SettingsError: a setting is none, or has an impossible value.
        BudgetError: the run would pass ``max_flops`` or ``budget``; nothing was spent or left.
        RunStopped: a signal came; the state is saved.
    """
    values = dict(options)
    if isinstance(data, str | Path):
        values["data"] = data
    chosen = checked(TrainSettings, values, refused=("resume",))
    sources = {
        name: "python" if name in values else "default" for name in TrainSettings.model_fields
    }

    def read(settings: TrainSettings) -> Dataset:
        return read_known(data if isinstance(data, Dataset) else Path(data), settings)

    with undisturbed():
        made = run_training(chosen, read, sources=sources, observer=observer or SilentRun())
    assert made is not None  # there is one process
    return made


def run_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    observer: Observer,
    narrator: Narrator | None = None,
    ranks: Ranks = ALONE,
) -> Train | None:
    """Make a run, or go on with the one that ``settings.resume`` names.

    Args:
        sources: setting → where its value came from: flag, environment, config, default, python.
        observer: who watches, besides the settings' trackers.
        narrator: told what a person should know; None tells nobody.
        ranks: the processes that make it together; all call this.

    Returns:
        what was done; None in all but the first of several processes.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and nothing is left of a new run.
        RunStopped: a signal came; the state is saved.
        FailedElsewhere: another process could not do its part, and says why.
        LvloraError: anything else that can be foreseen; the message says whether it can go on.
    """
    narrator = narrator or Silent()
    if not ranks.is_first:
        told, _ = ranks.hear()  # the first one speaks for all
        follow(load_together(TrainSettings(**told["settings"]), read, ranks), ranks)
        return None
    folder, settings, limit = _asked(settings, sources, ranks)

    def look(plan: Plan) -> None:
        _say(plan, narrator)
        if folder is None:
            check_limits(plan.settings, plan.at_most(), max_flops=None)

    loaded = load_together(settings, read, ranks, look)
    with ranks.heard():
        if folder is not None:
            watcher = tracked(observer, loaded, folder)
            run = Run(loaded, folder, watcher, resume=True, limit=limit, ranks=ranks)
        else:
            run = new_run(loaded, sources, observer, ranks)
    return carry_out(run, narrator)


def plan_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    narrator: Narrator | None = None,
    ranks: Ranks = ALONE,
    began: float | None = None,
) -> TrainPlan | None:
    """What `run_training` would do and cost at most, and how long it would take here.

    No weights are needed. Where they are there, and one process would make the run, a few steps are
    made to measure it; nothing is charged, and nothing left.

    Args:
        began: when the command did, by `time.perf_counter`; default: now.

    Returns:
        the plan; None in all but the first of several processes.

    Raises:
        LvloraError: as `run_training`, before its first step.
    """
    narrator, began = narrator or Silent(), time.perf_counter() if began is None else began
    if not ranks.is_first:
        ranks.hear()
        return None
    _, settings, _ = _asked(settings, sources, ranks)
    plan = plan_run(settings, read(settings))
    ranks.check(settings.batch_size * settings.accumulation)
    _say(plan, narrator)
    estimate = None
    if ranks.size == 1 and has_weights(plan.source):
        loaded = load_run(plan)
        started = time.perf_counter() - began
        narrator.detail("Measuring a few steps and forecasts …")
        found = of_run(loaded)
        estimate = answers.RunEstimate(
            seconds=started + found.whole.seconds + AROUND_SECONDS,
            peak_bytes=found.whole.with_room().peak_bytes,
            probe_flops=Flops(**found.whole.probe.to_dict()),
            first_step_seconds=found.first_seconds,
            step_seconds=found.step_seconds,
            validation_seconds=found.validation_seconds,
        )
    elif ranks.size == 1:
        narrator.note("The weights are not here, so time and memory were not measured.")
    limit, at_most = settings.max_flops or settings.budget_flops, plan.at_most()
    return TrainPlan(
        model=plan.model.name,
        steps=plan.n_steps,
        validations=plan.n_validations,
        tokens=plan.n_steps * plan.tokens_per_step,
        trainable_parameters=plan.trained.n_parameters,
        flops_at_most=Flops(**at_most.to_dict()),
        share_of_limit=at_most.of(settings.convention) / limit if limit else None,
        estimate=estimate,
    )


def _asked(
    settings: TrainSettings, sources: Mapping[str, str], ranks: Ranks
) -> tuple[RunFolder | None, TrainSettings, int | None]:
    """The folder of the run that goes on, its settings, and its limit; other processes hear them.

    Whatever can be refused without data is.
    """
    folder, limit = None, settings.max_flops
    with ranks.heard():
        if settings.resume is not None:
            folder = RunFolder(stopped_run(settings))
            settings = stored_settings(folder, settings, sources)
            limit = max(limit or 0, settings.max_flops or 0) or None
        else:
            check_out(settings)
        check_installed(settings.tracker)
        said = for_others(settings, ranks)
    ranks.say({"settings": said})
    return folder, settings, limit


def carry_out(run: Run, narrator: Narrator | None = None) -> Train:
    """Train to the end, compare with rivals, draw the page, and keep the answer.

    A run that replaces another takes its place when all of that is done.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and a new run's folder is gone.
        LvloraError: as `Run.train`; the run can go on.
    """
    plan, folder, narrator = run.plan, run.folder, narrator or Silent()
    runs = plan.settings.runs
    try:
        answer = run.train()
    except BudgetError:
        if not run.resumed:
            folder.remove_if_nothing_was_done()
        raise
    if plan.part is not None:
        add_rivals(folder.validation, plan.part.scored, plan.train)
        answer = answer.model_copy(update={"gain": gain_of(folder.validation)})
    written = draw_run(folder.path)
    if answer.stopped_by_limit:
        folder.make_latest(runs)
        narrator.note(
            f"--max-flops is reached after step {answer.steps} of {answer.planned_steps}; "
            f"lvlora train --resume {folder.resume_name(runs)} with a larger one goes on."
        )
        return _placed(answer, folder, written)
    target, obstacle = folder.target(plan.settings)
    here = folder.path
    answer = _placed(answer, target, [target.path / f.relative_to(here) for f in written])
    folder.write_result(answer.model_dump(mode="json", exclude={"schema_version"}))
    if target != folder:
        folder.take_place_of(target)
    target.make_latest(runs)
    if obstacle:
        narrator.warning(obstacle)
    return answer


def _placed(answer: Train, folder: RunFolder, files: list[Path]) -> Train:
    """The answer of a run that is in this folder now."""
    where = {"adapter": str(folder.adapter), "folder": str(folder.path)}
    return answer.model_copy(update={**where, "files": [str(file) for file in files]})


def _say(plan: Plan, narrator: Narrator) -> None:
    for note in plan.notes:
        narrator.note(note)
    for warning in plan.warnings:
        narrator.warning(warning)
    narrator.detail(f"{plan.model.name}: {plan.model.placement.reason}")
