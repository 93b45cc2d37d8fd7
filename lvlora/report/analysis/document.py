"""An analysis as people read it: sentences and tables of its record."""

from __future__ import annotations

from collections.abc import Sequence

from lvlora import numbers
from lvlora.data.answers import Analyze, Quality
from lvlora.report.document import Block, Cell, Document, Points, Section, Table


def document(record: Analyze) -> Document:
    """Quality, statistics, dynamics and clusters of a data set as sentences and tables."""
    quality, split = record.quality, record.split
    steps = f"{quality.longest:,}"
    if quality.shortest != quality.longest:
        steps = f"{quality.shortest:,} to {steps}"
    how = " within clusters" if split.stratified else ""
    return Document(
        f"{record.source}: {quality.n_series:,} series of {steps} steps, "
        f"{', '.join(record.variables)}",
        [
            Section("Quality", _quality(quality)),
            Section("Statistics", _statistics(record)),
            Section("Dynamics", _dynamics(record)),
            Section("Clusters", _clusters(record)),
        ],
        f"Split{how} (seed {split.seed}): {split.train:,} train, "
        f"{split.validation:,} validation, {split.test:,} test",
    )


def _quality(quality: Quality) -> list[Block]:
    """Return the faults of the data, a line each; one line where there is none."""

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
    times = quality.time_steps
    if warning := times.warning(quality.n_series):
        odd.append(warning)
    elif not quality.regular:
        odd.append("the times are not evenly spaced, or not alike in all series")
    elif not quality.same_times:
        odd.append("the series start at different times or are of different length")
    units = " time units" if times.unit is None else ""
    interval = f"one sample every {times.length(quality.interval)}{units}"
    if not odd:
        return [f"Quality: nothing missing, negative, constant or repeated; {interval}"]
    return [Points([f"Quality: {interval}; but", *(f"  {sentence}" for sentence in odd)]), ""]


def _statistics(record: Analyze) -> list[Block]:
    rows: list[list[Cell]] = []
    for name, values in record.summary.items():
        low, middle, high = (values.percentiles[percent] for percent in ("5", "50", "95"))
        row = [values.mean, values.sd, values.min, low, middle, high, values.max]
        rows.append([name, *map(numbers.plain, row)])
    heads = ["variable", "mean", "sd", "min", "5 %", "median", "95 %", "max"]
    ends: list[list[Cell]] = [
        [name, *map(numbers.plain, [e.initial.mean, e.initial.sd, e.final.mean, e.final.sd])]
        for name, e in record.initial_final.items()
    ]
    return [
        Table("", heads, rows),
        Table("", ["variable", "first mean", "first sd", "last mean", "last sd"], ends),
    ]


def _dynamics(record: Analyze) -> list[Block]:
    rows: list[list[Cell]] = []
    for name, period in record.periods.items():
        amplitude = record.amplitudes[name]
        rows.append(
            [
                name,
                *map(numbers.plain, [period.mean_time, period.mean_samples]),
                numbers.plain(period.confidence, 2),
                period.n_series,
                numbers.plain(amplitude.mean),
                numbers.share(amplitude.growing),
                numbers.share(amplitude.shrinking),
            ]
        )
    heads = ["variable", "period", "samples", "sure", "series", "amplitude", "grow", "shrink"]
    blocks: list[Block] = [Table("", heads, rows)]
    lag = record.phase_lag
    if lag.mean_time is not None:
        later, earlier = lag.of if lag.mean_time >= 0 else lag.of[::-1]
        blocks.append(
            f"Peaks of {later} follow those of {earlier} by {numbers.plain(abs(lag.mean_time))} "
            f"time units, {numbers.share(abs(lag.fraction_of_period or 0.0))} of a period "
            f"({lag.n_pairs:,} pairs)"
        )
    return blocks


def _clusters(record: Analyze) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            cluster.name,
            cluster.size,
            numbers.share(cluster.share),
            # what has no period counts as 0 among the features
            numbers.plain(cluster.features["period"] or None),
            cluster.example,
        ]
        for cluster in record.clusters
    ]
    heads = ["cluster", "series", "share", "period", "example"]
    blocks: list[Block] = [Table("", heads, rows)]
    if record.silhouette is not None:
        blocks.append(f"Silhouette {record.silhouette:.2f} (-1 to 1; near 0: not distinct kinds)")
    return blocks
