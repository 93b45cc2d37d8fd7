"""An analysis as tables: quality, statistics, dynamics, clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output

if TYPE_CHECKING:
    from lvlora.series.analysis.overview import Analysis
    from lvlora.series.answers import Analyze, Quality
    from lvlora.series.dataset import Dataset

_CURVE = 16  # characters of an example's curve in the table of clusters


def show_analysis(dataset: Dataset, analysis: Analysis, output: Output) -> None:
    """All of it, as people read it."""
    answer = analysis.answer
    _heading(output, answer)
    _quality(output, dataset, answer.quality)
    _statistics(output, answer)
    _dynamics(output, answer)
    _clusters(output, dataset, analysis)


def _heading(output: Output, answer: Analyze) -> None:
    quality, split = answer.quality, answer.split
    shortest, longest = quality.shortest, quality.longest
    steps = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    output.line(
        f"{answer.source}: {quality.n_series:,} series of {steps} steps, "
        f"{', '.join(answer.variables)}"
    )
    how = " within clusters" if split.stratified else ""
    output.line(
        f"Split{how} (seed {split.seed}): {split.train:,} train, "
        f"{split.validation:,} validation, {split.test:,} test"
    )


def _quality(output: Output, dataset: Dataset, quality: Quality) -> None:
    """What is odd, a line each; one line where nothing is."""

    def pairs(shown: Sequence[tuple[str, str]], count: int) -> str:
        named = ", ".join(" ".join(pair) for pair in shown[:3])
        return f"{named} and {count - 3:,} more" if count > 3 else named

    counts = {"missing": quality.missing, "negative": quality.negative, "zero": quality.zero}
    odd = [
        f"{name}: {count:,} of {quality.n_values:,} values "
        f"({numbers.share(count / quality.n_values)})"
        for name, count in counts.items()
        if count
    ]
    if quality.n_duplicates:
        repeated = pairs(quality.duplicates, quality.n_duplicates)
        odd.append(f"{quality.n_duplicates:,} series repeat an earlier one: {repeated}")
    if quality.n_constant:
        odd.append(f"constant: {pairs(quality.constant, quality.n_constant)}")
    uneven = dataset.time_steps and dataset.time_steps.sentence(dataset.calendar, len(dataset))
    if uneven:
        odd.append(uneven)
    elif not quality.regular:
        odd.append("the times are not evenly spaced, or not alike in all series")
    elif not quality.same_times:
        odd.append("the series start at different times or are of different length")
    # what is beyond every number is null in the answer
    calendar, every = dataset.calendar, math.inf if quality.interval is None else quality.interval
    length = f"{every:.6g} time units" if calendar is None else calendar.length(every)
    interval = f"one sample every {length}"
    if not odd:
        output.line(f"Quality: nothing missing, negative, constant or repeated; {interval}")
    else:
        output.line(f"Quality: {interval}; but")
        for sentence in odd:
            output.line(f"  {sentence}")
    output.line()


def _statistics(output: Output, answer: Analyze) -> None:
    heads = ["variable", "mean", "sd", "min", "5 %", "median", "95 %", "max"]
    rows = []
    for name, values in answer.summary.items():
        percentiles = values.percentiles
        row = [values.mean, values.sd, values.min, percentiles["5"], percentiles["50"]]
        row += [percentiles["95"], values.max]
        rows.append([name, *map(numbers.plain, row)])
    output.table(heads, rows)
    rows = []
    for name, ends in answer.initial_final.items():
        row = [ends.initial.mean, ends.initial.sd, ends.final.mean, ends.final.sd]
        rows.append([name, *map(numbers.plain, row)])
    output.table(["variable", "first mean", "first sd", "last mean", "last sd"], rows)


def _dynamics(output: Output, answer: Analyze) -> None:
    heads = ["variable", "period", "samples", "sure", "series", "amplitude", "grow", "shrink"]
    rows = []
    for name, period in answer.periods.items():
        amplitude = answer.amplitudes[name]
        rows.append(
            [
                name,
                *map(numbers.plain, [period.mean_time, period.mean_samples]),
                numbers.plain(period.confidence, 2),
                f"{period.n_series:,}",
                numbers.plain(amplitude.mean),
                numbers.share(amplitude.growing),
                numbers.share(amplitude.shrinking),
            ]
        )
    output.table(heads, rows)
    lag = answer.phase_lag
    if lag.mean_time is not None:
        (later, earlier), behind = lag.of, lag.mean_time
        if behind < 0:
            later, earlier = earlier, later
        output.line(
            f"Peaks of {later} follow those of {earlier} by {numbers.plain(abs(behind))} time "
            f"units, {numbers.share(abs(lag.fraction_of_period or 0.0))} of a period "
            f"({lag.n_pairs:,} pairs)"
        )
        output.line()


def _clusters(output: Output, dataset: Dataset, analysis: Analysis) -> None:
    rows = []
    for found, cluster in zip(analysis.clustering.clusters, analysis.answer.clusters, strict=True):
        example = dataset.series[found.example]
        rows.append(
            [
                cluster.name,
                f"{cluster.size:,}",
                numbers.share(cluster.share),
                # what has no period counts as 0 among the features
                numbers.plain(cluster.features["period"] or None),
                f"{example.id} {output.curve(example.values[:, 0].tolist(), _CURVE)}",
            ]
        )
    heads = ["cluster", "series", "share", "period", f"example ({dataset.variables[0]})"]
    output.table(heads, rows)
    silhouette = analysis.answer.silhouette
    if silhouette is not None:
        output.line(f"Silhouette {silhouette:.2f} (-1 to 1; near 0: not distinct kinds)")
