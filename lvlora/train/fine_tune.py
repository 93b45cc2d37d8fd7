"""The verb: a run is planned, loaded, made in a folder of its own, drawn, and answers.

`fine_tune` is it for programs; `run_training` and `plan_training` are what the command calls.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

from safetensors.torch import load as read_tensors

from lvlora import durable, narrator
from lvlora.answers import Flops
from lvlora.errors import EXIT_STOPPED, BudgetError, DataError, NumericalError, SettingsError
from lvlora.flops import limits
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.forecast.estimate import AROUND_SECONDS
from lvlora.model import devices
from lvlora.model.loading import has_weights
from lvlora.report.run.page import draw_run
from lvlora.runs import NEWEST, find_run
from lvlora.series.dataset import Dataset
from lvlora.series.files.readers import read_dataset
from lvlora.settings import TrainSettings
from lvlora.settings.checked import checked
from lvlora.settings.configuration import resolve
from lvlora.settings.keywords import TrainKeywords
from lvlora.settings.spoken import for_programs
from lvlora.settings.toml_text import to_toml
from lvlora.train import answers, checkpoint, loop
from lvlora.train.answers import Train, TrainPlan
from lvlora.train.estimate import of_run
from lvlora.train.loaded import Loaded, load_run
from lvlora.train.observer import Observer, Silent
from lvlora.train.plan import Plan, plan_run
from lvlora.train.ranks import ALONE, FailedElsewhere, Ranks
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, check_out, create, newest_unfinished
from lvlora.train.stopping import StopRequest
from lvlora.train.trackers.tracked import check_installed, tracked
from lvlora.train.undisturbed import undisturbed
from lvlora.train.validation_file import add_rivals

Read = Callable[[TrainSettings], Dataset]
"""Gives the data of a run's settings; asked once, after all that can be refused without them."""

_FIXED = TrainSettings.affecting("result", "placement", "limit", "output") - {"max_flops"}
"""What can't be said anew when a run goes on. Data and model can: they are known by content."""


@for_programs()
def fine_tune(
    data: Dataset | str | Path,
    *,
    observer: Observer | None = None,
    **settings: Unpack[TrainKeywords],
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
        settings: the options of ``lvlora train`` with underscores: rank, max_steps, model, runs, …

    Returns:
        The object that ``lvlora train --json`` prints.

    Raises:
        SettingsError: a setting is none, or has an impossible value.
        BudgetError: the run would pass ``max_flops`` or ``budget``; nothing was spent or left.
        RunStopped: a signal came; the state is saved.
    """
    given: dict[str, Any] = dict(settings)
    if given.get("resume") is not None:
        raise SettingsError(
            "resume: a program can't go on with a run.", "lvlora train --resume RUN"
        )
    if isinstance(data, str | Path):
        given["data"] = data
    chosen = checked(TrainSettings, given)
    sources = {
        name: "python" if name in given else "default" for name in TrainSettings.model_fields
    }

    def read(settings: TrainSettings) -> Dataset:
        return data if isinstance(data, Dataset) else read_dataset(Path(data), settings)

    with undisturbed():
        made = run_training(chosen, read, sources=sources, observer=observer or Silent())
    assert made is not None  # there is one process
    return made


def run_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    observer: Observer,
    tell: narrator.Narrator | None = None,
    ranks: Ranks = ALONE,
) -> Train | None:
    """Make a run, or go on with the one that ``settings.resume`` names.

    Args:
        sources: setting → where its value came from: flag, environment, config, default, python.
        observer: who watches, besides the settings' trackers.
        tell: told what a person should know; None tells nobody.
        ranks: the processes that make it together; all call this.

    Returns:
        what was done; None in all but the first of several processes.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and nothing is left of a new run.
        RunStopped: a signal came; the state is saved.
        FailedElsewhere: another process could not do its part, and says why.
        LvloraError: anything else that can be foreseen; the message says whether it can go on.
    """
    tell = tell or narrator.Silent()
    if not ranks.is_first:
        told, _ = ranks.hear()  # the first one speaks for all
        _follow(_load_together(TrainSettings(**told["settings"]), read, ranks, tell), ranks)
        return None
    folder, settings, limit = _asked(settings, sources, ranks)
    loaded = _load_together(settings, read, ranks, tell, new=folder is None)
    with ranks.heard():
        if folder is not None:
            watcher = tracked(observer, loaded, folder)
            run = Run(loaded, folder, watcher, resume=True, limit=limit, ranks=ranks)
        else:
            run = begin(loaded, sources, observer, ranks)
    return carry_out(run, tell)


def plan_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    tell: narrator.Narrator | None = None,
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
    tell, began = tell or narrator.Silent(), time.perf_counter() if began is None else began
    if not ranks.is_first:
        ranks.hear()
        return None
    _, settings, _ = _asked(settings, sources, ranks)
    plan = plan_run(settings, read(settings))
    ranks.check(settings.batch_size * settings.accumulation)
    _say(plan, tell)
    estimate = None
    if ranks.size == 1 and has_weights(plan.source):
        loaded = load_run(plan)
        started = time.perf_counter() - began
        tell.detail("Measuring a few steps and forecasts …")
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
        tell.note("The weights are not here, so time and memory were not measured.")
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
            folder = RunFolder(_stopped_run(settings))
            settings = _stored_settings(folder, settings, sources)
            limit = max(limit or 0, settings.max_flops or 0) or None
        else:
            check_out(settings)
        check_installed(settings.tracker)
        said = _for_others(settings, ranks)
    ranks.say({"settings": said})
    return folder, settings, limit


def _for_others(settings: TrainSettings, ranks: Ranks) -> dict[str, Any]:
    """The settings for the other processes, as JSON."""
    if ranks.size == 1:
        return {}
    if settings.data == Path("-"):
        raise SettingsError(
            f"DATA -: {ranks.size} processes cannot read one standard input.", "Name a file."
        )
    said = settings.model_dump(mode="json")
    if settings.dtype == "auto":  # a matter of timing, which must not differ
        placement = devices.choose(settings.device, settings.dtype)
        said["dtype"] = str(placement.dtype).removeprefix("torch.")
    return said


def _load_together(
    settings: TrainSettings,
    read: Read,
    ranks: Ranks,
    tell: narrator.Narrator,
    *,
    new: bool = False,
) -> Loaded:
    """Plan and load the run in every process, or in none.

    Args:
        new: nothing of it was spent yet.

    Raises:
        FailedElsewhere: another process could not, and says why.
        DataError: this one sees other data or weights than the first.
    """
    with ranks.together():
        plan = plan_run(settings, read(settings))
        ranks.check(settings.batch_size * settings.accumulation)
        _say(plan, tell)
        if new:
            _check_budget(plan)
        loaded = load_run(plan)
    if ranks.size == 1:
        return loaded
    mine = durable.sha256_of_json(loaded.identity() | {"settings": None})
    if ranks.is_first:
        ranks.say({"identity": mine})
        with ranks.together():
            return loaded
    told, _ = ranks.hear()
    with ranks.together():
        if told["identity"] != mine:
            raise DataError(
                f"process {ranks.rank}: has other data, weights or another device than the first",
                "Every process needs the same files, of the same content.",
            )
    return loaded


def _say(plan: Plan, tell: narrator.Narrator) -> None:
    for note in plan.notes:
        tell.note(note)
    for warning in plan.warnings:
        tell.warning(warning)
    tell.detail(f"{plan.model.name}: {plan.model.placement.reason}")


def _check_budget(plan: Plan) -> None:
    """Refuse what the project's budget does not allow, before weights are loaded or files made.

    The reservation before the first step is what keeps the budget: others may spend meanwhile.
    """
    settings, rows = plan.settings, []
    budget = limits.asked(settings.budget, settings.convention)
    if (settings.runs / FILE_NAME).is_file():
        with Ledger.for_runs(settings.runs, create=False, reading=True) as ledger:
            rows = ledger.rows()
            if settings.budget is None:
                budget = ledger.budget()
    refused = limits.refusal(
        plan.at_most(),
        rows,
        run="",
        max_flops=None,
        convention=settings.convention,
        budget=budget,
    )
    if refused is not None:
        raise refused


def begin(
    loaded: Loaded, sources: Mapping[str, str], observer: Observer, ranks: Ranks = ALONE
) -> Run:
    """A run in a new folder that says all that is needed to repeat it.

    The folder is this process's before anything is written into it.

    Args:
        sources: setting → where its value came from.
        observer: who watches, besides the settings' trackers.

    Raises:
        SettingsError: the folder is taken.
        LvloraError: it cannot be written, or another process works on it; nothing is left.
    """
    plan, settings = loaded.plan, loaded.plan.settings
    with Ledger.for_runs(settings.runs) as ledger:
        taken = {row.run for row in ledger.rows()}
    folder, replaces = create(settings, f"{plan.source.name}-r{settings.rank}")
    with ExitStack() as held:
        held.enter_context(folder.held())
        folder.check_unused()
        try:
            folder.mark()
            if replaces is not None:
                folder.shall_replace(replaces)
            folder.take_name((settings.out or folder.path).name, taken)
            write_settings(folder, plan, sources)
            watcher = tracked(observer, loaded, folder)
            return Run(loaded, folder, watcher, ranks=ranks, held=held.pop_all())
        except BaseException:
            folder.remove_if_nothing_was_done()
            raise


def write_settings(folder: RunFolder, plan: Plan, sources: Mapping[str, str]) -> None:
    """config.toml, sources.json, data.json, split.json and environment.json."""
    durable.write_text(folder.config, to_toml("train", plan.settings))
    durable.write_text(folder.sources, json.dumps(dict(sources), indent=1) + "\n")
    data = {
        "source": plan.dataset.source,
        "series": len(plan.dataset),
        "variables": list(plan.dataset.variables),
        "sha256": plan.dataset.sha256(),
        "split": plan.split.sha256,
    }
    durable.write_text(folder.path / "data.json", json.dumps(data, indent=1) + "\n")
    durable.write_text(folder.path / "split.json", plan.split.to_json())
    placement = plan.model.placement
    dtype = str(placement.dtype).removeprefix("torch.")
    folder.write_environment(str(placement.device), devices.set_threads(None), dtype)


def carry_out(run: Run, tell: narrator.Narrator | None = None) -> Train:
    """Train to the end, compare with rivals, draw the page, and keep the answer.

    A run that replaces another takes its place when all of that is done.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and a new run's folder is gone.
        LvloraError: as `Run.train`; the run can go on.
    """
    plan, folder, tell = run.plan, run.folder, tell or narrator.Silent()
    runs = plan.settings.runs
    try:
        answer = run.train()
    except BudgetError:
        if not run.resumed:
            folder.remove_if_nothing_was_done()
        raise
    if plan.part is not None:
        learning = plan.dataset.select(plan.split.train)
        add_rivals(folder.validation, plan.part.scored, learning)
    written = draw_run(folder.path)
    if answer.stopped_by_limit:
        folder.make_latest(runs)
        tell.note(
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
        tell.warning(obstacle)
    return answer


def _placed(answer: Train, folder: RunFolder, files: list[Path]) -> Train:
    """The answer of a run that is in this folder now."""
    where = {"adapter": str(folder.adapter), "folder": str(folder.path)}
    return answer.model_copy(update={**where, "files": [str(file) for file in files]})


def _follow(loaded: Loaded, ranks: Ranks) -> None:
    """Make the share of every step that falls to a process that is not the first, and nothing else.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
        ProcessLost: another process is gone.
    """
    plan = loaded.plan
    told, content = ranks.hear()
    checkpoint.put_back(
        read_tensors(content), "the first process", loaded.parameters, loaded.optimizers
    )
    done = loop.steps(
        list(loaded.parameters.values()),
        loaded.optimizers,
        loaded.objective.loss_sum,
        plan.windows,
        plan.learning_rate,
        first=told["step"],
        last=told["last"],
        accumulation=plan.settings.accumulation,
        clip_norm=plan.settings.clip_norm,
        seed=plan.dropout_seed,
        ranks=ranks,
    )
    with StopRequest() as stop:
        while True:
            over, stopped = ranks.agreed(False, stop.requested)
            if over:
                return
            if stopped:
                ranks.wait()  # until all is saved
                raise FailedElsewhere(0, EXIT_STOPPED)
            try:
                next(done)
            except NumericalError as error:
                raise FailedElsewhere(0, error.exit_code) from None


def _stopped_run(settings: TrainSettings) -> Path:
    """The run that --resume means."""
    if settings.resume != NEWEST:
        return find_run(settings.resume, settings.runs, "--resume")
    path = newest_unfinished(settings.runs)
    if path is None:
        raise SettingsError(
            f"--resume: there is no stopped run in {settings.runs}",
            "Name one: lvlora train --resume RUN.",
        )
    return path


def _stored_settings(
    folder: RunFolder, given: TrainSettings, sources: Mapping[str, str]
) -> TrainSettings:
    """The run's own settings; what decides its result can't be changed half-way."""
    stored = resolve(
        "train", TrainSettings, flags={}, environment={}, config=str(folder.config), commands={}
    ).settings
    said = {name for name, source in sources.items() if source != "default"}
    for name in said & _FIXED:
        asked, was = getattr(given, name), getattr(stored, name)
        if asked != was:
            raise SettingsError(
                f"--{name.replace('_', '-')}: a run goes on with its own settings "
                f"({was}, not {asked})",
                "Leave the option out, or start a new run.",
            )
    # the limit is no setting of a run that goes on: its steps were laid out for the first one
    update = {name: getattr(given, name) for name in said - _FIXED - {"max_flops"}}
    if "budget" not in said:  # what the project may spend has its place in the ledger
        update["budget"] = None
    if "runs" not in said:
        # found from any working directory
        beside = folder.path.resolve().parent
        update["runs"] = beside if (beside / FILE_NAME).is_file() else stored.runs
    if stored.dtype == "auto":  # what was chosen then, not what this moment's probe says
        dtype = folder.read_environment().get("dtype")
        update["dtype"] = dtype if dtype in ("float32", "bfloat16") else "auto"
    if stored.data == Path("-") and "data" not in said:
        raise DataError(
            f"{folder.path}: its data came from standard input, which is gone",
            "Pipe it in again: lvlora train - --resume RUN < FILE.",
        )
    return stored.model_copy(update=update)
