"""The verb: forecasters side by side on one part of a data set, priced, scored and compared."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import output_files
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.evaluation import comparison, coverage
from lvlora.evaluation.answers import Evaluation
from lvlora.evaluation.document import draw_evaluation
from lvlora.evaluation.folder import SERIES, TABLE
from lvlora.evaluation.foreign import score_foreign
from lvlora.evaluation.job import Candidate, Job, begin, prepare
from lvlora.evaluation.record import record_of, table_of, table_of_series
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
from lvlora.flops import ledger
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.estimate import (
    FORECASTING,
    Benchmark,
    benchmark_forecasts,
    ledger_rate,
    price_answer,
)
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.open_model import warn_of_reading
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.pricing import reserved
from lvlora.forecast.rivals.parts.futures import N_HINDCASTS
from lvlora.forecast.workers import WORTH_SECONDS, processes
from lvlora.model.devices import cores
from lvlora.narrator import Narrator, Silent
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.text.scaling import Scale

_TIMED_SERIES = 4
"""Series on which rivals are timed; a slow rival's time differs by series."""
_TIMED_SECONDS = 1.0
"""Seconds after which no more series of a slow rival are timed."""


def evaluate(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
    *,
    stage: str = "",
    has_page: bool = True,
) -> Evaluation:
    """Score what the settings name on a data set, as ``lvlora evaluate`` and ``baseline`` do.

    The price bound of each model is reserved in the ledger before its work, and its spending
    settled after it. The folder keeps each forecaster's series as they are finished: the same call
    goes on from there, and writes the record, the tables and the page at the end.

    Args:
        read: gives all of the data; it is split by its series' names.
        narrator: shows progress and notes; None for nobody.
        stage: of an experiment, which the ledger's entries name.
        has_page: draw the figures and the page, which `rebuild` makes of the record later.

    Raises:
        SettingsError: options that don't go together; the folder holds something else.
        DataError: no series is long enough.
        ModelError: a model is missing, or has no calibration.
        BudgetError: a model would pass a limit; what was finished before it is kept.
    """
    narrator = narrator or Silent()
    job, chosen = begin(settings, read, narrator)
    with job.folder.held():
        try:
            foreign = score_foreign(job, narrator)
            entries, decimals, scale = _score_models(job, chosen, narrator, stage)
            if settings.rivals:
                entries += _score_rivals(job, narrator)
            if settings.ensemble:
                n_samples = job.rival_samples
                entries.append(score_ensemble(entries, job.task, settings.quantiles, n_samples))
            entries += foreign
            if settings.rivals:
                entries.append(score_floor(job.task, decimals, settings.quantiles, scale))
            return _finish(job, entries, has_page=has_page)
        except KeyboardInterrupt:
            if job.folder.path is not None:
                narrator.hint("The same command goes on from the series that are finished.")
            raise


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
    levels, first = settings.quantiles, forecasters[0]
    entries = [Scoring(one, job.task, job.sampling).run(levels) for one in forecasters]
    if settings.rivals:
        entries += _score_rivals(job, narrator)
        entries.append(score_floor(job.task, first.decimals, levels, first.scale))
    return _finish(job, entries)


def price(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
    *,
    began: float | None = None,
) -> ForecastPrice:
    """Return cost, time and memory of `evaluate`; nothing is charged and nothing written.

    Args:
        began: start of the command by `time.perf_counter`; default: now.
    """
    narrator, began = narrator or Silent(), time.perf_counter() if began is None else began
    job, chosen = begin(settings, read, narrator, has_folder=False)
    task, sampling = job.task, job.sampling
    started = time.perf_counter() - began
    prices: dict[str, Price] = {}
    benchmarks: dict[str, Benchmark] = {}
    rows = ledger.entries(settings.runs)
    for candidate in chosen:
        opened = time.perf_counter()
        forecaster = candidate.open(settings)
        started += time.perf_counter() - opened
        name = candidate.name(forecaster, prices)
        prices[name] = _price_bound(job, forecaster)
        benchmarks[name] = benchmark_forecasts(
            forecaster,
            task.histories,
            task.protocol.horizon,
            sampling,
            rate=ledger_rate(rows, FORECASTING, forecaster.base),
        )
    if settings.rivals:
        # a rival's futures take hindcasts from three origins, so that two more parts are as much
        # again at most
        started += _rivals_seconds(job) * (2 if settings.ensemble else 1)
    known_costs = benchmarks if chosen or settings.rivals else None
    return price_answer(prices, known_costs, started, n_series=len(task.histories), draws=True)


def price_bound(
    settings: EvaluateSettings, read: Callable[[], Dataset], narrator: Narrator
) -> tuple[Price, int]:
    """Return the most that `evaluate` can spend, and the number of series."""
    job, chosen = begin(settings, read, narrator, has_folder=False)
    bounds = [_price_bound(job, candidate.open(settings)) for candidate in chosen]
    return sum(bounds, NOTHING), job.task.n_series


def _price_bound(job: Job, forecaster: LanguageModel) -> Price:
    bound = Scoring(forecaster, job.task, job.sampling).price_bound
    if job.settings.ensemble:
        bound += Hindsight([forecaster] * N_HINDCASTS, job.task, job.sampling).price_bound
    return bound


def _rivals_seconds(job: Job) -> float:
    """Time all rivals that apply on a few histories; processes share what is slow."""
    task, workers = job.task, job.settings.workers or cores()
    n = len(task.histories)
    chosen = [
        task.histories[i] for i in np.unique(np.linspace(0, n - 1, _TIMED_SERIES).astype(int))
    ]
    horizons = [task.protocol.horizon] * len(chosen)
    seconds, seen = 0.0, task.learnable(job.train)
    for rival in rivals_of(task, job.train)[0]:
        forecaster = rival.learning_from(seen)
        spent, n_timed = 0.0, 0
        for part in forecaster.planned(chosen, horizons, job.sampling).parts():
            if not part.places:
                seconds += part.seconds
                continue
            spent, n_timed = spent + part.seconds, n_timed + 1
            if spent > _TIMED_SECONDS:
                break
        forecasts = spent * n / n_timed
        seconds += forecasts / (workers if forecasts > WORTH_SECONDS else 1)
    return seconds


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
            [task.histories[i] for i in scoring.unfinished],
            scoring.planned.readings,
            task.protocol.horizon,
            narrator,
            variables=task.variables,
            known=job.data.known,
            shown=notes,
        )
        if len(scoring.unfinished) < len(task.ids):
            n_finished = len(task.ids) - len(scoring.unfinished)
            narrator.note(f"{name}: {n_finished} series were finished before.")
        if i == 0:
            decimals, scale = forecaster.decimals, forecaster.scale
        calibration = coverage.calibration_for(candidate, forecaster, job, narrator)
        before = forecaster.usage.price
        with _reserved(job, forecaster, scoring, name, spent, narrator, stage) as advance:
            entry = scoring.run(settings.quantiles, advance, name=name)
        spent[name] = forecaster.usage.price - before
        entry.add(training_flops=candidate.training_price)
        if settings.ensemble:
            pieces = job.folder.pieces(f"{name}, past", {**identity, "past": N_HINDCASTS})
            hindsight = Hindsight([forecaster] * N_HINDCASTS, task, sampling, pieces)
            title = f"{name}, past"
            with _reserved(job, forecaster, hindsight, title, spent, narrator, stage) as advance:
                entry.past = hindsight.run(advance)
            spent[name] = forecaster.usage.price - before
        if calibration is not None:
            covered = coverage.coverage(entry, task, calibration, settings.quantiles)
            entry.add(calibrated_coverage=covered)
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
    """Reserve what a model's work costs at most and count it; neither where all is finished.

    Args:
        spent: by all models so far, out of one --max-flops.
    """
    if not work.n_units:
        yield None
        return
    settings = job.settings
    if settings.max_flops is not None:  # the limit of all models together
        already = sum(spent.values(), NOTHING).of(settings.convention)
        settings = settings.model_copy(update={"max_flops": settings.max_flops - already})
    with (
        reserved(settings, forecaster, work.price_bound, command=settings.command, stage=stage),
        narrator.counted(title, work.n_units) as advance,
    ):
        yield advance


def _score_rivals(job: Job, narrator: Narrator) -> list[Entry]:
    """Score all rivals that apply; processes share the slow ones."""
    task, settings = job.task, job.settings
    rivals, others = rivals_of(task, job.train)
    if others:
        narrator.note(others)
    if not rivals:
        return []
    all_seen = task.learnable(job.train)
    seen = learnable(task, job.train) if settings.ensemble else []
    with processes(settings.workers or cores()):
        work: list[tuple[Scoring, Hindsight | None]] = []
        for rival in rivals:
            name, hindsight = rival.name, None
            identity: dict[str, Any] = {"rival": name}
            if rival.uses_season and rival.season != "auto":
                identity["season"] = rival.season
            pieces = job.folder.pieces(name, {**identity, "samples": job.rival_samples})
            forecaster = rival.learning_from(all_seen)
            scoring = Scoring(forecaster, task, job.sampling, pieces)
            if settings.ensemble and rival.takes_part:
                pieces = job.folder.pieces(f"{name}, past", {**identity, "past": N_HINDCASTS})
                forecasters = [rival.learning_from(data) for data in seen]
                hindsight = Hindsight(forecasters, task, job.sampling, pieces)
            work.append((scoring, hindsight))
        n_units = sum(one.n_units for both in work for one in both if one is not None)
        entries = []
        with narrator.counted("Rivals", n_units) as advance:
            for scoring, hindsight in work:
                entry = scoring.run(settings.quantiles, advance)
                entry.past = None if hindsight is None else hindsight.run(advance)
                entries.append(entry)
    return entries


def _finish(job: Job, entries: Sequence[Entry], *, has_page: bool = True) -> Evaluation:
    """Compare the forecasters, and write the folder and the table."""
    settings, task, folder = job.settings, job.task, job.folder
    comparison.compare(entries, settings.seed, task.of_series)
    record = record_of(entries, job, comparison.by_cluster(entries, task, job.clusters))
    table = table_of(record)
    files: list[Path] = []
    if folder.path is not None:
        each = table_of_series(entries, task)
        files += folder.write(
            record, {TABLE: table, SERIES: each, "split.json": job.split.to_json()}
        )
        files += draw_evaluation(folder.path, record) if has_page else []
    if settings.output is not None and settings.output != STANDARD_OUTPUT:
        output_files.write_text(settings.output, table)
        files.append(settings.output)
    return Evaluation(
        **dict(record),
        folder=None if folder.path is None else str(folder.path),
        files=[str(path) for path in files],
    )
