"""The verb: price the stages of an experiment, then make them in their order by their verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import BudgetError, LvloraError
from lvlora.evaluation.evaluate import evaluate
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.answers import Experiment, ExperimentPlan, PlannedStage, Result, StageResult
from lvlora.experiment.document import document
from lvlora.experiment.plan import ZERO_SHOT, PricedStage, named_adapters, price_stages, seconds_of
from lvlora.experiment.record import Record
from lvlora.experiment.settings import ExperimentSettings, Stage, read_stages
from lvlora.flops.budget import Budget
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.flops.rows import Row
from lvlora.model import devices
from lvlora.narrator import Narrator
from lvlora.report.page import PAGE, write_page
from lvlora.settings.base import Convention
from lvlora.settings.configuration import Source
from lvlora.sweep.answers import Sweep, Trial
from lvlora.sweep.search import run_search
from lvlora.sweep.settings import SweepSettings
from lvlora.train.fine_tune import run_training
from lvlora.train.observer import Observer
from lvlora.train.run_folder import RunFolder


@dataclass
class _Work:
    """An experiment that could begin."""

    settings: ExperimentSettings
    stages: tuple[Stage, ...]
    dataset: Dataset
    data_sha256: str
    priced: tuple[PricedStage, ...]
    record: Record
    budget: Budget | None

    @property
    def convention(self) -> Convention:
        """The convention of the budget."""
        return self.settings.convention if self.budget is None else self.budget.convention

    @property
    def unfinished(self) -> list[PricedStage]:
        """Stages without a result."""
        return [p for p in self.priced if not self.record.is_done(p.stage.name)]

    def charged(self, entries: list[Row]) -> Price:
        """Sum what is charged and will stay: all but the entries of unfinished stages."""
        begun = sum((self.record.spent_on(p.stage.name, entries) for p in self.unfinished), NOTHING)
        return _charged(entries) - begun


def run_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: Narrator,
    observer: Callable[[], Observer],
) -> Experiment:
    """Make the stages that have no result yet.

    The page is written after each stage.

    Args:
        read: gives the data; called once, after the file's stages were understood.
        config: the file that names the stages.
        sources: setting → where its value came from.
        observer: gives who watches a run.

    Raises:
        SettingsError: the file is wrong, or a stage was begun with other settings.
        DataError: the record of the folder is damaged.
        BudgetError: the stages that are left may cost more than the budget has; nothing was spent.
            (Or a limit of a stage was reached before it was done.)
        RunStopped: a signal came; everything is saved, and the same call goes on.
    """
    work = _prepare(settings, read, config, sources)
    _check_budget(work)
    with work.record.held():
        record = Record.read(work.record.folder, work.stages, work.data_sha256)
        work.record = record  # as another process may have left it by now
        for number, priced in enumerate(work.priced, 1):
            stage = priced.stage
            where = f"Stage {number} of {len(work.priced)}, {stage.name}"
            if record.is_done(stage.name):
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {priced.what}.")
            with record.session(stage, work.data_sha256, priced.at_most):
                result = _make(stage, work, narrator, observer)
                record.finish(stage.name, result)
            _write(work)
        return _write(work)


def plan_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
) -> ExperimentPlan:
    """Return what `run_experiment` would do and cost at most; nothing is charged or left."""
    work = _prepare(settings, read, config, sources)
    record, budget, convention = work.record, work.budget, work.convention
    entries = record.entries()
    each, from_ledger = seconds_of(
        work.unfinished, [*Record(record.folder.parent).entries(), *entries]
    )
    seconds = {p.stage.name: s for p, s in zip(work.unfinished, each, strict=True)}
    most = work.charged(entries) + sum((p.at_most for p in work.unfinished), NOTHING)
    return ExperimentPlan(
        folder=str(record.folder),
        model=settings.model,
        stages=[
            PlannedStage(
                name=p.stage.name,
                command=p.stage.command,
                what=p.what,
                done=record.is_done(p.stage.name),
                flops_at_most=p.at_most,
                seconds=seconds.get(p.stage.name, 0.0),
            )
            for p in work.priced
        ],
        flops_at_most=sum((p.at_most for p in work.priced), NOTHING),
        charged=_charged(entries),
        budget=None if budget is None else budget.flops,
        convention=convention,
        share_of_budget=None if budget is None else most.of(convention) / budget.flops,
        seconds=sum(each),
        pace="ledger" if from_ledger else "products",
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
    record = Record.read(folder, stages, data_sha256)
    devices.set_threads(settings.threads)
    budget = Budget.after(settings.budget, settings.convention)
    if settings.budget is None and (folder / FILE_NAME).exists():
        with Ledger.for_runs(folder, create=False, reading=True) as ledger:
            budget = ledger.budget()
    priced = price_stages(stages, dataset)
    return _Work(settings, stages, dataset, data_sha256, priced, record, budget)


def _charged(entries: list[Row]) -> Price:
    return sum((row.charged for row in entries), NOTHING)


def _check_budget(work: _Work) -> None:
    if work.budget is None:
        return
    remaining = sum((p.at_most for p in work.unfinished), NOTHING).of(work.budget.convention)
    charged = work.charged(work.record.entries()).of(work.budget.convention)
    limit = work.budget.flops
    if charged + remaining > limit:
        raise BudgetError(
            f"the stages that are left may cost {remaining:,} FLOPs ({work.budget.convention}); "
            f"{max(0, limit - charged):,} of the budget of {limit:,} are there",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )


def _make(
    stage: Stage, work: _Work, narrator: Narrator, observer: Callable[[], Observer]
) -> Result:
    """Make a stage by its verb, or the rest of it.

    Raises:
        RunStopped: a signal came; everything is saved.
        BudgetError: a limit was reached before the stage was done.
        LvloraError: whatever its verb cannot do.
    """
    settings, dataset = stage.settings, work.dataset
    if isinstance(settings, EvaluateSettings):
        adapters = tuple(_adapter(name, work.record) for name in named_adapters(settings))
        scores = evaluate(
            settings.model_copy(update={"adapter": adapters}), lambda: dataset, narrator
        )
        assert scores.folder is not None
        maes = {row.name: row.mae for row in scores.forecasters}
        return Result(folder=scores.folder, forecasters=maes)
    if isinstance(settings, SweepSettings):
        search = run_search(
            settings,
            lambda: dataset,
            sources=stage.sources,
            narrator=narrator,
            observer=observer,
        )
        if search.stopped_by is not None:
            raise BudgetError(search.stopped_by, "A larger max_flops of the stage goes on.")
        best, folder = _chosen_trial(search), str(settings.runs / settings.study)
        if best is None:
            return Result(folder=folder)
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


def _adapter(name: str, record: Record) -> str:
    """Return what evaluate calls an adapter that a stage left."""
    stage, slash, _ = name.partition("/")
    if name == ZERO_SHOT or slash:
        return name if not slash else str(record.folder / name)
    result = record.stages[stage].found
    if result is None or result.adapter is None:
        raise LvloraError(
            f"stage {name} has no adapter: none of its trials came to an end",
            "The report in its folder says why; give the experiment another --out.",
        )
    return result.adapter


def _chosen_trial(search: Sweep) -> Trial | None:
    """Return the best trial of a sweep's last stage: earlier ones only choose its settings."""
    last = search.plan.stages[-1].stage
    complete = [t for t in search.table if t.stage == last and t.state == "complete"]
    valued = [t for t in complete if t.value is not None]
    return min(valued, key=lambda t: (t.value, t.trial), default=None)


def _write(work: _Work) -> Experiment:
    """Write the page of the stages that are done, and return the record."""
    record, budget = work.record, work.budget
    entries = record.entries()
    stages, charged = [], _charged(entries)
    others = charged
    for priced in work.priced:
        name = priced.stage.name
        known = record.stages.get(name)
        if known is None or known.found is None:
            continue
        spent = record.spent_on(name, entries)
        others -= spent
        stages.append(
            StageResult(
                name=name,
                command=priced.stage.command,
                flops_at_most=known.flops_at_most,
                flops=spent,
                share_of_budget=(
                    None if budget is None else spent.of(budget.convention) / budget.flops
                ),
                seconds=known.seconds,
                found=known.found,
            )
        )
    page = record.folder / PAGE
    answer = Experiment(
        folder=str(record.folder),
        scale=work.settings.scale,
        stages=stages,
        others=others,
        flops=charged,
        budget=None if budget is None else budget.flops,
        convention=work.convention,
        left=None if budget is None else budget.flops - charged.of(budget.convention),
        files=[str(page)],
    )
    write_page(page, document(answer))
    return answer
