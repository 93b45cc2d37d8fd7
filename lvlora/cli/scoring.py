"""What baseline and evaluate share: score every forecaster, one table, one report.

Knows: the order of the work and what to show. Does not know: metrics, models.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lvlora.cli import numbers
from lvlora.cli.context import CommandContext
from lvlora.cli.inputs import load_dataset
from lvlora.settings import BaselineSettings, EvaluateSettings

if TYPE_CHECKING:
    from lvlora.forecast.evaluation import Entry, Task
    from lvlora.forecast.forecaster import Forecaster
    from lvlora.series.dataset import Dataset
    from lvlora.series.splits import Split

_COLUMNS = ("mae", "rmse", "smape", "mase", "median_series_mae", "crps")


def score_all(
    settings: EvaluateSettings | BaselineSettings, context: CommandContext, *, command: str
) -> None:
    """Run one of the two commands."""
    from lvlora.errors import SettingsError
    from lvlora.forecast import evaluation
    from lvlora.model.devices import set_threads
    from lvlora.text.scaling import of_dataset
    from lvlora.train.setup import split_of

    output = context.output
    if not settings.with_model and not settings.rivals:
        raise SettingsError("--no-model and --no-rivals together leave nothing to score.")
    dataset = load_dataset(settings, output)
    split = split_of(dataset, settings)
    part = dataset.select(_ids(dataset, split, settings.split)[: settings.limit])
    protocol = evaluation.Protocol(settings.split, settings.context, settings.horizon)
    given = evaluation.task(part, protocol)
    if given.left_out:
        output.note(f"{given.left_out} series are too short for this protocol and are left out.")
    if len(given.histories) < 20:
        output.note(f"Only {len(given.histories)} series are scored: the figures are rough.")
    train = dataset.select(split.train)
    scale = of_dataset(train)
    set_threads(settings.threads)
    entries: list[Entry] = []
    decimals = 2 if settings.decimals is None else settings.decimals
    if settings.with_model:
        forecaster = _forecaster(settings, context, scale)
        decimals = forecaster.decimals
        if context.dry_run:
            _show_price(forecaster, given, settings, context)
            return
        entries.append(_score_model(forecaster, given, settings, context, command))
    elif context.dry_run:
        output.report({"flops_at_most": None}, lambda: output.line("No model: no FLOPs."))
        return
    if settings.rivals:
        entries += _score_rivals(given, train, settings, context)
        entries.append(evaluation.score_floor(given, decimals, scale, settings.quantiles))
    if settings.with_model:
        evaluation.compare(entries, entries[0], settings.seed)
    payload = {
        "protocol": {
            "split": settings.split,
            "context": settings.context,
            "horizon": settings.horizon,
            "series": len(given.histories),
            "left_out": given.left_out,
        },
        "data": {"source": dataset.source, "sha256": dataset.sha256(), "split": split.sha256},
        "forecasters": [e.to_dict() for e in entries],
    }
    if settings.output is not None:
        _write_csv(settings.output, entries)
    output.report(payload, lambda: _show(entries, given, settings, context))
    if command == "baseline":
        output.hint("Next: lvlora train DATA, then lvlora evaluate DATA")


def _ids(
    dataset: Dataset, split: Split, name: Literal["train", "validation", "test", "all"]
) -> Sequence[str]:
    return [s.id for s in dataset] if name == "all" else split.part(name)


def _forecaster(
    settings: EvaluateSettings | BaselineSettings, context: CommandContext, scale: Any
) -> Forecaster:
    from lvlora.forecast.opening import choose, open_forecaster

    choice = choose(settings, settings.runs, context.output.note)
    forecaster = open_forecaster(choice, settings, settings.decimals)
    if forecaster.scale is None:  # zero-shot, or an adapter that says nothing of its scale
        forecaster.scale = scale
    return forecaster


def _sampling(settings: EvaluateSettings | BaselineSettings) -> Any:
    from lvlora.forecast.decoding import Sampling

    return Sampling(
        settings.samples, settings.greedy, settings.temperature, settings.top_p, settings.seed
    )


def _score_model(
    forecaster: Forecaster,
    given: Task,
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
    command: str,
) -> Entry:
    from lvlora.cli.progress import counted
    from lvlora.forecast.evaluation import score_model
    from lvlora.forecast.spending import charged

    sampling = _sampling(settings)
    most = forecaster.most(given.histories, given.protocol.horizon, sampling)
    futures = len(given.histories) * sampling.n_futures
    with (
        charged(settings, forecaster, most, command=command),
        counted(context.output, forecaster.name, futures) as advance,
    ):
        return score_model(forecaster, given, sampling, settings.quantiles, lambda n: advance(n))


def _score_rivals(
    given: Task,
    train: Dataset,
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
) -> list[Entry]:
    from lvlora.cli.progress import counted
    from lvlora.forecast.evaluation import score_rival
    from lvlora.series.rivals import default_rivals

    rivals = [r for r in default_rivals() if r.applies(train)]
    with counted(context.output, "Rivals", len(rivals) * len(given.histories)) as advance:
        return [
            score_rival(r, given, train, settings.quantiles, lambda n: advance(n)) for r in rivals
        ]


def _show_price(
    forecaster: Forecaster,
    given: Task,
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
) -> None:
    most = forecaster.most(given.histories, given.protocol.horizon, _sampling(settings))
    context.output.report(
        {"flops_at_most": {"executed": most.executed, "coursework": most.coursework}},
        lambda: context.output.line(
            f"{forecaster.name}, {len(given.histories)} series: at most "
            f"{numbers.flops(most.executed)} FLOPs executed, {numbers.flops(most.coursework)} by "
            "the coursework's rules. Nothing was spent."
        ),
    )


def _write_csv(path: Path, entries: Sequence[Entry]) -> None:
    from lvlora import durable

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "kind", *_COLUMNS, "seconds", "flops_executed"])
    for entry in entries:
        row = entry.to_dict()
        flops = "" if entry.price is None else entry.price.executed
        writer.writerow(
            [entry.name, entry.kind, *(row[c] for c in _COLUMNS), row["seconds"], flops]
        )
    durable.write_text(path, stream.getvalue())


def _show(
    entries: Sequence[Entry],
    given: Task,
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
) -> None:
    output = context.output
    head = ["forecaster", "MAE", "RMSE", "sMAPE", "MASE", "median MAE", "CRPS", "seconds"]
    if settings.with_model:
        head.append("MAE - model's, 95 %")
    rows, bold = [], []
    for i, entry in enumerate(sorted(entries, key=lambda e: e.scores.mae)):
        facts = entry.to_dict()
        row = [entry.name, *(numbers.plain(facts[c], 3) for c in _COLUMNS)]
        row.append(numbers.plain(entry.seconds, 2) if entry.kind != "floor" else "")
        if settings.with_model:
            a = entry.against
            row.append("" if a is None else f"{a[0]:+.3f} … {a[1]:+.3f}")
        rows.append(row)
        if entry.kind == "model":
            bold.append(i)
    title = (
        f"{settings.split} part, {len(given.histories)} series: {settings.horizon} steps from "
        f"{settings.context}, original units"
    )
    output.table(head, rows, title=title, bold=bold)
    for entry in entries:
        if entry.price is not None:
            output.line(f"{entry.name}: {numbers.flops(entry.price.executed)} FLOPs executed")
