"""The verb: plan a run, load its model, train in a folder of its own, draw its page, answer.

`fine_tune` is for programs; the command calls `run_training` and `plan_training`. Where several
processes make a run, all plan and load the same, and help the first one with each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors.torch

from lvlora import durable
from lvlora.data.dataset import Dataset
from lvlora.data.known import read_known
from lvlora.errors import EXIT_STOPPED, BudgetError, DataError, NumericalError, SettingsError
from lvlora.flops.ledger import Ledger, check_limits
from lvlora.model import devices
from lvlora.model.loading import has_weights
from lvlora.narrator import Narrator, Silent
from lvlora.settings.checked import checked
from lvlora.train import checkpoint
from lvlora.train.document import draw_run
from lvlora.train.estimate import estimate_run
from lvlora.train.loop import Loaded, load_run
from lvlora.train.observer import Observer
from lvlora.train.observer import Silent as SilentRun
from lvlora.train.plan import Plan, plan_run
from lvlora.train.process import StopRequest, undisturbed
from lvlora.train.ranks import ALONE, FailedElsewhere, Ranks
from lvlora.train.record import Train, TrainPlan
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, check_out, create, stopped_run
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import check_installed, tracked
from lvlora.train.validation import add_rivals, gain_of

Read = Callable[[TrainSettings], Dataset]
"""Gives the data of a run's settings; called once, after all that can be refused without them."""


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
        result = run_training(chosen, read, sources=sources, observer=observer or SilentRun())
    assert result is not None  # there is one process
    return result[0]


def run_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    observer: Observer,
    narrator: Narrator | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Train, Plan] | None:
    """Make a run, or go on with the one that ``settings.resume`` names.

    Train to the end, compare with rivals, draw the page, and keep the answer. A run that replaces
    another takes its place when all of that is done.

    Args:
        sources: setting → where its value came from: flag, environment, config, default, python.
        observer: who watches, besides the settings' trackers.
        narrator: told what a person should know; None tells nobody.
        ranks: the processes that make it together; all call this.

    Returns:
        The answer and the plan; None in all but the first of several processes.

    Raises:
        BudgetError: a limit would be passed; nothing was spent, and nothing is left of a new run.
        RunStopped: a signal came; the state is saved.
        FailedElsewhere: another process could not do its part, and says why.
        LvloraError: anything else that can be foreseen; the message says whether it can go on.
    """
    narrator = narrator or Silent()
    if not ranks.is_first:
        facts, _ = ranks.hear()  # the first one speaks for all
        _follow(_load_together(TrainSettings(**facts["settings"]), read, ranks), ranks)
        return None
    stopped, settings, limit = _request(settings, sources, ranks)
    loaded = _load_together(settings, read, ranks, narrator, is_new=stopped is None)
    with ranks.heard():
        if stopped is None:
            run = _new_run(loaded, sources, observer, ranks)
        else:
            watcher = tracked(observer, loaded, stopped)
            run = Run(loaded, stopped, watcher, resume=True, limit=limit, ranks=ranks)
    plan, folder = run.plan, run.folder
    try:
        answer = run.train()
    except BudgetError:
        if not run.resumed:
            folder.remove_if_nothing_was_done()
        raise
    return _finish(answer, plan, folder, narrator), plan


def _finish(answer: Train, plan: Plan, folder: RunFolder, narrator: Narrator) -> Train:
    """Compare with rivals, draw the page, give the run its place, and keep its answer."""
    runs = plan.settings.runs
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


def plan_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    narrator: Narrator | None = None,
    ranks: Ranks = ALONE,
    began: float | None = None,
) -> TrainPlan | None:
    """Return the plan of `run_training`, its price bound, and an estimate of its time.

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
    _, settings, _ = _request(settings, sources, ranks)
    plan = plan_run(settings, read(settings))
    ranks.check(settings.batch_size * settings.accumulation)
    _announce(plan, narrator)
    estimate = None
    if ranks.size == 1 and has_weights(plan.source):
        loaded = load_run(plan)
        started = time.perf_counter() - began
        narrator.detail("Measuring a few steps and forecasts …")
        estimate = estimate_run(loaded, started)
    elif ranks.size == 1:
        narrator.note("The weights are not here, so time and memory were not measured.")
    limit, at_most = settings.max_flops or settings.budget_flops, plan.at_most()
    return TrainPlan(
        model=plan.model.name,
        steps=plan.n_steps,
        validations=plan.n_validations,
        tokens=plan.n_steps * plan.tokens_per_step,
        trainable_parameters=plan.trained.n_parameters,
        flops_at_most=at_most,
        share_of_limit=at_most.of(settings.convention) / limit if limit else None,
        estimate=estimate,
    )


def _request(
    settings: TrainSettings, sources: Mapping[str, str], ranks: Ranks
) -> tuple[RunFolder | None, TrainSettings, int | None]:
    """The folder of the run that goes on, the settings and the limit; other processes hear them.

    Whatever can be refused without data is.
    """
    folder, limit, shared = None, settings.max_flops, {}
    with ranks.heard():
        if settings.resume is not None:
            folder = stopped_run(settings)
            settings = folder.stored_settings(settings, sources)
            limit = max(limit or 0, settings.max_flops or 0) or None
        else:
            check_out(settings)
        check_installed(settings.tracker)
        if ranks.size > 1:
            if settings.data == Path("-"):
                raise SettingsError(
                    f"DATA -: {ranks.size} processes cannot read one standard input.",
                    "Name a file.",
                )
            shared = settings.model_dump(mode="json")
            if settings.dtype == "auto":  # a matter of timing, which must not differ
                dtype = devices.choose(settings.device, settings.dtype).dtype
                shared["dtype"] = str(dtype).removeprefix("torch.")
    ranks.say({"settings": shared})
    return folder, settings, limit


def _load_together(
    settings: TrainSettings,
    read: Read,
    ranks: Ranks,
    narrator: Narrator | None = None,
    *,
    is_new: bool = False,
) -> Loaded:
    """Plan and load the run in every process, or in none.

    Args:
        narrator: told of the plan.
        is_new: the run must fit into the project's budget before its weights are loaded.

    Raises:
        FailedElsewhere: another process could not, and says why.
        DataError: this one sees other data or weights than the first.
    """
    with ranks.together():
        plan = plan_run(settings, read(settings))
        ranks.check(settings.batch_size * settings.accumulation)
        if narrator is not None:
            _announce(plan, narrator)
        if is_new:
            check_limits(plan.settings, plan.at_most(), max_flops=None)
        loaded = load_run(plan)
    if ranks.size == 1:
        return loaded
    mine = durable.sha256_of_json(loaded.identity() | {"settings": None})
    first = mine
    if ranks.is_first:
        ranks.say({"identity": mine})
    else:
        first = ranks.hear()[0]["identity"]
    with ranks.together():
        if first != mine:
            raise DataError(
                f"process {ranks.rank}: has other data, weights or another device than the first",
                "Every process needs the same files, of the same content.",
            )
    return loaded


def _announce(plan: Plan, narrator: Narrator) -> None:
    for note in plan.notes:
        narrator.note(note)
    for warning in plan.warnings:
        narrator.warning(warning)
    narrator.detail(f"{plan.model.name}: {plan.model.placement.reason}")


def _new_run(loaded: Loaded, sources: Mapping[str, str], observer: Observer, ranks: Ranks) -> Run:
    """A run in a new folder that says all that is needed to repeat it.

    The folder is this process's before anything is written into it.

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
            folder.write_settings(plan, sources)
            watcher = tracked(observer, loaded, folder)
            return Run(loaded, folder, watcher, ranks=ranks, held=held.pop_all())
        except BaseException:
            folder.remove_if_nothing_was_done()
            raise


def _follow(loaded: Loaded, ranks: Ranks) -> None:
    """Make the share of every step that falls to a process that is not the first, and nothing else.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
        ProcessLost: another process is gone.
    """
    start, content = ranks.hear()
    checkpoint.put_back(
        safetensors.torch.load(content), "the first process", loaded.parameters, loaded.optimizers
    )
    done = loaded.steps(start["step"], start["last"], ranks)
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
