"""The verb: price the stages of an experiment, then make them in their order by their verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlora import folders
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, LvloraError
from lvlora.evaluation.evaluate import evaluate
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.document import document
from lvlora.experiment.prices import ZERO_SHOT, named_adapters, price_stages
from lvlora.experiment.record import (
    FILE,
    Experiment,
    ExperimentPlan,
    Record,
    Result,
    StageResult,
    charged,
    entries_of,
)
from lvlora.experiment.settings import ExperimentSettings, Stage, read_stages
from lvlora.flops.ledger import entries as ledger_entries
from lvlora.flops.ledger import recorded_budget
from lvlora.flops.rows import Budget
from lvlora.model import devices
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.settings.configuration import Source
from lvlora.sweep.search import run_search
from lvlora.sweep.settings import SweepSettings
from lvlora.train.fine_tune import run_training
from lvlora.train.record import Observer
from lvlora.train.run_folder import RunFolder


@dataclass(frozen=True)
class _Work:
    """An experiment that could begin.

    Attributes:
        at_most: FLOPs that are charged and will stay, and the price bound of what is not done.
    """

    settings: ExperimentSettings
    dataset: Dataset
    data_sha256: str
    stages: tuple[Stage, ...]
    plan: ExperimentPlan
    at_most: Price

    @property
    def folder(self) -> Path:
        return Path(self.plan.folder)

    def record(self) -> Record:
        return Record.read(self.folder, self.stages, self.data_sha256)


def run_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: Narrator,
    observer: Callable[[], Observer],
) -> Experiment:
    """Make the stages that have no result yet; the page is written after each.

    Args:
        read: gives the data; called once, after the file's stages were understood.
        config: the file that names the stages.
        sources: setting → where its value came from.
        observer: gives who watches a run.

    Raises:
        SettingsError: the file is wrong, or a stage is done or begun with other settings.
        DataError: the record of the folder is damaged.
        BudgetError: the rest may cost more than the budget has; nothing was spent. (Or a limit of
            a stage was reached before it was done.)
        RunStopped: a signal came; everything is saved, and the same call goes on.
    """
    work = _prepare(settings, read, config, sources)
    folder, plan = work.folder, work.plan
    most = work.at_most.of(plan.convention)
    if plan.budget is not None and most > plan.budget:
        raise BudgetError(
            f"what is charged and the stages that are left may cost {most:,} FLOPs "
            f"({plan.convention}), and the budget is {plan.budget:,}",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    folders.claim("--out", folder, "experiment", (FILE, PAGE))
    busy = LvloraError(
        f"another process makes the experiment in {folder}", "Wait for it, or stop it first."
    )
    with folders.held(folder, busy):
        record = work.record()  # as another process may have left it by now
        for number, (stage, planned) in enumerate(zip(work.stages, plan.stages, strict=True), 1):
            where = f"Stage {number} of {len(work.stages)}, {stage.name}"
            if stage.name in record.stages:
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {planned.what}.")
            result = _make(stage, record, work, narrator, observer)
            record = record.with_result(stage, work.data_sha256, result)
            record.write(folder)
            write_page(folder / PAGE, document(_answer(work, record)))
        answer = _answer(work, record)
        write_page(folder / PAGE, document(answer))
        return answer


def plan_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
) -> ExperimentPlan:
    """Return what `run_experiment` would do and cost at most; nothing is charged or left."""
    return _prepare(settings, read, config, sources).plan


def _prepare(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    config: Path | None,
    sources: Mapping[str, Source],
) -> _Work:
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    data_sha256 = dataset.sha256()
    record = Record.read(folder, stages, data_sha256)  # refused before anything is priced
    devices.set_threads(settings.threads)
    entries = ledger_entries(folder)
    budget = Budget.after(settings.budget, settings.convention)
    if settings.budget is None:
        budget = recorded_budget(folder)
    planned = price_stages(stages, dataset, record, [*ledger_entries(folder.parent), *entries])
    rest = [stage for stage in planned if not stage.done]
    begun = sum((charged(entries_of(stage.name, entries)) for stage in rest), NOTHING)
    at_most = charged(entries) - begun + sum((s.flops_at_most for s in rest), NOTHING)
    convention = settings.convention if budget is None else budget.convention
    seconds = [stage.seconds for stage in planned if stage.seconds is not None]
    plan = ExperimentPlan(
        folder=str(folder),
        model=settings.model,
        stages=planned,
        flops_at_most=sum((stage.flops_at_most for stage in planned), NOTHING),
        charged=charged(entries),
        budget=None if budget is None else budget.flops,
        convention=convention,
        share_of_budget=None if budget is None else at_most.of(convention) / budget.flops,
        seconds=sum(seconds) if len(seconds) == len(planned) else None,
    )
    return _Work(settings, dataset, data_sha256, stages, plan, at_most)


def _make(
    stage: Stage,
    record: Record,
    work: _Work,
    narrator: Narrator,
    observer: Callable[[], Observer],
) -> Result:
    """Make a stage by its verb, or the rest of it.

    Raises:
        RunStopped: a signal came; everything is saved.
        BudgetError: a limit was reached before the stage was done.
        LvloraError: whatever its verb cannot do.
    """
    settings, dataset = stage.settings, work.dataset
    if isinstance(settings, EvaluateSettings):
        adapters = tuple(_adapter(name, work.folder, record) for name in named_adapters(settings))
        settings = settings.model_copy(update={"adapter": adapters})
        scores = evaluate(settings, lambda: dataset, narrator, stage=stage.name)
        assert scores.folder is not None
        maes = {row.name: row.mae for row in scores.forecasters}
        return Result(folder=scores.folder, forecasters=maes)
    if isinstance(settings, SweepSettings):
        search = run_search(
            settings, lambda: dataset, sources=stage.sources, narrator=narrator, observer=observer
        )
        if search.stopped_by is not None:
            raise BudgetError(search.stopped_by, "A larger max_flops of the stage goes on.")
        folder, last = str(settings.runs / settings.study), search.plan.stages[-1].stage
        # earlier parts only choose the settings of the last
        complete = [t for t in search.table if t.stage == last and t.state == "complete"]
        if not complete:
            return Result(folder=folder)
        best = min(complete, key=lambda t: (t.value, t.trial))
        return Result(
            folder=folder, mae=best.mae, loss=best.loss, steps=best.steps, adapter=best.folder
        )
    assert settings.out is not None
    if RunFolder(settings.out).config.is_file():
        settings = settings.model_copy(update={"resume": str(settings.out)})
    result = run_training(
        settings, lambda _: dataset, sources=stage.sources, observer=observer(), narrator=narrator
    )
    assert result is not None  # there is one process
    run, _ = result
    before, after = run.zero_shot, run.validation
    return Result(
        folder=run.folder,
        mae_before=None if before is None else before.mae,
        mae=None if after is None else after.mae,
        loss_before=None if before is None else before.loss,
        loss=None if after is None else after.loss,
        steps=run.steps,
        adapter=run.folder,
    )


def _adapter(name: str, folder: Path, record: Record) -> str:
    """Return what evaluate calls an adapter that a stage left."""
    if name == ZERO_SHOT:
        return name
    if "/" in name:
        return str(folder / name)
    adapter = record.stages[name].result.adapter
    if adapter is None:
        raise LvloraError(
            f"stage {name} has no adapter: none of its trials came to an end",
            "The report in its folder says why; give the experiment another --out.",
        )
    return adapter


def _answer(work: _Work, record: Record) -> Experiment:
    plan, entries = work.plan, ledger_entries(work.folder)
    stages = []
    for planned in plan.stages:
        if planned.name not in record.stages:
            continue
        own = entries_of(planned.name, entries)
        flops = charged(own)
        stages.append(
            StageResult(
                name=planned.name,
                command=planned.command,
                flops_at_most=planned.flops_at_most,
                flops=flops,
                share_of_budget=plan.budget and flops.of(plan.convention) / plan.budget,
                seconds=sum(row.seconds for row in own),
                result=record.stages[planned.name].result,
            )
        )
    total = charged(entries)
    return Experiment(
        folder=plan.folder,
        scale=work.settings.scale,
        stages=stages,
        others=total - sum((stage.flops for stage in stages), NOTHING),
        flops=total,
        budget=plan.budget,
        convention=plan.convention,
        left=None if plan.budget is None else plan.budget - total.of(plan.convention),
        files=[str(work.folder / PAGE)],
    )
