"""The verb: forecasters side by side on one part of a data set, kept, compared and told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lvlora import output_files
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.evaluation import comparison, coverage
from lvlora.evaluation.answers import EvaluatedData, Evaluation
from lvlora.evaluation.candidates import Candidate
from lvlora.evaluation.folder import SERIES, TABLE
from lvlora.evaluation.foreign import score_foreign
from lvlora.evaluation.job import Job, begin, prepare
from lvlora.evaluation.record import record_of, table_of, table_of_series
from lvlora.evaluation.report import draw_evaluation
from lvlora.evaluation.scores import (
    Entry,
    Hindsight,
    Scoring,
    learnable,
    rivals_of,
    score_ensemble,
    score_floor,
)
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.ensemble import N_HINDCASTS
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.open_model import warn_of_reading
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.rivals import Rival
from lvlora.forecast.rivals.forecaster import RivalForecaster
from lvlora.forecast.rivals.processes import RivalProcesses
from lvlora.forecast.usage import reserved
from lvlora.model.devices import cores
from lvlora.narrator import Narrator, Silent
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.text.scaling import Scale


def evaluate(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
    *,
    stage: str = "",
) -> Evaluation:
    """Score what the settings name on a data set, as ``lvlora evaluate`` and ``baseline`` do.

    What models may spend is reserved in the ledger before each begins, and what they spent settled
    after it. In the folder each forecaster's series are kept as they are finished: the same call
    goes on from there, and writes the record, the tables and the page at the end.

    Args:
        read: gives all of the data, once the settings were found to go together; it is split by
            its series' names.
        narrator: told what happens; None tells nobody.
        stage: of an experiment, which the ledger's entries name.

    Raises:
        SettingsError: options that don't go together; the folder holds something else.
        DataError: no series is long enough.
        ModelError: a model that was named is not there, or has no calibration.
        BudgetError: a model would pass a limit; what was finished before it is kept.
    """
    narrator = narrator or Silent()
    job, chosen = begin(settings, read, narrator)
    with job.folder.held(), _interruptible(job, narrator):
        foreign = score_foreign(job, narrator)
        entries, decimals, scale = _score_models(job, chosen, narrator, stage)
        if settings.rivals:
            entries += score_rivals(job, settings.workers or cores(), narrator)
        if settings.ensemble:
            n_samples = job.rival_samples
            entries.append(score_ensemble(entries, job.task, settings.quantiles, n_samples))
        entries += foreign
        if settings.rivals:
            entries.append(score_floor(job.task, decimals, settings.quantiles, scale))
        return finish(job, entries)


def evaluate_open(
    settings: EvaluateSettings,
    data: Dataset,
    forecasters: Sequence[LanguageModel],
    narrator: Narrator,
) -> Evaluation:
    """Score open forecasters as `evaluate` does, without a folder and without a charge.

    Raises:
        DataError: no series is long enough.
    """
    job = prepare(settings, data, narrator, has_folder=False)
    levels = settings.quantiles
    entries = [Scoring(one, job.task, job.sampling).run(levels) for one in forecasters]
    if settings.rivals:
        entries += score_rivals(job, settings.workers or cores(), narrator)
        first = forecasters[0]
        entries.append(score_floor(job.task, first.decimals, levels, first.scale))
    return finish(job, entries)


def _score_models(
    job: Job, chosen: Sequence[Candidate], narrator: Narrator, stage: str
) -> tuple[list[Entry], int, Scale | None]:
    """Entries, and the first model's decimals and scale, by which the floor is rounded."""
    settings, task, sampling = job.settings, job.task, job.sampling
    decimals = DEFAULT_DECIMALS if settings.decimals is None else settings.decimals
    scale: Scale | None = None
    entries: list[Entry] = []
    spent: dict[str, Price] = {}
    notes: set[str] = set()
    for i, candidate in enumerate(chosen):
        forecaster = candidate.open(settings)
        name = candidate.name(forecaster, (*spent, *settings.forecast_files))
        identity = candidate.identity(forecaster, sampling)
        scoring = Scoring(forecaster, task, sampling, job.folder.pieces(name, identity))
        warn_of_reading(
            forecaster,
            [task.histories[i] for i in scoring.left],
            scoring.planned.readings,
            task.protocol.horizon,
            narrator,
            variables=task.variables,
            known=job.data.known,
            shown=notes,
        )
        if len(scoring.left) < len(task.ids):
            n_finished = len(task.ids) - len(scoring.left)
            narrator.note(f"{name}: {n_finished} series were finished before.")
        if i == 0:
            decimals, scale = forecaster.decimals, forecaster.scale
        calibration = coverage.calibration_for(candidate, forecaster, job, narrator)
        before = forecaster.usage.price
        with _reserved(job, forecaster, scoring, name, spent, narrator, stage) as advance:
            entry = scoring.run(settings.quantiles, advance, name=name)
        spent[name] = forecaster.usage.price - before
        entry.training_price = candidate.training_price
        if settings.ensemble:
            pieces = job.folder.pieces(f"{name}, past", {**identity, "past": N_HINDCASTS})
            hindsight = Hindsight([forecaster] * N_HINDCASTS, task, sampling, pieces)
            title = f"{name}, past"
            with _reserved(job, forecaster, hindsight, title, spent, narrator, stage) as advance:
                entry.past = hindsight.run(advance)
            spent[name] = forecaster.usage.price - before
        if calibration is not None:
            entry.calibrated_coverage = coverage.coverage(
                entry, job.task, calibration, settings.quantiles
            )
        if settings.calibrate:
            coverage.keep_calibration(entry, candidate, forecaster, job, narrator)
        entries.append(entry)
    return entries, decimals, scale


@contextlib.contextmanager
def _reserved(
    job: Job,
    forecaster: LanguageModel,
    work: Scoring | Hindsight,
    title: str,
    spent: Mapping[str, Price],
    narrator: Narrator,
    stage: str,
) -> Iterator[Callable[[int], None] | None]:
    """Reserve what a model's work costs at most and count it; neither where nothing is left of it.

    Args:
        spent: by all models so far, out of one --max-flops.
    """
    if not work.n_units:
        yield None
        return
    limits = _left_of(job.settings, spent)
    with (
        reserved(limits, forecaster, work.price_bound, command=job.settings.command, stage=stage),
        narrator.counted(title, work.n_units) as advance,
    ):
        yield advance


def _left_of(settings: EvaluateSettings, spent: Mapping[str, Price]) -> EvaluateSettings:
    """The settings with what other models have left of --max-flops, which is that of all."""
    if settings.max_flops is None:
        return settings
    already = sum(spent.values(), NOTHING).of(settings.convention)
    return settings.model_copy(update={"max_flops": settings.max_flops - already})


def _identity(rival: Rival) -> dict[str, Any]:
    """Facts that decide a rival's forecasts of the histories."""
    season = {"season": rival.season} if rival.uses_season and rival.season != "auto" else {}
    return {"rival": rival.name, **season}


def score_rivals(job: Job, n_processes: int, narrator: Narrator) -> list[Entry]:
    """All rivals that apply, the slow ones shared among so many processes."""
    task, sampling = job.task, job.sampling
    rivals, others = rivals_of(task, job.train)
    if others:
        narrator.note(others)
    if not rivals:
        return []
    whole = task.learnable(job.train)
    parts = learnable(task, job.train) if job.settings.ensemble else []
    with RivalProcesses(n_processes) as processes:
        work = []
        for rival in rivals:
            identity = {**_identity(rival), "samples": job.rival_samples}
            pieces = job.folder.pieces(rival.name, identity)
            scoring = Scoring(RivalForecaster(rival, processes, whole), task, sampling, pieces)
            hindsight = None
            if job.settings.ensemble and rival.takes_part:
                identity = {**_identity(rival), "past": N_HINDCASTS}
                pieces = job.folder.pieces(f"{rival.name}, past", identity)
                forecasters = [RivalForecaster(rival, processes, part) for part in parts]
                hindsight = Hindsight(forecasters, task, sampling, pieces)
            work.append((scoring, hindsight))
        n_units = sum(one.n_units for both in work for one in both if one is not None)
        entries = []
        with narrator.counted("Rivals", n_units) as advance:
            for scoring, hindsight in work:
                entry = scoring.run(job.settings.quantiles, advance)
                entry.past = None if hindsight is None else hindsight.run(advance)
                entries.append(entry)
    return entries


def finish(job: Job, entries: Sequence[Entry]) -> Evaluation:
    """Compare the forecasters, write what is to be written, and say what was found."""
    settings, task = job.settings, job.task
    comparison.compare(entries, settings.seed, task.of_series)
    names = comparison.by_cluster(entries, task, job.clusters)
    record = record_of(
        entries,
        task,
        command=job.settings.command,
        protocol_name=settings.protocol_name,
        data=EvaluatedData(
            source=job.data.source,
            time=job.data.time_name,
            sha256=job.data_sha256,
            split_seed=job.split.seed,
            stratified=settings.stratify,
            split_sha256=job.split.sha256,
            known=job.data.known,
        ),
        settings=_told(settings),
        quantiles=settings.quantiles,
        clusters={name: sum(job.clusters[i] == name for i in task.of_series) for name in names},
        key=job.folder.key,
    )
    table, files = table_of(record), []
    if job.folder.path is not None:
        each = table_of_series(entries, task, job.clusters)
        tables = {TABLE: table, SERIES: each, "split.json": job.split.to_json()}
        files = job.folder.write(record, tables)
        files += draw_evaluation(job.folder.path, record)
    if settings.output is not None and settings.output != STANDARD_OUTPUT:
        output_files.write_text(settings.output, table)
        files.append(settings.output)
    return Evaluation(
        **dict(record),
        folder=None if job.folder.path is None else str(job.folder.path),
        files=[str(path) for path in files],
    )


@contextlib.contextmanager
def _interruptible(job: Job, narrator: Narrator) -> Iterator[None]:
    """Say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if job.folder.path is not None:
            narrator.hint("The same command goes on from the series that are finished.")
        raise


def _told(settings: EvaluateSettings) -> dict[str, object]:
    deciding = settings.deciding("result", "model", "placement", "limit", "resources")
    return {
        name: value
        for name, value in deciding.items()
        if name not in _TOLD_ELSEWHERE and value is not None
    }


_TOLD_ELSEWHERE = (
    *("split_seed", "stratify", "split", "protocol", "context", "horizon"),
    *("windows", "stride", "holdout"),
)
"""Settings that the record's protocol and data tell."""
