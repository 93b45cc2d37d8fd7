"""The verb: the stages of an experiment are priced, made one after the other, and told."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lvlora import durable
from lvlora.errors import BudgetError
from lvlora.experiment.answers import Experiment, ExperimentPlan, PlannedStage, StageResult
from lvlora.experiment.plan import Planned, plan_stages
from lvlora.experiment.record import ACCOUNTING, Record
from lvlora.experiment.stages import make
from lvlora.experiment.timing import time_stages
from lvlora.flops.budget import NOTHING, Budget, Price
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.flops.limits import asked
from lvlora.forecast.estimate import PICTURES_BYTES
from lvlora.model import devices
from lvlora.narrator import Narrator
from lvlora.report.experiment.page import write_experiment_page
from lvlora.report.page import PAGE
from lvlora.series.dataset import Dataset
from lvlora.settings.configuration import Source
from lvlora.settings.experiment import ExperimentSettings, Stage, read_stages
from lvlora.sweep.narrator import SweepNarrator
from lvlora.train.observer import Observer


def run_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: SweepNarrator,
    observer: Callable[[], Observer],
) -> Experiment:
    """Make the stages that are left; those that are done are skipped.

    The accounting and the page are written after each stage.

    Args:
        read: gives the data; asked once, after the file's stages were understood.
        config: the file that names the stages.
        sources: setting → where its value came from.
        observer: gives who watches a run.

    Raises:
        SettingsError: the file is wrong, or a stage was begun with other settings.
        BudgetError: the stages that are left may cost more than the budget has; nothing was spent.
            (Or a limit of a stage was reached before it was done.)
        RunStopped: a signal came; everything is saved, and the same call goes on.
    """
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    data_sha256 = dataset.sha256()
    record = _checked(folder, stages, data_sha256)
    devices.set_threads(settings.threads)
    planned = plan_stages(stages, dataset)
    _check_budget(settings, record, planned)
    with record.held():
        # another process may have been at it until now
        record = _checked(folder, stages, data_sha256)
        for number, of_one in enumerate(planned, 1):
            stage = of_one.stage
            where = f"Stage {number} of {len(planned)}, {stage.name}"
            if record.is_done(stage.name):
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {of_one.what}.")
            with record.working_on(stage, data_sha256, _charged(folder), of_one.at_most) as kept:
                found = {name: k.found for name, k in record.stages.items() if k.found is not None}
                kept.found = make(stage, dataset, found, narrator, observer)
                kept.after = _charged(folder)
            _tell(settings, record, planned)
        return _tell(settings, record, planned)


def plan_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: Narrator,
) -> ExperimentPlan:
    """What `run_experiment` would do and cost at most, and how long it would take here.

    No weights are opened, and nothing is charged or left: time and memory are those of small models
    of the same widths, grown to the model's layers.
    """
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    record = _checked(folder, stages, dataset.sha256())
    devices.set_threads(settings.threads)
    planned = plan_stages(stages, dataset)
    left = [p for p in planned if not record.is_done(p.stage.name)]
    narrator.detail("Measuring a few steps and forecasts of each stage …")
    timing = time_stages(left)
    if timing is None:
        narrator.note("Models of this kind cannot be stood in for: time was not measured.")
    names = [p.stage.name for p in left]
    seconds = {} if timing is None else dict(zip(names, timing.seconds, strict=True))
    budget, charged = _budget(settings, folder), _charged(folder)
    to_come = _before_next(record, planned, charged) + _left(record, planned)
    whole = None if timing is None else timing.whole.with_room(PICTURES_BYTES).answer()
    return ExperimentPlan(
        folder=str(folder),
        model=stages[0].settings.model,
        stages=[
            PlannedStage(
                name=p.stage.name,
                command=p.stage.command,
                what=p.what,
                done=record.is_done(p.stage.name),
                flops_at_most=p.at_most.as_answer(),
                seconds=0.0 if record.is_done(p.stage.name) else seconds.get(p.stage.name),
            )
            for p in planned
        ],
        flops_at_most=sum((p.at_most for p in planned), NOTHING).as_answer(),
        charged=charged.as_answer(),
        budget=None if budget is None else budget.flops,
        convention=settings.convention if budget is None else budget.convention,
        share_of_budget=None if budget is None else to_come.of(budget.convention) / budget.flops,
        estimate=whole,
    )


def _checked(folder: Path, stages: Sequence[Stage], data_sha256: str) -> Record:
    """What is kept of the stages; SettingsError where one was begun otherwise."""
    record = Record.read(folder)
    for stage in stages:
        record.check(stage, data_sha256)
    return record


def _budget(settings: ExperimentSettings, folder: Path) -> Budget | None:
    """The limit of the whole: as is said, else as the ledger of the folder keeps it."""
    if settings.budget is not None:
        return asked(settings.budget, settings.convention)
    if not (folder / FILE_NAME).exists():
        return None
    with Ledger.for_runs(folder) as ledger:
        return ledger.budget()


def _charged(folder: Path) -> Price:
    if not (folder / FILE_NAME).exists():
        return NOTHING
    with Ledger.for_runs(folder) as ledger:
        return ledger.charged()


def _before_next(record: Record, planned: Sequence[Planned], charged: Price) -> Price:
    """What was charged before the first stage that is not done was begun."""
    for of_one in planned:
        if not record.is_done(of_one.stage.name):
            kept = record.stages.get(of_one.stage.name)
            return charged if kept is None else kept.before
    return charged


def _left(record: Record, planned: Sequence[Planned]) -> Price:
    """The most that stages cost which are not done."""
    left = (p.at_most for p in planned if not record.is_done(p.stage.name))
    return sum(left, NOTHING)


def _check_budget(settings: ExperimentSettings, record: Record, planned: Sequence[Planned]) -> None:
    budget = _budget(settings, record.folder)
    if budget is None:
        return
    before = _before_next(record, planned, _charged(record.folder)).of(budget.convention)
    left = _left(record, planned).of(budget.convention)
    if before + left > budget.flops:
        raise BudgetError(
            f"the stages that are left may cost {left:,} FLOPs ({budget.convention}); of the "
            f"budget of {budget.flops:,} there are {max(0, budget.flops - before):,}",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )


def _tell(settings: ExperimentSettings, record: Record, planned: Sequence[Planned]) -> Experiment:
    """Write the accounting and the page of what is done, and answer."""
    folder, budget = record.folder, _budget(settings, record.folder)
    with Ledger.for_runs(folder) as ledger:
        table, charged = ledger.table(), ledger.charged()
    results = []
    for of_one in planned:
        kept = record.stages.get(of_one.stage.name)
        if kept is None or kept.found is None or kept.spent is None:
            continue
        share = None if budget is None else kept.spent.of(budget.convention) / budget.flops
        results.append(
            StageResult(
                name=of_one.stage.name,
                command=of_one.stage.command,
                flops_at_most=kept.at_most.as_answer(),
                flops=kept.spent.as_answer(),
                share_of_budget=share,
                seconds=kept.seconds,
                found=kept.found,
            )
        )
    durable.write_text(folder / ACCOUNTING, _accounting(results, charged, budget))
    # of two that are kept in one folder the later one's record is there
    scored = {r.found.folder: r.name for r in results if r.command == "evaluate"}
    write_experiment_page(
        folder / PAGE,
        name=folder.name,
        stages=[result.model_dump(mode="json") for result in results],
        n_stages=len(planned),
        ledger=table.model_dump(mode="json"),
        evaluations={name: Path(where) for where, name in scored.items()},
    )
    convention = settings.convention if budget is None else budget.convention
    return Experiment(
        folder=str(folder),
        scale=settings.scale,
        stages=results,
        flops=charged.as_answer(),
        budget=None if budget is None else budget.flops,
        convention=convention,
        left=None if budget is None else budget.flops - charged.of(convention),
        files=[str(folder / ACCOUNTING), str(folder / PAGE)],
    )


def _accounting(results: Sequence[StageResult], charged: Price, budget: Budget | None) -> str:
    """A row a stage and one of all, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("stage", "command", "executed_at_most", "coursework_at_most"),
            *("executed", "coursework", "share_of_budget", "seconds"),
        ]
    )
    for r in results:
        most, spent, share = r.flops_at_most, r.flops, r.share_of_budget
        writer.writerow(
            [
                *(r.name, r.command, most.executed, most.coursework),
                *(spent.executed, spent.coursework),
                *("" if share is None else f"{share:.6g}", f"{r.seconds:.1f}"),
            ]
        )
    most_of_all = [
        sum(r.flops_at_most.executed for r in results),
        sum(r.flops_at_most.coursework for r in results),
    ]
    share = None if budget is None else charged.of(budget.convention) / budget.flops
    seconds = sum(r.seconds for r in results)
    writer.writerow(
        [
            *("all", "", *most_of_all, charged.executed, charged.coursework),
            *("" if share is None else f"{share:.6g}", f"{seconds:.1f}"),
        ]
    )
    return text.getvalue()
