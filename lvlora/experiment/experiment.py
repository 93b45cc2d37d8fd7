"""The verb: price the stages of an experiment, then make them in their order by their verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lvlora import durable, folders
from lvlora.answers import NOTHING, Shape
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError
from lvlora.evaluation.evaluate import evaluate
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.prices import ZERO_SHOT, price_stages
from lvlora.experiment.record import Experiment, Result, StageRecord, document
from lvlora.experiment.settings import ExperimentSettings, Stage, read_stages
from lvlora.flops import ledger
from lvlora.flops.rows import Budget, charged
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.settings.base import differences
from lvlora.settings.configuration import Source
from lvlora.sweep.search import run_search
from lvlora.sweep.settings import SweepSettings
from lvlora.train.fine_tune import run_training
from lvlora.train.record import Observer
from lvlora.train.run_folder import RunFolder

FILE = "experiment.json"


class Finished(Shape):
    """A stage that is done, in experiment.json."""

    settings: dict[str, Any]
    """Those that decide its result, with its command and the hash of the data."""
    result: Result


class FinishedStages(Shape):
    """The content of experiment.json."""

    stages: dict[str, Finished]


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
        names = settings.adapter or (ZERO_SHOT,)
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
    return Result(
        folder=run.folder,
        mae=None if validation is None else validation.mae,
        loss=None if validation is None else validation.loss,
        steps=run.steps,
        adapter=run.folder,
    )


def _adapter(name: str, folder: Path, finished: Mapping[str, Finished]) -> str:
    """Return what evaluate calls an adapter that a stage left."""
    if name == ZERO_SHOT:
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
    (rows, recorded), stages, waiting = ledger.read(folder), [], NOTHING
    for stage in planned:  # its run, its trials or its evaluation
        of_stage = [r for r in rows if r.run == stage.name or r.run.startswith(f"{stage.name}/")]
        flops = charged(of_stage)
        now: dict[str, Any] = {"flops": flops, "result": None}
        if stage.name in finished:
            now["seconds"] = sum(row.seconds for row in of_stage)
            now["result"] = finished[stage.name].result
        else:
            waiting += stage.flops_at_most - flops
        stages.append(stage.model_copy(update=now))
    spent = charged(rows)
    budget = recorded
    if settings.budget is not None:
        budget = Budget.after(settings.budget, settings.convention)
    return Experiment(
        folder=str(folder),
        model=settings.model,
        scale=settings.scale,
        stages=stages,
        flops=spent,
        flops_at_most=spent + waiting,
        budget=None if budget is None else budget.flops,
        convention=settings.convention if budget is None else budget.convention,
        files=[],
    )
