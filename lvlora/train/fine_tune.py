"""The verb: plan a run, load its model, train in a folder of its own, draw its page, answer.

`fine_tune` is for programs; the command calls `run_training` and `plan_training`. Where several
processes make a run, all plan and load the same, and help the first one with each step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lvlora import durable
from lvlora.data.dataset import Dataset
from lvlora.data.known import read_known
from lvlora.errors import DataError, SettingsError
from lvlora.flops.ledger import Limits, check_limits, entries
from lvlora.forecast.estimate import benchmark, estimate, ledger_rate
from lvlora.model import devices
from lvlora.model.loading import has_weights
from lvlora.narrator import AsWarnings, Narrator, Silent
from lvlora.settings.fields import checked
from lvlora.train.document import draw_run
from lvlora.train.loop import Loaded, load_run
from lvlora.train.plan import Plan, plan_run
from lvlora.train.process import ALONE, Ranks, undisturbed
from lvlora.train.record import Observer, RunEstimate, Train, TrainPlan
from lvlora.train.run import Run, follow
from lvlora.train.run_folder import RunFolder, check_out, create, stopped_run
from lvlora.train.settings import TrainSettings
from lvlora.train.trackers import Tracked, check_installed

Read = Callable[[TrainSettings], Dataset]
"""Gives the data of a run's settings; called once, after all that can be refused without them."""


def fine_tune(
    data: Dataset | str | Path,
    *,
    observer: Observer | None = None,
    narrator: Narrator | None = None,
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
        narrator: gets what the command prints; None passes warnings on as Python's.
        options: those of ``lvlora train``, fields of `TrainSettings`.

    Raises:
        SettingsError: a setting is none, or has an impossible value.
        BudgetError: the run would pass ``max_flops`` or ``budget``; nothing was spent or left.
        RunStopped: a signal came; the state is saved.
    """
    values = dict(options)
    if isinstance(data, str | Path):
        values["data"] = data
    chosen = checked(TrainSettings, values, refused=("resume",))

    def read(settings: TrainSettings) -> Dataset:
        return read_known(data if isinstance(data, Dataset) else Path(data), settings)

    watcher, narrator = observer or Observer(), narrator or AsWarnings()
    with undisturbed():
        result = run_training(chosen, read, sources={}, observer=watcher, narrator=narrator)
    assert result is not None  # there is one process
    return result[0]


def run_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    observer: Observer,
    narrator: Narrator,
    ranks: Ranks = ALONE,
) -> tuple[Train, Plan] | None:
    """Make a run, or go on with the one that ``settings.resume`` names; all ``ranks`` call this.

    Args:
        sources: setting → where its value came from, to know what is asked of a run that goes on.

    Returns:
        The answer and the plan; None in all but the first of several processes.
    """
    narrator = narrator if ranks.is_first else Silent()
    limit = settings.max_flops
    settings, stopped = _agreed(settings, sources, ranks)
    limit = max(limit or 0, settings.max_flops or 0) or None  # a stopped run's can be raised
    loaded = _load_together(settings, read, ranks, narrator, is_new=stopped is None)
    if not ranks.is_first:
        follow(loaded, ranks)
        return None
    plan = loaded.plan
    with ExitStack() as held:
        with ranks.together():
            folder = stopped or create(plan.settings, f"{plan.source.name}-r{plan.settings.rank}")
            held.enter_context(folder.held())
            if stopped is None:
                held.enter_context(folder.begun(plan))
            observer = Tracked(observer, loaded, folder, narrator)
            limits, resume = Limits(limit, settings.budget, settings.convention), bool(stopped)
            run = Run(loaded, folder, observer, narrator, resume=resume, limits=limits, ranks=ranks)
        answer = run.train()
        files = [str(file) for file in draw_run(folder.path)]
        answer = answer.model_copy(update={"files": files})
        if answer.stopped_by_limit:
            narrator.note(
                f"--max-flops is reached after step {answer.steps} of {answer.planned_steps}; "
                f"{folder.resume_command} with a larger one goes on."
            )
        else:
            facts = answer.model_dump(mode="json", exclude={"schema_version"})
            durable.write_text(folder.result, json.dumps(facts, indent=1) + "\n")
        folder.make_latest(settings.runs)
        return answer, plan


def plan_training(
    settings: TrainSettings,
    read: Read,
    *,
    sources: Mapping[str, str],
    narrator: Narrator,
    began: float,
) -> TrainPlan:
    """Return the plan of `run_training`, its price bound, and an estimate of its time.

    A few steps are measured where there are weights; nothing is charged, and nothing left.
    ``began`` is when the command did (`time.perf_counter`).
    """
    settings, _ = _agreed(settings, sources, ALONE)
    plan = _plan(settings, read, ALONE, narrator)
    estimated = None
    if has_weights(plan.source):
        loaded = load_run(plan)
        narrator.detail("Measuring a few steps and forecasts …")
        estimated = estimate_run(loaded, time.perf_counter() - began)
    else:
        narrator.note("The weights are not here, so time and memory were not measured.")
    limit, at_most = settings.max_flops or settings.budget_flops, plan.at_most()
    return TrainPlan(
        model=plan.model.name,
        steps=plan.n_steps,
        validations=plan.n_validations(),
        tokens=plan.n_steps * plan.tokens_per_step,
        trainable_parameters=plan.trained.n_parameters,
        flops_at_most=at_most,
        share_of_limit=at_most.of(settings.convention) / limit if limit else None,
        estimate=estimated,
    )


def estimate_run(loaded: Loaded, started: float = 0.0) -> RunEstimate:
    """Return time and memory of a fresh run, ``started`` seconds ago; its model is used up."""
    plan, device = loaded.plan, loaded.base.placement.device
    rate = ledger_rate(entries(plan.settings.runs), ("train",), loaded.base)
    steps = (plan.trained.step(step.shapes) for step in loaded.steps(0, plan.n_steps))
    training = benchmark(steps, device, rate)
    work, validation = [(plan.n_steps * plan.cost.per_step, training)], 0.0
    if plan.part is not None:
        forecaster = loaded.forecaster()
        with torch.compiler.set_stance("force_eager"), torch.no_grad():
            validating = plan.part.benchmark(forecaster, loaded.objective.loss_sum, plan.trained)
        validation = validating.seconds(plan.cost.per_validation)
        work.append((plan.n_validations() * plan.cost.per_validation, validating))
    # saving holds the adapter's tensors twice beside those of the model
    saved = 2 * sum(q.numel() * q.element_size() for q in loaded.parameters.values())
    return RunEstimate(
        **dict(estimate(work, started, draws=True, more_bytes=saved)),
        first_step_seconds=training.first_seconds,
        step_seconds=training.seconds(plan.cost.per_step),
        validation_seconds=validation,
    )


def _agreed(
    settings: TrainSettings, sources: Mapping[str, str], ranks: Ranks
) -> tuple[TrainSettings, RunFolder | None]:
    """Return the run's settings, which the first process decides for all, and its old folder."""
    folder, content = None, b""
    with ranks.together():
        if ranks.is_first:
            if settings.resume is None:
                check_out(settings)
            else:
                folder = stopped_run(settings)
                settings = folder.stored_settings(settings, sources)
            check_installed(settings.tracker)
        if ranks.is_first and ranks.size > 1:
            if settings.data == Path("-"):
                raise SettingsError(
                    f"DATA -: {ranks.size} processes cannot read one standard input.",
                    "Name a file.",
                )
            # the choice of auto is a matter of timing, which must not differ
            dtype = devices.choose(settings.device, settings.dtype).dtype_name
            content = settings.model_copy(update={"dtype": dtype}).model_dump_json().encode()
    content = ranks.broadcast(content)
    return settings if ranks.is_first else TrainSettings.model_validate_json(content), folder


def _load_together(
    settings: TrainSettings, read: Read, ranks: Ranks, narrator: Narrator, *, is_new: bool
) -> Loaded:
    """Plan and load the same run in every process, or in none; a new one fits into the budget."""
    with ranks.together():
        plan = _plan(settings, read, ranks, narrator)
        if is_new and ranks.is_first:
            check_limits(plan.settings, plan.at_most(), max_flops=None)
        loaded = load_run(plan)
        identity = loaded.identity() | {"settings": None}
    mine = durable.sha256_of_json(identity).encode()
    first = ranks.broadcast(mine)
    with ranks.together():
        if first != mine:
            raise DataError(
                f"process {ranks.rank}: has other data, weights or another device than the first",
                "Every process needs the same files, of the same content.",
            )
    return loaded


def _plan(settings: TrainSettings, read: Read, ranks: Ranks, narrator: Narrator) -> Plan:
    plan = plan_run(settings, read(settings))
    n_rows = settings.batch_size * settings.accumulation
    if n_rows < ranks.size:
        raise SettingsError(
            f"--batch-size times --accumulation: a step of {n_rows} sequences cannot be shared by "
            f"{ranks.size} processes",
            "Raise --batch-size or --accumulation, or start fewer processes.",
        )
    for note in plan.notes:
        narrator.note(note)
    for warning in plan.warnings:
        narrator.warning(warning)
    narrator.detail(f"{plan.model.name}: {plan.model.placement.reason}")
    return plan
