"""The verb: forecasters side by side on one part of a data set, priced, scored and compared."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lvlora import durable, numbers, output_files
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.data.gaps import mean_known
from lvlora.data.metrics import central_levels, inside_interval
from lvlora.evaluation import comparison
from lvlora.evaluation.answers import Evaluation
from lvlora.evaluation.document import draw_evaluation
from lvlora.evaluation.job import Candidate, Job, begin, prepare
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.record import record_of, table_of, table_of_series
from lvlora.evaluation.scores import Entry, Scoring, rivals_of, score_floor
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.flops import ledger
from lvlora.forecast import widths
from lvlora.forecast.answers import ForecastPrice
from lvlora.forecast.estimate import Benchmark, benchmark_forecasts, price_answer
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.language_model import LanguageModel, warn_of_reading
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.pricing import reserved
from lvlora.forecast.widths import Widths
from lvlora.forecast.workers import WORTH_SECONDS, processes
from lvlora.model.devices import cores
from lvlora.narrator import Narrator, Silent
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.runs import EVALUATION

TABLE = "table.csv"
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
            models, floor = _score_models(job, chosen, narrator, stage)
            return _finish(job, [*models, *_score_rivals(job, narrator)], floor, has_page)
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
    models = [Scoring(one, job.task, job.sampling).run(settings.quantiles) for one in forecasters]
    first = forecasters[0]
    floor = score_floor(job.task, first.decimals, settings.quantiles, first.scale)
    return _finish(job, [*models, *_score_rivals(job, narrator)], floor)


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
        prices[name] = Scoring(forecaster, task, sampling).price_bound
        benchmarks[name] = benchmark_forecasts(
            forecaster,
            task.histories,
            task.protocol.horizon,
            sampling,
            entries=rows,
        )
    if settings.rivals:
        started += _rivals_seconds(job)
    known_costs = benchmarks if chosen or settings.rivals else None
    return price_answer(prices, known_costs, started, n_series=len(task.histories), draws=True)


def price_bound(
    settings: EvaluateSettings, read: Callable[[], Dataset], narrator: Narrator
) -> tuple[Price, int]:
    """Return the most that `evaluate` can spend, and the number of series."""
    job, chosen = begin(settings, read, narrator, has_folder=False)
    bounds = [
        Scoring(candidate.open(settings), job.task, job.sampling).price_bound
        for candidate in chosen
    ]
    return sum(bounds, NOTHING), job.task.n_series


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
        rival.learns_from = seen
        spent, n_timed = 0.0, 0
        for part in rival.planned(chosen, horizons, job.sampling).parts():
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
) -> tuple[list[Entry], Entry]:
    """Return the models' entries, and the floor: the truth rounded as the first model does."""
    settings, task, levels = job.settings, job.task, job.settings.quantiles
    decimals = DEFAULT_DECIMALS if settings.decimals is None else settings.decimals
    floor = None
    entries: dict[str, Entry] = {}
    spent = NOTHING
    notes: set[str] = set()
    for candidate in chosen:
        forecaster = candidate.open(settings)
        name = candidate.name(forecaster, entries)
        identity = candidate.identity(forecaster, job.sampling)
        pieces = job.folder.pieces(name, identity)
        scoring = Scoring(forecaster, task, job.sampling, pieces, name)
        warn_of_reading(
            forecaster,
            replace(
                job.data,
                series=tuple(task.histories[i] for i in scoring.unfinished),
                variables=task.variables,
            ),
            scoring.planned.readings,
            task.protocol.horizon,
            narrator,
            shown=notes,
        )
        if len(scoring.unfinished) < len(task.ids):
            n_finished = len(task.ids) - len(scoring.unfinished)
            narrator.note(f"{name}: {n_finished} series were finished before.")
        floor = floor or score_floor(task, forecaster.decimals, levels, forecaster.scale)
        calibration = _calibration_for(candidate, forecaster, job, narrator)
        limited = settings
        if settings.max_flops is not None:  # the limit of all models together
            rest = settings.max_flops - spent.of(settings.convention)
            limited = settings.model_copy(update={"max_flops": rest})
        with contextlib.ExitStack() as work:
            advance = None
            if scoring.planned.n_units:
                bound, command = scoring.price_bound, settings.command
                work.enter_context(
                    reserved(limited, forecaster, bound, command=command, stage=stage)
                )
                advance = work.enter_context(narrator.counted(name, scoring.planned.n_units))
            entry = scoring.run(levels, advance)
        spent += forecaster.usage.price
        entry.add(training_flops=candidate.training_price)
        if calibration is not None:
            covered = _calibrated_coverage(entry, task, calibration, levels)
            entry.add(calibrated_coverage=covered)
        if settings.calibrate:
            _keep_calibration(entry, candidate, forecaster, job, narrator)
        entries[name] = entry
    return list(entries.values()), floor or score_floor(task, decimals, levels)


def _calibration_for(
    candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> Widths | None:
    """The calibration that --calibrated asks for, before anything is spent.

    Raises:
        ModelError: there is none for this model and these data.
    """
    if not job.settings.calibrated:
        return None
    calibration, facts = widths.calibration_of(
        forecaster, candidate.choice.info, job.settings.runs, job.task.variables
    )
    facts.note_to(narrator, job.sampling, job.task.protocol.horizon)
    if (facts.data_sha256, facts.split) == (job.data_sha256, job.task.protocol.part):
        narrator.note("It was made on the series that are scored: of others it may cover less.")
    return calibration


def _keep_calibration(
    entry: Entry, candidate: Candidate, forecaster: LanguageModel, job: Job, narrator: Narrator
) -> None:
    """Make a calibration of a model's forecasts, for --calibrated, and say where it is.

    Raises:
        SettingsError, DataError: there are no samples, no interval, or too few truths.
    """
    task, info = job.task, candidate.choice.info
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    n_windows = len(task.histories)
    several: dict[str, Any] = {} if n_windows == task.n_series else {"windows": n_windows}
    facts = widths.Facts(
        data=job.data.source,
        data_sha256=job.data_sha256,
        split=task.protocol.part,
        series=task.n_series,
        context=task.protocol.context or task.context,
        horizon=task.protocol.horizon,
        variables=list(task.variables),
        coverage_before=entry.row.coverage,
        **several,
        **widths.drawn_by(job.sampling),
        **widths.form_of(forecaster),
    )
    calibration = widths.calibrate(task.truth, samples, job.settings.quantiles, facts)
    path = widths.keep(calibration, forecaster, info, job.settings.runs)
    covered = ", ".join(
        f"{100 * float(level):g} % intervals covered {numbers.share(share)}"
        for level, share in entry.row.coverage.items()
        if share is not None
    )
    narrator.note(f"{entry.row.name}: {covered}; calibrated by {facts.amount}: {path}")


def _calibrated_coverage(
    entry: Entry, task: Task, calibration: Widths, quantiles: Sequence[float]
) -> dict[str, float]:
    """Probability of each calibrated central interval -> share of known truths inside."""
    samples = entry.point[:, None] if entry.samples is None else entry.samples
    forecasts = [
        calibration.apply(Forecast(h.id, f.time, s, None, len(h), history=h))
        for h, f, s in zip(task.histories, task.futures, samples, strict=True)
    ]
    moved = np.stack([forecast.samples for forecast in forecasts])
    return {
        f"{level:g}": float(mean_known(inside_interval(task.truth, moved, level), (0, 1, 2)))
        for level in central_levels(quantiles)
    }


def _score_rivals(job: Job, narrator: Narrator) -> list[Entry]:
    """Score all rivals that apply; processes share the slow ones."""
    task, settings = job.task, job.settings
    if not settings.rivals:
        return []
    rivals, others = rivals_of(task, job.train)
    if others:
        narrator.note(others)
    all_seen = task.learnable(job.train)
    identity = {"season": settings.season, "samples": job.rival_samples}
    with processes(settings.workers or cores()):
        work = []
        for rival in rivals:
            pieces = job.folder.pieces(rival.name, identity)
            rival.learns_from = all_seen
            work.append(Scoring(rival, task, job.sampling, pieces))
        with narrator.counted("Rivals", sum(one.planned.n_units for one in work)) as advance:
            return [one.run(settings.quantiles, advance) for one in work]


def _finish(job: Job, entries: list[Entry], floor: Entry, has_page: bool = True) -> Evaluation:
    """Compare models and rivals, and write the folder and the table."""
    settings, task, folder = job.settings, job.task, job.folder.path
    if settings.rivals:
        entries.append(floor)
    comparison.compare(entries, settings.seed, task.of_series)
    record = record_of(entries, job, comparison.by_cluster(entries, task, job.clusters))
    table, files = table_of(record), []
    if folder is not None:
        contents = {
            TABLE: table,
            "series.csv": table_of_series(entries, task),
            "split.json": job.split.to_json(),
            # the last: where it is, the others are
            EVALUATION: json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False),
        }
        for name, content in contents.items():
            durable.write_text(folder / name, content)
            files.append(folder / name)
        files += draw_evaluation(folder, record) if has_page else []
    if settings.output is not None and settings.output != STANDARD_OUTPUT:
        output_files.write_text(settings.output, table)
        files.append(settings.output)
    place = None if folder is None else str(folder)
    return record.model_copy(update={"folder": place, "files": [str(path) for path in files]})
