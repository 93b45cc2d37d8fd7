"""The verb: price the stages of an experiment, then make them in their order by their verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlora import folders
from lvlora.answers import NOTHING
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, LvloraError
from lvlora.evaluation.evaluate import evaluate
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.document import document
from lvlora.experiment.prices import ZERO_SHOT, PricedStage, named_adapters, price_stages
from lvlora.experiment.record import (
    FILE,
    Experiment,
    ExperimentPlan,
    PlannedStage,
    Record,
    Result,
    StageResult,
    charged,
    entries_of,
)
from lvlora.experiment.settings import ExperimentSettings, Stage, read_stages
from lvlora.flops.budget import Budget
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.flops.ledger import entries as ledger_entries
from lvlora.flops.rows import Row
from lvlora.model import devices
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.settings.base import Convention
from lvlora.settings.configuration import Source
from lvlora.sweep.search import run_search
from lvlora.sweep.settings import SweepSettings
from lvlora.train.fine_tune import run_training
from lvlora.train.record import Observer
from lvlora.train.run_folder import RunFolder


@dataclass(frozen=True)
class _Work:
    """An experiment that could begin."""

    settings: ExperimentSettings
    folder: Path
    dataset: Dataset
    data_sha256: str
    priced: tuple[PricedStage, ...]
    budget: Budget | None

    @property
    def convention(self) -> Convention:
        return self.settings.convention if self.budget is None else self.budget.convention

    def record(self) -> Record:
        return Record.read(self.folder, [p.stage for p in self.priced], self.data_sha256)

    def entries(self) -> list[Row]:
        return ledger_entries(self.folder)

    def at_most(self, record: Record) -> tuple[int, int]:
        """Return FLOPs that are charged and will stay, and the most that the other stages cost."""
        entries = self.entries()
        rest = [p for p in self.priced if p.stage.name not in record.stages]
        begun = sum((charged(entries_of(p.stage.name, entries)) for p in rest), NOTHING)
        most = sum((p.at_most for p in rest), NOTHING)
        return (charged(entries) - begun).of(self.convention), most.of(self.convention)


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
    _check_budget(work)
    folder = work.folder
    folder.mkdir(parents=True, exist_ok=True)
    folders.claim("--out", folder, "experiment", (FILE, PAGE))
    busy = LvloraError(
        f"another process makes the experiment in {folder}", "Wait for it, or stop it first."
    )
    with folders.held(folder, busy):
        record = work.record()  # as another process may have left it by now
        for number, priced in enumerate(work.priced, 1):
            stage = priced.stage
            where = f"Stage {number} of {len(work.priced)}, {stage.name}"
            if stage.name in record.stages:
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {priced.what}.")
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
    work = _prepare(settings, read, config, sources)
    record, entries, budget = work.record(), work.entries(), work.budget
    known = [*ledger_entries(work.folder.parent), *entries]
    stages = [
        PlannedStage(
            name=p.stage.name,
            command=p.stage.command,
            what=p.what,
            done=p.stage.name in record.stages,
            flops_at_most=p.at_most,
            seconds=0.0 if p.stage.name in record.stages else p.seconds(known),
        )
        for p in work.priced
    ]
    seconds = [stage.seconds for stage in stages if stage.seconds is not None]
    return ExperimentPlan(
        folder=str(work.folder),
        model=settings.model,
        stages=stages,
        flops_at_most=sum((p.at_most for p in work.priced), NOTHING),
        charged=charged(entries),
        budget=None if budget is None else budget.flops,
        convention=work.convention,
        share_of_budget=None if budget is None else sum(work.at_most(record)) / budget.flops,
        seconds=sum(seconds) if len(seconds) == len(stages) else None,
    )


def _prepare(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    config: Path | None,
    sources: Mapping[str, Source],
) -> _Work:
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    data_sha256 = dataset.sha256()
    Record.read(folder, stages, data_sha256)  # refused before anything is priced
    devices.set_threads(settings.threads)
    budget = Budget.after(settings.budget, settings.convention)
    if settings.budget is None and (folder / FILE_NAME).exists():
        with Ledger.for_runs(folder, create=False, reading=True) as ledger:
            budget = ledger.budget()
    return _Work(settings, folder, dataset, data_sha256, price_stages(stages, dataset), budget)


def _check_budget(work: _Work) -> None:
    if work.budget is None:
        return
    spent, remaining = work.at_most(work.record())
    limit = work.budget.flops
    if spent + remaining > limit:
        raise BudgetError(
            f"the stages that are left may cost {remaining:,} FLOPs ({work.convention}); "
            f"{max(0, limit - spent):,} of the budget of {limit:,} are there",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )


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
    entries, budget = work.entries(), work.budget
    stages = []
    for priced in work.priced:
        stage = priced.stage
        if stage.name not in record.stages:
            continue
        own = entries_of(stage.name, entries)
        share = None if budget is None else charged(own).of(budget.convention) / budget.flops
        stages.append(
            StageResult(
                name=stage.name,
                command=stage.command,
                flops_at_most=priced.at_most,
                flops=charged(own),
                share_of_budget=share,
                seconds=sum(row.seconds for row in own),
                result=record.stages[stage.name].result,
            )
        )
    total = charged(entries)
    return Experiment(
        folder=str(work.folder),
        scale=work.settings.scale,
        stages=stages,
        others=total - sum((stage.flops for stage in stages), NOTHING),
        flops=total,
        budget=None if budget is None else budget.flops,
        convention=work.convention,
        left=None if budget is None else budget.flops - total.of(budget.convention),
        files=[str(work.folder / PAGE)],
    )
