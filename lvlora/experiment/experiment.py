"""The verb: price the stages of an experiment, then make them in their order by their verbs.

Stages are priced without weights, as the commands price themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lvlora import durable, folders, numbers
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError, meant
from lvlora.evaluation.evaluate import evaluate
from lvlora.evaluation.job import prepare as prepare_evaluation
from lvlora.evaluation.scores import Scoring
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.record import (
    Experiment,
    Finished,
    FinishedStages,
    Result,
    StageRecord,
    document,
)
from lvlora.experiment.settings import ExperimentSettings, Stage, read_stages
from lvlora.flops import ledger
from lvlora.flops.rows import Budget, Row, charged
from lvlora.forecast.estimate import FORECASTING, ledger_rate
from lvlora.forecast.plan import DEFAULT_DECIMALS, OutlinedModel
from lvlora.forecast.pricing import updates_of
from lvlora.model import devices
from lvlora.model.catalogue import resolve
from lvlora.model.loading import outline
from lvlora.narrator import Narrator, Silent
from lvlora.report.page import PAGE, write_page
from lvlora.settings.base import differences
from lvlora.settings.configuration import Source
from lvlora.sweep.plan import points_to_price
from lvlora.sweep.record import shared_settings
from lvlora.sweep.search import prepare as prepare_search
from lvlora.sweep.search import run_search
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import with_params
from lvlora.train.fine_tune import run_training
from lvlora.train.plan import Plan, plan_run
from lvlora.train.record import Observer
from lvlora.train.run_folder import RunFolder

FILE = "experiment.json"
_ZERO_SHOT = "none"
"""The adapter of a model without one."""


def run_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: Narrator,
    observer: Callable[[], Observer],
    dry_run: bool,
) -> Experiment:
    """Price all stages, then make those that have no result yet; write the page after each.

    Args:
        read: gives the data; called once, after the file's stages were understood.
        config: the file that names the stages.
        sources: setting → where its value came from.
        observer: gives who watches a run.
        dry_run: nothing is made, charged or left.

    Raises:
        SettingsError: the file is wrong, or a stage is done or begun with other settings.
        DataError: the record of the folder is damaged.
        BudgetError: the rest may cost more than the budget has; nothing was spent. (Or a limit of
            a stage was reached before it was done.)
        RunStopped: a signal came; everything is saved, and the same call goes on.
    """
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    data_sha256 = dataset.sha256()
    finished = read_finished(folder, stages, data_sha256)
    planned = price_stages(
        stages, dataset, [*ledger.entries(folder.parent), *ledger.entries(folder)]
    )
    record = _record(settings, folder, planned, finished)
    if dry_run:
        return record
    most = record.flops_at_most.of(record.convention)
    if record.budget is not None and most > record.budget:
        raise BudgetError(
            f"what is charged and the stages that are left may cost {most:,} FLOPs "
            f"({record.convention}), and the budget is {record.budget:,}",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    folders.claim("--out", folder, "experiment", (FILE, PAGE))
    busy = LvloraError(
        f"another process makes the experiment in {folder}", "Wait for it, or stop it first."
    )
    with folders.held(folder, busy):
        # as another process may have left it by now
        finished = read_finished(folder, stages, data_sha256)
        for number, (stage, plan) in enumerate(zip(stages, planned, strict=True), 1):
            where = f"Stage {number} of {len(stages)}, {stage.name}"
            if stage.name in finished:
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {plan.what}.")
            result = _make(stage, dataset, folder, finished, narrator, observer)
            finished[stage.name] = Finished(settings=stage.deciding(data_sha256), result=result)
            text = FinishedStages(stages=finished).model_dump_json(indent=1)
            durable.write_text(folder / FILE, text + "\n")
            write_page(folder / PAGE, document(_record(settings, folder, planned, finished)))
        record = _record(settings, folder, planned, finished)
        write_page(folder / PAGE, document(record))
        return record.model_copy(update={"files": [str(folder / PAGE)]})


def read_finished(folder: Path, stages: Sequence[Stage], data_sha256: str) -> dict[str, Finished]:
    """Return stage → its settings and result, from experiment.json; empty where there is none.

    Raises:
        DataError: the file is damaged.
        SettingsError: a stage is done with other settings or data.
    """
    file, hint = folder / FILE, "Take it from a copy, or give the experiment another --out."
    if not file.exists():
        return {}
    try:
        content = durable.read_json_object(file, hint=hint)
        finished = FinishedStages.model_validate(content).stages
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise DataError(f"{file}: {place}: {wrong['msg']}", hint) from None
    for stage in stages:
        if stage.name in finished:
            changed = differences(finished[stage.name].settings, stage.deciding(data_sha256))
            if changed:
                raise SettingsError(
                    f"stage {stage.name} is done with other settings: {', '.join(changed)}",
                    "Take them back, or give the experiment another --out.",
                )
    return finished


def _make(
    stage: Stage,
    dataset: Dataset,
    folder: Path,
    finished: Mapping[str, Finished],
    narrator: Narrator,
    observer: Callable[[], Observer],
) -> Result:
    """Make a stage by its verb, or the rest of it.

    Raises:
        BudgetError: a limit was reached before the stage was done.
    """
    settings, place = stage.settings, folder / stage.name
    if isinstance(settings, EvaluateSettings):
        names = settings.adapter or (_ZERO_SHOT,)
        adapters = tuple(_adapter(name, folder, finished) for name in names)
        settings = settings.model_copy(update={"adapter": adapters})
        scores = evaluate(settings, lambda: dataset, narrator, stage=stage.name)
        maes = {row.name: row.mae for row in scores.forecasters}
        return Result(folder=str(scores.folder), forecasters=maes)
    if isinstance(settings, SweepSettings):
        search = run_search(
            settings, lambda: dataset, sources=stage.sources, narrator=narrator, observer=observer
        )
        if search.stopped_by is not None:
            raise BudgetError(search.stopped_by, "A larger max_flops of the stage goes on.")
        # earlier parts only choose the settings of the last
        last = search.plan.stages[-1].stage
        complete = [t for t in search.table if t.stage == last and t.state == "complete"]
        if not complete:
            return Result(folder=str(place))
        best = min(complete, key=lambda t: (t.value, t.trial))
        return Result(
            folder=str(place), mae=best.mae, loss=best.loss, steps=best.steps, adapter=best.folder
        )
    if RunFolder(place).config.is_file():
        settings = settings.model_copy(update={"resume": str(place)})
    trained = run_training(
        settings, lambda _: dataset, sources=stage.sources, observer=observer(), narrator=narrator
    )
    assert trained is not None  # there is one process
    run, validation = trained[0], trained[0].validation
    errors: dict[str, Any] = {}
    if validation is not None:
        errors = {"mae": validation.mae, "loss": validation.loss}
    return Result(folder=run.folder, steps=run.steps, adapter=run.folder, **errors)


def _adapter(name: str, folder: Path, finished: Mapping[str, Finished]) -> str:
    """Return what evaluate calls an adapter that a stage left."""
    if name == _ZERO_SHOT:
        return name
    if "/" in name:
        return str(folder / name)
    adapter = finished[name].result.adapter
    if adapter is None:
        raise LvloraError(
            f"stage {name} has no adapter: none of its trials came to an end",
            "The report in its folder says why; give the experiment another --out.",
        )
    return adapter


def _record(
    settings: ExperimentSettings,
    folder: Path,
    planned: Sequence[StageRecord],
    finished: Mapping[str, Finished],
) -> Experiment:
    """Return the experiment as it is by now, with the FLOPs and seconds of its ledger."""
    (rows, budget), stages, waiting = ledger.read(folder), [], NOTHING
    for stage in planned:  # its run, its trials or its evaluation
        of_stage = [r for r in rows if r.run == stage.name or r.run.startswith(f"{stage.name}/")]
        now: dict[str, Any] = {"flops": charged(of_stage), "result": None}
        if stage.name in finished:
            now["seconds"] = sum(row.seconds for row in of_stage)
            now["result"] = finished[stage.name].result
        else:
            waiting += stage.flops_at_most - now["flops"]
        stages.append(stage.model_copy(update=now))
    if settings.budget is not None:
        budget = Budget.after(settings.budget, settings.convention)
    return Experiment(
        folder=str(folder),
        model=settings.model,
        scale=settings.scale,
        stages=stages,
        flops=charged(rows),
        flops_at_most=charged(rows) + waiting,
        budget=None if budget is None else budget.flops,
        convention=settings.convention if budget is None else budget.convention,
        files=[],
    )


def price_stages(
    stages: Sequence[Stage], dataset: Dataset, entries: Sequence[Row]
) -> list[StageRecord]:
    """Price every stage, in their order, as each depends on the adapters of those before.

    Args:
        entries: of the ledger, whose last such work has the rate of a stage.

    Raises:
        SettingsError: a stage names an adapter that no stage before it leaves.
        BudgetError: one does not fit into a limit of its own.
        LvloraError: as the commands, before their first step.
    """
    one = stages[0].settings  # all have its model, device and dtype
    devices.set_threads(one.threads)
    base = outline(resolve(one.model, one.revision), devices.choose(one.device, one.dtype))
    bare = OutlinedModel(base, decimals=DEFAULT_DECIMALS, number_format=base.number_format)
    adapters = {_ZERO_SHOT: [bare]}  # stage → how its adapters may forecast
    paid: list[tuple[object, ...]] = []
    planned = []
    for stage in stages:
        settings = stage.settings
        if isinstance(settings, EvaluateSettings):
            what, bound = _price_evaluation(stage.name, settings, dataset, adapters, paid)
        elif isinstance(settings, SweepSettings):
            what, bound, adapters[stage.name] = _price_sweep(stage, settings, dataset)
        else:
            run = plan_run(settings, dataset)
            steps, tokens = numbers.count(run.n_steps), numbers.count(run.tokens_per_step)
            what, bound = f"{steps} steps of {tokens} tokens", run.at_most()
            adapters[stage.name] = [_forecaster(run)]
        rate = ledger_rate(
            entries, FORECASTING if stage.command == "evaluate" else ("train",), base
        )
        planned.append(
            StageRecord(
                name=stage.name,
                command=stage.command,
                what=what,
                flops_at_most=bound,
                seconds=rate and bound.executed / rate,
            )
        )
    return planned


def _price_sweep(
    stage: Stage, settings: SweepSettings, dataset: Dataset
) -> tuple[str, Price, list[OutlinedModel]]:
    if settings.max_flops is None and settings.max_steps is None:
        raise SettingsError(
            f"stage {stage.name}: says neither max_flops nor max_steps",
            "Without them a sweep would take all of the budget.",
        )
    _, study = prepare_search(settings, lambda: dataset, stage.sources, Silent(), None)
    plan = study.plan
    one_step = shared_settings(settings, plan).model_copy(update={"max_steps": 1})
    trials = [with_params(one_step, point) for point in points_to_price(plan.stages)]
    # only these settings change how a trial forecasts
    distinct = {(one.rank, one.targets, one.layers, one.decimals): one for one in trials}
    parts = ", ".join(f"{part.trials} {part.stage}" for part in plan.stages)
    forecasters = [_forecaster(plan_run(trial, dataset)) for trial in distinct.values()]
    return f"{plan.trials} trials ({parts})", plan.flops_at_most, forecasters


def _forecaster(plan: Plan) -> OutlinedModel:
    """Return how the adapter of a run will forecast."""
    return OutlinedModel(
        plan.model,
        updates_of(plan.trained.lora, plan.trained.shape),
        decimals=plan.settings.decimals,
        number_format=plan.windows.codec.number_format,
        scale=plan.windows.scale,
    )


def _price_evaluation(
    stage: str,
    settings: EvaluateSettings,
    dataset: Dataset,
    adapters: Mapping[str, list[OutlinedModel]],
    paid: list[tuple[object, ...]],
) -> tuple[str, Price]:
    """Return the work of an evaluation in words, and its price bound.

    Args:
        paid: forecasts of models without an adapter, which cost nothing a second time; more are
            added.
    """
    models = _scored_models(stage, settings, adapters) if settings.with_model else []
    job = prepare_evaluation(settings, dataset, Silent(), has_folder=False)
    bound = NOTHING
    for alternatives in models:
        forecasts = (job.folder.key, job.sampling, alternatives[0])
        if alternatives[0].updates or forecasts not in paid:
            paid.append(forecasts)
            bounds = (Scoring(one, job.task, job.sampling).price_bound for one in alternatives)
            bound += reduce(or_, bounds)
    futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
    rivals = " and the rivals" if job.settings.rivals else ""
    what = f"{len(models)} model{'' if len(models) == 1 else 's'}{rivals}"
    part = job.settings.split
    return f"{what}, {len(job.task.histories)} series of {part}, {futures}", bound


def _scored_models(
    stage: str, settings: EvaluateSettings, adapters: Mapping[str, list[OutlinedModel]]
) -> list[list[OutlinedModel]]:
    """Return how each model of an evaluation may forecast: with adapters, then without."""
    models: list[list[OutlinedModel]] = []
    without: dict[int, OutlinedModel] = {}
    for name in settings.adapter or (_ZERO_SHOT,):
        source = name.partition("/")[0]  # search/trial-0003
        if source not in adapters:
            stages = [known for known in adapters if known != _ZERO_SHOT]
            raise SettingsError(
                f"adapter {name} of stage {stage}: is no training or sweep before it",
                f"{meant(name, stages)}There are {', '.join([*stages, _ZERO_SHOT])}.",
            )
        changes: dict[str, Any] = {"max_memory": settings.max_memory}
        if settings.decimals is not None:
            changes["decimals"] = settings.decimals
        forecasters = [replace(one, **changes) for one in adapters[source]]
        if name != _ZERO_SHOT:
            models.append(forecasters)
        if name == _ZERO_SHOT or settings.zero_shot:
            for one in forecasters:
                without.setdefault(one.decimals, replace(one, updates=(), scale=None))
    return [*models, *([one] for one in without.values())]
