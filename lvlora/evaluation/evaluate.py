"""The verb: forecasters side by side on one part of a data set, kept, compared and told."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from lvlora import output_files
from lvlora.evaluation import comparison, coverage
from lvlora.evaluation.answers import EvaluatedData, Evaluation
from lvlora.evaluation.candidates import Candidate
from lvlora.evaluation.folder import SERIES, TABLE, Pieces
from lvlora.evaluation.foreign import named_files, read_forecasts
from lvlora.evaluation.job import TAKEN, Job, begin, check, prepare
from lvlora.evaluation.record import record_of, table_of, table_of_series
from lvlora.evaluation.report import draw_evaluation
from lvlora.evaluation.scores import (
    Entry,
    Past,
    at_most,
    rivals_of,
    score_floor,
    score_foreign,
    score_model,
    score_rival,
    unfinished,
)
from lvlora.evaluation.together import (
    n_futures_left,
    n_parts_left,
    past_at_most,
    past_of_model,
    past_of_rival,
    score_together,
)
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.even_steps import interpolated
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.reading import how_cut, loss_of_text
from lvlora.forecast.usage import reserved
from lvlora.model.devices import cores
from lvlora.narrator import Narrator, Silent
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.series.contest import SHARES
from lvlora.series.dataset import Dataset
from lvlora.series.rivals import Rival
from lvlora.series.rivals.processes import RivalProcesses
from lvlora.settings.scoring import BaselineSettings, EvaluateSettings, ScoringSettings
from lvlora.text.scaling import Scale


def evaluate(
    settings: EvaluateSettings | BaselineSettings,
    read: Callable[[], Dataset],
    narrator: Narrator | None = None,
) -> Evaluation:
    """Score what the settings name on a data set, as ``lvlora evaluate`` and ``baseline`` do.

    What models may spend is reserved in the ledger before each begins, and what they spent settled
    after it. In the folder each forecaster's series are kept as they are finished: the same call
    goes on from there, and writes the record, the tables and the page at the end.

    Args:
        read: gives all of the data, once the settings were found to go together; it is split by
            its series' names.
        narrator: told what happens; None tells nobody.

    Raises:
        SettingsError: options that don't go together; the folder holds something else.
        DataError: no series is long enough.
        ModelError: a model that was named is not there, or has no calibration.
        BudgetError: a model would pass a limit; what was finished before it is kept.
    """
    narrator = narrator or Silent()
    job, chosen = begin(settings, read, narrator)
    with job.folder.held(), _interruptible(job, narrator):
        foreign = read_foreign(job, narrator)
        entries, decimals, scale = _score_models(job, chosen, narrator)
        if settings.rivals:
            entries += score_rivals(job, settings.workers or cores(), narrator)
        if settings.together:
            n_samples = job.rival_samples
            entries.append(score_together(entries, job.task, settings.quantiles, n_samples))
        entries += foreign
        if settings.rivals:
            entries.append(score_floor(job.task, decimals, settings.quantiles, scale))
        return finish(job, entries)


def evaluate_open(
    settings: EvaluateSettings,
    data: Dataset,
    forecasters: Sequence[Forecaster],
    narrator: Narrator,
) -> Evaluation:
    """Score open forecasters as `evaluate` does, without a folder and without a charge.

    Raises:
        DataError: no series is long enough.
    """
    check(settings)
    job = prepare(settings, data, narrator, has_folder=False)
    levels = settings.quantiles
    entries = [score_model(one, job.task, job.sampling, levels) for one in forecasters]
    if settings.rivals:
        entries += score_rivals(job, settings.workers or cores(), narrator)
        first = forecasters[0]
        entries.append(score_floor(job.task, first.decimals, levels, first.scale))
    return finish(job, entries)


def read_foreign(job: Job, narrator: Narrator) -> list[Entry]:
    """Rows of the forecasts that other programs made; nothing is spent.

    Raises:
        DataError: a file is not a table of forecasts of this task.
    """
    settings, given, found = job.settings, job.task, []
    named = settings.forecasts if isinstance(settings, EvaluateSettings) else None
    for name, path in named_files(named or (), TAKEN).items():
        forecasts = read_forecasts(
            path, name, job.task_name, given.ids, given.variables, given.protocol.horizon
        )
        if forecasts.task is None:
            narrator.warning(
                f"{path} has no column 'task': nobody knows whether {name} saw more than the "
                "histories of this evaluation."
            )
        found.append(score_foreign(forecasts, given, settings.quantiles))
    return found


def _score_models(
    job: Job, chosen: Sequence[Candidate], narrator: Narrator
) -> tuple[list[Entry], int, Scale | None]:
    """Entries, and the first model's decimals and scale, by which the floor is rounded."""
    settings = job.settings
    decimals = DEFAULT_DECIMALS if settings.decimals is None else settings.decimals
    scale: Scale | None = None
    entries: list[Entry] = []
    spent: dict[str, Price] = {}
    said: set[str] = set()
    for i, candidate in enumerate(chosen):
        forecaster = candidate.open(settings, narrator)
        lost = loss_of_text(
            job.task.histories, forecaster.scale, forecaster.decimals, job.task.variables
        )
        unlike = forecaster.unlike_known(job.data.known)
        if unlike:
            narrator.warning(unlike)
        seen, horizon = job.task.histories, job.task.protocol.horizon
        for note in interpolated(seen, horizon):
            if note not in said:
                said.add(note)
                narrator.note(note)
        planned = forecaster.plan.readings(seen, horizon)
        for warning in (lost, *how_cut(seen, planned, forecaster.base.max_positions)):
            if warning and warning not in said:  # models with one scale lose the same
                said.add(warning)
                narrator.warning(warning)
        if i == 0:
            decimals, scale = forecaster.decimals, forecaster.scale
        calibration = coverage.calibration_for(candidate, forecaster, job, narrator)
        entry = _score_model(job, candidate, forecaster, spent, narrator)
        if settings.together:
            entry.past = _past_of_model(job, candidate, forecaster, entry.name, spent, narrator)
        if calibration is not None:
            entry.calibrated_coverage = coverage.coverage(
                entry, job.task, forecaster, calibration, settings.quantiles
            )
        if settings.calibrate:
            coverage.keep_calibration(entry, candidate, forecaster, job, narrator)
        entries.append(entry)
    return entries, decimals, scale


def _score_model(
    job: Job,
    candidate: Candidate,
    forecaster: Forecaster,
    spent: dict[str, Price],
    narrator: Narrator,
) -> Entry:
    """One model's entry, charged to the ledger.

    Args:
        spent: name of each model before -> what it has spent in this process; this one's is added.
    """
    settings, given, sampling = job.settings, job.task, job.sampling
    name = candidate.name(forecaster, (*spent, *job.foreign_names))
    pieces = job.folder.pieces(name, candidate.identity(forecaster, sampling))
    left = [i for group in unfinished(given, pieces, sampling.n_futures) for i in group]
    if len(left) < len(given.ids):
        narrator.note(f"{name}: {len(given.ids) - len(left)} series were finished before.")
    before = forecaster.usage.price
    n_left = len(left) * sampling.n_futures
    price = functools.partial(at_most, forecaster.plan, given, pieces, sampling)
    with _reserved(job, forecaster, price, name, n_left, spent, narrator) as advance:
        entry = score_model(
            forecaster, given, sampling, settings.quantiles, pieces, advance, name=name
        )
    entry.training_price = candidate.training_price
    spent[name] = forecaster.usage.price - before
    return entry


def _past_of_model(
    job: Job,
    candidate: Candidate,
    forecaster: Forecaster,
    name: str,
    spent: dict[str, Price],
    narrator: Narrator,
) -> Past:
    """What one model makes of the ends of the histories, charged as its forecasts are."""
    given, sampling = job.task, job.sampling
    identity = {**candidate.identity(forecaster, sampling), "past": list(SHARES)}
    pieces = job.folder.pieces(f"{name}, past", identity)
    n_left = n_futures_left(given, sampling, pieces)
    before = forecaster.usage.price
    price = functools.partial(past_at_most, forecaster, given, sampling, pieces)
    with _reserved(job, forecaster, price, f"{name}, past", n_left, spent, narrator) as advance:
        past = past_of_model(forecaster, given, sampling, pieces, advance)
    spent[name] += forecaster.usage.price - before
    return past


@contextlib.contextmanager
def _reserved(
    job: Job,
    forecaster: Forecaster,
    price: Callable[[], Price],
    title: str,
    n_left: int,
    spent: Mapping[str, Price],
    narrator: Narrator,
) -> Iterator[Callable[[int], None] | None]:
    """Reserve what a model's work costs at most and count it; neither where nothing is left of it.

    Args:
        price: gives the most that it can cost.
        n_left: futures that are not there yet.
        spent: by all models so far, out of one --max-flops.
    """
    if not n_left:
        yield None
        return
    limits = _left_of(job.settings, spent)
    with (
        reserved(limits, forecaster, price(), command=job.command),
        narrator.counted(title, n_left) as advance,
    ):
        yield advance


def _left_of(
    settings: EvaluateSettings | BaselineSettings, spent: Mapping[str, Price]
) -> EvaluateSettings | BaselineSettings:
    """The settings with what other models have left of --max-flops, which is that of all."""
    if settings.max_flops is None:
        return settings
    already = sum(spent.values(), NOTHING).of(settings.convention)
    return settings.model_copy(update={"max_flops": settings.max_flops - already})


def _identity(rival: Rival) -> dict[str, str | int]:
    """Facts that decide a rival's forecasts of the histories."""
    season = {"season": rival.season} if rival.uses_season and rival.season != "auto" else {}
    return {"rival": rival.name, **season}


def score_rivals(job: Job, n_processes: int, narrator: Narrator) -> list[Entry]:
    """All rivals that apply, the slow ones shared among so many processes."""
    given, n_samples = job.task, job.rival_samples
    rivals, others = rivals_of(given)
    if others:
        narrator.note(others)
    pieces = [job.folder.pieces(r.name, {**_identity(r), "samples": n_samples}) for r in rivals]
    left = sum(not p.has([name]) for p in pieces for name in given.ids)
    past: dict[str, Pieces] = {}
    if job.settings.together:
        for rival in (r for r in rivals if r.takes_part):
            identity = {**_identity(rival), "past": list(SHARES)}
            past[rival.name] = job.folder.pieces(f"{rival.name}, past", identity)
    left += sum(n_parts_left(given, kept) for kept in past.values())
    entries = []
    with (
        RivalProcesses(n_processes) as processes,
        narrator.counted("Rivals", left) as advance,
    ):
        for rival, kept in zip(rivals, pieces, strict=True):
            entry = score_rival(
                rival,
                given,
                job.train,
                job.settings.quantiles,
                kept,
                advance,
                processes,
                n_samples,
            )
            if rival.name in past:
                entry.past = past_of_rival(
                    rival, given, job.train, past[rival.name], advance, processes
                )
            entries.append(entry)
    return entries


def finish(job: Job, entries: Sequence[Entry]) -> Evaluation:
    """Compare the forecasters, write what is to be written, and say what was found."""
    settings, given = job.settings, job.task
    comparison.compare(entries, settings.seed, given.of_series)
    names = comparison.by_cluster(entries, given, job.clusters)
    record = record_of(
        entries,
        given,
        command=job.command,
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
        clusters={name: sum(job.clusters[i] == name for i in given.of_series) for name in names},
        key=job.folder.key,
    )
    table, files = table_of(record), []
    if job.folder.path is not None:
        each = table_of_series(entries, given, job.clusters)
        tables = {TABLE: table, SERIES: each, "split.json": job.split.to_json()}
        files = job.folder.write(record, tables)
        files += draw_evaluation(job.folder.path, record)
    if settings.output is not None and settings.output != STANDARD_OUTPUT:
        output_files.write_text(settings.output, table)
        files.append(settings.output)
    return Evaluation.of(record, entries, table=table, folder=job.folder.path, files=files)


@contextlib.contextmanager
def _interruptible(job: Job, narrator: Narrator) -> Iterator[None]:
    """Say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if job.folder.path is not None:
            narrator.hint("The same command goes on from the series that are finished.")
        raise


def _told(settings: ScoringSettings) -> dict[str, object]:
    told = settings.deciding("result", "model", "placement", "limit", "resources")
    return {
        name: value
        for name, value in told.items()
        if name not in _TOLD_ELSEWHERE and value is not None
    }


_TOLD_ELSEWHERE = (
    *("split_seed", "stratify", "split", "protocol", "context", "horizon"),
    *("windows", "stride", "holdout"),
)
"""Settings that the record's protocol and data tell."""
