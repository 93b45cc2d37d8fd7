"""The verb: the stages of an experiment are priced, made one after the other, and told."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlora import durable
from lvlora.errors import BudgetError
from lvlora.experiment.answers import Experiment, ExperimentPlan, PlannedStage, StageResult
from lvlora.experiment.plan import Planned, plan_stages, seconds_of
from lvlora.experiment.record import ACCOUNTING, Record
from lvlora.experiment.stages import make
from lvlora.flops.budget import NOTHING, Budget, Price
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.flops.limits import asked
from lvlora.flops.rows import Row
from lvlora.model import devices
from lvlora.report.experiment.page import write_experiment_page
from lvlora.report.page import PAGE
from lvlora.series.dataset import Dataset
from lvlora.settings.base import Convention
from lvlora.settings.configuration import Source
from lvlora.settings.experiment import ExperimentSettings, Stage, read_stages
from lvlora.sweep.narrator import SweepNarrator
from lvlora.train.observer import Observer


@dataclass
class _Prepared:
    """An experiment that could begin."""

    settings: ExperimentSettings
    stages: tuple[Stage, ...]
    dataset: Dataset
    data_sha256: str
    planned: tuple[Planned, ...]
    record: Record

    def read_record(self) -> None:
        """Read experiment.json again."""
        self.record = Record.read(self.record.folder, self.stages, self.data_sha256)

    @property
    def budget(self) -> Budget | None:
        """The limit of the whole: the setting, else what the ledger of the folder keeps."""
        folder = self.record.folder
        if self.settings.budget is not None:
            return asked(self.settings.budget, self.settings.convention)
        if not (folder / FILE_NAME).exists():
            return None
        with Ledger.for_runs(folder, create=False, reading=True) as ledger:
            return ledger.budget()

    @property
    def convention(self) -> Convention:
        """The convention of the budget."""
        budget = self.budget
        return self.settings.convention if budget is None else budget.convention

    @property
    def unfinished(self) -> list[Planned]:
        """Stages without a result."""
        return [p for p in self.planned if not self.record.is_done(p.stage.name)]

    def at_most(self, entries: list[Row]) -> Price:
        """The most that the ledger will charge in the end."""
        spent = sum((self.record.spent_on(p.stage.name, entries) for p in self.unfinished), NOTHING)
        return _charged(entries) - spent + sum((p.at_most for p in self.unfinished), NOTHING)


def run_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
    narrator: SweepNarrator,
    observer: Callable[[], Observer],
) -> Experiment:
    """Make the stages that have no result yet.

    The accounting and the page are written after each stage.

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
    experiment = _prepare(settings, read, config, sources)
    _check_budget(experiment)
    with experiment.record.held():
        experiment.read_record()  # another process may have been at it until now
        record = experiment.record
        for number, planned in enumerate(experiment.planned, 1):
            stage = planned.stage
            where = f"Stage {number} of {len(experiment.planned)}, {stage.name}"
            if record.is_done(stage.name):
                narrator.note(f"{where}: is done.")
                continue
            narrator.note(f"{where}: lvlora {stage.command}, {planned.what}.")
            results = {n: r.found for n, r in record.stages.items() if r.found is not None}
            with record.session(stage, experiment.data_sha256, planned.at_most):
                result = make(stage, experiment.dataset, results, narrator, observer)
                record.finish(stage.name, result)
            _write(experiment)
        return _write(experiment)


def plan_experiment(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    *,
    config: Path | None,
    sources: Mapping[str, Source],
) -> ExperimentPlan:
    """Say what `run_experiment` would do and cost at most; nothing is opened, charged or left."""
    experiment = _prepare(settings, read, config, sources)
    record, budget = experiment.record, experiment.budget
    entries = record.entries()
    beside = Record(record.folder.parent).entries()
    each, is_known = seconds_of(experiment.unfinished, [*beside, *entries])
    names = [p.stage.name for p in experiment.unfinished]
    seconds = dict(zip(names, each, strict=True))
    most = experiment.at_most(entries).of(experiment.convention)
    return ExperimentPlan(
        folder=str(record.folder),
        model=experiment.stages[0].settings.model,
        stages=[
            PlannedStage(
                name=p.stage.name,
                command=p.stage.command,
                what=p.what,
                done=record.is_done(p.stage.name),
                flops_at_most=p.at_most.as_answer(),
                seconds=seconds.get(p.stage.name, 0.0),
            )
            for p in experiment.planned
        ],
        flops_at_most=sum((p.at_most for p in experiment.planned), NOTHING).as_answer(),
        charged=_charged(entries).as_answer(),
        budget=None if budget is None else budget.flops,
        convention=experiment.convention,
        share_of_budget=None if budget is None else most / budget.flops,
        seconds=sum(each),
        pace="ledger" if is_known else "products",
    )


def _prepare(
    settings: ExperimentSettings,
    read: Callable[[], Dataset],
    config: Path | None,
    sources: Mapping[str, Source],
) -> _Prepared:
    folder, stages = read_stages(settings, sources, config)
    dataset = read()
    data_sha256 = dataset.sha256()
    record = Record.read(folder, stages, data_sha256)
    devices.set_threads(settings.threads)
    planned = plan_stages(stages, dataset)
    return _Prepared(settings, stages, dataset, data_sha256, planned, record)


def _charged(entries: list[Row]) -> Price:
    return sum((row.charged for row in entries), NOTHING)


def _check_budget(experiment: _Prepared) -> None:
    budget, entries = experiment.budget, experiment.record.entries()
    if budget is None:
        return
    left = sum((p.at_most for p in experiment.unfinished), NOTHING).of(budget.convention)
    before = experiment.at_most(entries).of(budget.convention) - left
    if before + left > budget.flops:
        raise BudgetError(
            f"the stages that are left may cost {left:,} FLOPs ({budget.convention}); of the "
            f"budget of {budget.flops:,} there are {max(0, budget.flops - before):,}",
            "--dry-run shows what each may cost; a smaller --scale, if the file has one, or "
            "another --budget helps.",
        )


def _write(experiment: _Prepared) -> Experiment:
    """Write the accounting and the page of what is done, and answer."""
    record, budget = experiment.record, experiment.budget
    with Ledger.for_runs(record.folder) as ledger:
        table, entries = ledger.table(), ledger.rows()
    stages, others = [], _charged(entries)
    for planned in experiment.planned:
        stage = planned.stage
        known = record.stages.get(stage.name)
        if known is None or known.found is None:
            continue
        spent = record.spent_on(stage.name, entries)
        others -= spent
        stages.append(
            StageResult(
                name=stage.name,
                command=stage.command,
                flops_at_most=known.flops_at_most,
                flops=spent.as_answer(),
                share_of_budget=(
                    None if budget is None else spent.of(budget.convention) / budget.flops
                ),
                seconds=known.seconds,
                found=known.found,
            )
        )
    charged = _charged(entries)
    files = [record.folder / ACCOUNTING, record.folder / PAGE]
    answer = Experiment(
        folder=str(record.folder),
        scale=experiment.settings.scale,
        stages=stages,
        others=others.as_answer(),
        flops=charged.as_answer(),
        budget=None if budget is None else budget.flops,
        convention=experiment.convention,
        left=None if budget is None else budget.flops - charged.of(budget.convention),
        files=[str(file) for file in files],
    )
    durable.write_text(files[0], _accounting(answer))
    write_experiment_page(
        files[1],
        answer.model_dump(mode="json"),
        n_stages=len(experiment.planned),
        ledger=table.model_dump(mode="json"),
    )
    return answer


def _accounting(answer: Experiment) -> str:
    """A row a stage, one of all others, and one of all, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    most, spent = ("executed_at_most", "coursework_at_most"), ("executed", "coursework")
    writer.writerow(["stage", "command", *most, *spent, "share_of_budget", "seconds"])

    def share(flops: int) -> str:
        return "" if not answer.budget else f"{flops / answer.budget:.6g}"

    for stage in answer.stages:
        planned, flops = stage.flops_at_most, stage.flops
        writer.writerow(
            [
                *(stage.name, stage.command, planned.executed, planned.coursework),
                *(flops.executed, flops.coursework),
                *(share(getattr(flops, answer.convention)), f"{stage.seconds:.1f}"),
            ]
        )
    for name, flops in (("others", answer.others), ("all", answer.flops)):
        counts = (flops.executed, flops.coursework)
        writer.writerow([name, "", "", "", *counts, share(getattr(flops, answer.convention)), ""])
    return text.getvalue()
