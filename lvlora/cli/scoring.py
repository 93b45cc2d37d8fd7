"""What baseline and evaluate share: score every forecaster, one table, one report.

Knows: the order of the work. Does not know: metrics, models, how a table or a page looks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lvlora.cli.calibrating import calibrate, calibration_for, check_part
from lvlora.cli.contenders import Contender, contenders, open_contender
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.inputs import load_dataset
from lvlora.cli.program.results import SCORES, check_results
from lvlora.cli.scoring_steps import fitted
from lvlora.settings import BaselineSettings, EvaluateSettings

if TYPE_CHECKING:
    from lvlora.evaluation.folder import EvaluationFolder
    from lvlora.evaluation.protocol import Task
    from lvlora.evaluation.scoring import Entry
    from lvlora.flops.budget import Price
    from lvlora.forecast.estimate import Estimate
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.series.dataset import Dataset
    from lvlora.series.splits import Split

ScoringSettings = EvaluateSettings | BaselineSettings


@dataclass
class _Work:
    """One evaluation.

    Attributes:
        clusters: id of a series -> name of its cluster of dynamics.
        spent: name of a model -> what it has spent, in this process.
    """

    settings: ScoringSettings
    context: CommandContext
    command: str
    dataset: Dataset
    split: Split
    train: Dataset
    given: Task
    clusters: dict[str, str]
    folder: EvaluationFolder
    spent: dict[str, Price] = field(default_factory=dict)


def score_all(settings: ScoringSettings, context: CommandContext, *, command: str) -> None:
    """Run one of the two commands."""
    from lvlora.cli.scoring_output import finish
    from lvlora.cli.terminal.progress import Narration
    from lvlora.errors import SettingsError
    from lvlora.evaluation import comparison
    from lvlora.evaluation import scoring as evaluation
    from lvlora.forecast.open_model import warn_of_seen
    from lvlora.forecast.reading import loss_of_text
    from lvlora.model.devices import set_threads

    if not settings.with_model and not settings.rivals:
        raise SettingsError(
            "--no-model and --no-rivals together leave nothing to score.",
            "Leave one of the two out.",
        )
    check_part(settings)
    check_results(settings, context, [("--output", settings.output, SCORES)])
    chosen = contenders(settings, context.output) if settings.with_model else []
    work = _prepare(settings, context, command)
    settings = work.settings
    data_sha256 = work.dataset.sha256()
    warn_of_seen(
        [c.choice.info for c in chosen],
        data_sha256,
        work.split,
        work.given.of_series,
        Narration(context.output),
    )
    set_threads(settings.threads)
    if context.dry_run:
        _show_price(work, chosen, time.perf_counter() - context.began)
        return
    entries: list[Entry] = []
    said: set[str] = set()
    decimals, scale = 2 if settings.decimals is None else settings.decimals, None
    with _interruptible(work):
        for i, contender in enumerate(chosen):
            forecaster = open_contender(contender, settings, context.output)
            lost = loss_of_text(
                work.given.histories, forecaster.scale, forecaster.decimals, work.given.variables
            )
            if lost and lost not in said:  # models with one scale lose the same
                said.add(lost)
                context.output.warning(lost)
            if i == 0:
                decimals, scale = forecaster.decimals, forecaster.scale
            calibration = calibration_for(
                contender, forecaster, work.given, data_sha256, settings, context.output
            )
            entries.append(_score_model(work, contender, forecaster))
            calibrate(
                entries[-1],
                contender,
                forecaster,
                given=work.given,
                source=work.dataset.source,
                data_sha256=data_sha256,
                settings=settings,
                calibration=calibration,
                output=context.output,
            )
        if settings.rivals:
            entries += _score_rivals(work)
            entries.append(evaluation.score_floor(work.given, decimals, settings.quantiles, scale))
    comparison.compare(entries, settings.seed, work.given.of_series)
    names = comparison.by_cluster(entries, work.given, work.clusters)
    sizes = [sum(work.clusters[i] == name for i in work.given.of_series) for name in names]
    finish(
        entries,
        work.given,
        work.folder,
        settings,
        context,
        clusters=work.clusters,
        sizes=dict(zip(names, sizes, strict=True)),
        split=work.split.to_json(),
        facts=_facts(work),
    )


def _prepare(settings: ScoringSettings, context: CommandContext, command: str) -> _Work:
    from lvlora.evaluation.folder import EvaluationFolder, key_of
    from lvlora.evaluation.protocol import Protocol, task
    from lvlora.series.analysis.overview import cluster, measure
    from lvlora.series.disturbance import Disturbance
    from lvlora.series.splits import STRATA, split_of

    output = context.output
    dataset = load_dataset(settings, output)
    split = split_of(dataset, settings)
    settings = fitted(settings, context, dataset, split)
    part = dataset.select(split.part(settings.split)[: settings.limit])
    n_given, n_asked = settings.steps
    protocol = Protocol(settings.split, n_given, n_asked)
    given = task(part, protocol, Disturbance.asked(settings))
    if given.disturbance:
        output.note(f"Forecasters see: {given.disturbance}; what is scored is as the data have it.")
    if given.left_out:
        output.note(f"{_series_are(given.left_out)} too short for this protocol and left out.")
    if len(given.histories) < 20:
        output.note(f"Only {_series_are(len(given.histories))} scored: the figures are rough.")
    if settings.split == "test":
        output.note("This is the test part: choose nothing by what you see.")
    n_learnt = len(set(split.train).intersection(given.of_series))
    if n_learnt and settings.rivals:
        output.note(
            f"{_series_are(n_learnt)} scored that rivals learn from: of those they see the "
            "histories alone."
        )
    found = cluster(dataset, measure(dataset), min(STRATA, len(dataset)), settings.split_seed)
    clusters = {
        s.id: found.clusters[label].name for s, label in zip(dataset, found.labels, strict=True)
    }
    train = dataset.select(split.train)
    key = key_of(given, dataset.sha256(), split.sha256)
    folder = settings.out
    if folder is None and command == "evaluate" and not context.dry_run:
        folder = settings.runs / (f"evaluation-{settings.protocol_name}-{settings.split}-{key[:8]}")
    return _Work(
        settings,
        context,
        command,
        dataset,
        split,
        train,
        given,
        clusters,
        EvaluationFolder(folder, key, fresh=settings.fresh),
    )


def _series_are(n: int) -> str:
    return f"{n} series {'is' if n == 1 else 'are'}"


def _score_model(work: _Work, contender: Contender, forecaster: Forecaster) -> Entry:
    from lvlora.cli.terminal.progress import counted
    from lvlora.evaluation.scoring import most, score_model, unfinished
    from lvlora.flops.budget import NOTHING
    from lvlora.forecast.sampling import Sampling
    from lvlora.forecast.spending import charged

    settings, given, output = work.settings, work.given, work.context.output
    sampling = Sampling.of(settings)
    name = contender.name(forecaster, work.spent)
    pieces = work.folder.pieces(name, contender.identity(forecaster, sampling))
    left = [i for group in unfinished(given, pieces, sampling.n_futures) for i in group]
    if len(left) < len(given.ids):
        output.note(f"{name}: {len(given.ids) - len(left)} series were finished before.")
    with contextlib.ExitStack() as stack:
        advance = None
        if left:
            price = most(forecaster, given, pieces, sampling)
            if settings.max_flops is not None:
                # the limit is that of all models together
                spent = sum(work.spent.values(), NOTHING).of(settings.convention)
                settings = settings.model_copy(update={"max_flops": settings.max_flops - spent})
            stack.enter_context(charged(settings, forecaster, price, command=work.command))
            futures = len(left) * sampling.n_futures
            advance = stack.enter_context(counted(output, name, futures))
        before = forecaster.usage.price
        entry = score_model(
            forecaster, given, sampling, settings.quantiles, pieces, advance, name=name
        )
        entry.training_price = contender.training_price
        work.spent[name] = forecaster.usage.price - before
        return entry


def _score_rivals(work: _Work) -> list[Entry]:
    from lvlora.cli.terminal.progress import counted
    from lvlora.evaluation.scoring import rivals_for, score_rival
    from lvlora.model.devices import cores
    from lvlora.series.rivals.processes import RivalProcesses

    settings, given = work.settings, work.given
    rivals = rivals_for(given, work.train)
    n_samples = _rival_samples(settings)
    pieces = [work.folder.pieces(r.name, {"rival": r.name, "samples": n_samples}) for r in rivals]
    left = sum(not p.has([name]) for p in pieces for name in given.ids)
    entries = []
    with (
        RivalProcesses(settings.workers or cores()) as processes,
        counted(work.context.output, "Rivals", left) as advance,
    ):
        for rival, kept in zip(rivals, pieces, strict=True):
            entry = score_rival(
                rival, given, work.train, settings.quantiles, kept, advance, processes, n_samples
            )
            entries.append(entry)
    return entries


def _rival_samples(settings: ScoringSettings) -> int:
    """As many futures as a model's; a single greedy forecast has no rival with a distribution."""
    return 0 if settings.greedy else settings.samples


@contextlib.contextmanager
def _interruptible(work: _Work) -> Iterator[None]:
    """Say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if work.folder.path is not None:
            work.context.output.hint("The same command goes on from the series that are finished.")
        raise


def _show_price(work: _Work, chosen: list[Contender], started: float) -> None:
    """Prices of the models, and how long they and the rivals would take."""
    from lvlora.cli.terminal.plans import show_prices, together
    from lvlora.evaluation.estimate import of_model, of_rivals
    from lvlora.evaluation.pieces import Pieces
    from lvlora.evaluation.scoring import most
    from lvlora.forecast.sampling import Sampling
    from lvlora.model.devices import cores

    settings = work.settings
    prices: dict[str, Price] = {}
    estimates: list[Estimate] = []
    for contender in chosen:
        begin = time.perf_counter()
        forecaster = open_contender(contender, settings, work.context.output)
        started += time.perf_counter() - begin
        name, sampling = contender.name(forecaster, prices), Sampling.of(settings)
        prices[name] = most(forecaster, work.given, Pieces(), sampling)
        estimates.append(of_model(forecaster, work.given, sampling))
    if settings.rivals:
        n_workers, n_samples = settings.workers or cores(), _rival_samples(settings)
        estimates.append(of_rivals(work.given, work.train, n_workers, n_samples))
    show_prices(
        prices,
        len(work.given.histories),
        together(estimates),
        started,
        work.context,
        page=True,
    )


def _facts(work: _Work) -> dict[str, Any]:
    """What the record says besides the results."""
    settings, given = work.settings, work.given
    return {
        "command": work.command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": {
            "name": settings.protocol_name,
            "split": settings.split,
            "context": given.protocol.context,
            "horizon": given.protocol.horizon,
            "series": len(given.histories),
            "left_out": given.left_out,
            "disturbance": given.disturbance.to_dict() if given.disturbance else None,
            "seen": str(given.disturbance) or None,
        },
        "data": {
            "source": work.dataset.source,
            "time": work.dataset.time_name,
            "sha256": work.dataset.sha256(),
            "split_seed": work.split.seed,
            "stratified": settings.stratify,
            "split_sha256": work.split.sha256,
        },
        "settings": {
            key: value
            for key, value in settings.deciding(
                "result", "model", "placement", "limit", "resources"
            ).items()
            if key not in _ELSEWHERE and value is not None
        },
    }


_ELSEWHERE = ("split_seed", "stratify", "split", "protocol", "context", "horizon")
"""Settings that the record's protocol and data tell."""
