"""An analysis as people read it: sentences and tables of its record, and five figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora import numbers
from lvlora.data.answers import Analyze, Quality
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.dates import length_of
from lvlora.report.document import Block, Cell, Document, Points, Section, Table
from lvlora.report.drawing import style
from lvlora.report.drawing.panels import (
    MAX_VARIABLES,
    Panel,
    draw_panels,
    mean_trajectory,
    rows_needed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from lvlora.data.analysis import Analysis

MAX_CLUSTERS = 6
_MAX_STACKS = 4  # clusters side by side, where each needs a panel for each variable
_MANY_POINTS = 3_000  # more are drawn as pixels within an SVG file
# clusters must not look like variables: colours from the third on, and each its own mark
_CLUSTER_COLOURS = tuple(style.PALETTE[i] for i in (2, 6, 4, 3, 5, 7))
_MARKS = "os^DvP"
_MANY = 200  # values, of which the outermost are cut off


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


def draw_analysis(folder: Path, dataset: Dataset, analysis: Analysis) -> list[Path]:
    """Draw every figure that the data have, each as PNG and SVG.

    Returns:
        The files, in order of the figures.

    Raises:
        LvloraError: a file cannot be written.
    """
    files = [folder / name for name in figure_files()]
    for i, draw in enumerate(FIGURES.values()):
        figure = draw(dataset, analysis)
        for file in files[2 * i : 2 * i + 2]:
            style.save(figure, file)
    return files


def figure_files() -> list[str]:
    """Return the names of the files that `draw_analysis` writes, two a figure."""
    return [
        f"figure-{number}-{name}.{suffix}"
        for number, name in enumerate(FIGURES, start=1)
        for suffix in ("png", "svg")
    ]


def clusters_figure(dataset: Dataset, analysis: Analysis) -> Figure:
    """Figure 1: each series by period and amplitude, and each cluster's mean trajectory."""
    panels = []
    for k, cluster in enumerate(analysis.clustering.clusters[:MAX_CLUSTERS]):
        members = np.flatnonzero(analysis.clustering.labels == k)
        time, mean, _ = mean_trajectory(dataset, members.tolist())
        subtitle = f"{100 * cluster.share:.1f} % ({cluster.size:,} series)"
        panels.append(Panel(cluster.name, time, mean, subtitle=subtitle, calendar=dataset.calendar))
    rows, columns, panels = _arrange(panels, dataset)
    width, heights = 10.5, [4.0, -(-len(panels) // columns) * (1.2 * max(rows, 2) + 0.6)]
    with style.look():
        figure = style.new_figure(width, sum(heights) + 1.0)
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
        above, below = parts.flat
        _draw_period_amplitude(above.subplots(), dataset, analysis)
        title = {"fontsize": 11, "fontweight": "bold", "ha": "left", "x": 0.08}
        below.suptitle("Mean trajectory of each cluster", **title)
        key = _draw(below, dataset, panels, columns, rows, width)
        note = _left_out(dataset, analysis, len(panels))
        style.legend_below(figure, _cluster_key(analysis) + key, columns=3, note=note)
    return figure


def trajectories_figure(dataset: Dataset, analysis: Analysis) -> Figure:
    """Figure 2: the series nearest to each cluster's centre."""
    panels = []
    clustering = analysis.clustering
    for cluster, example in zip(clustering.clusters, clustering.examples, strict=True):
        one = dataset.series[example]
        panels.append(
            Panel(cluster.name, one.time, one.values, None, f"series {one.id}", one.calendar)
        )
    rows, columns, panels = _arrange(panels[:MAX_CLUSTERS], dataset)
    lines = -(-len(panels) // columns)
    width = style.WIDTH if columns < 3 else 10.5
    with style.look():
        figure = style.new_figure(width, lines * ((2.2 if rows == 1 else 1.2 * rows) + 0.4) + 0.6)
        key = _draw(figure, dataset, panels, columns, rows, width)
        style.legend_below(figure, key, note=_left_out(dataset, analysis, len(panels)))
    return figure


def _rows(panels: list[Panel], dataset: Dataset) -> int:
    return rows_needed([p.ranges() for p in panels], len(dataset.variables), MAX_VARIABLES)


def _arrange(panels: list[Panel], dataset: Dataset) -> tuple[int, int, list[Panel]]:
    """(panels stacked for one cluster, columns, clusters that fit)."""
    rows = _rows(panels, dataset)
    if rows <= 2:
        return rows, min(len(panels), 2), panels
    shown = panels[:_MAX_STACKS]
    return rows, len(shown), shown


def _draw(
    figure: Figure | SubFigure,
    dataset: Dataset,
    panels: list[Panel],
    columns: int,
    rows: int,
    width: float,
) -> list[Any]:
    names, time_name = dataset.variables, dataset.time_name
    return draw_panels(figure, panels, names, time_name, columns=columns, rows=rows, width=width)


def distributions_figure(dataset: Dataset, analysis: Analysis) -> Figure:
    """Figure 3: periods of each variable; the lag between the first two, in time and in periods."""
    dynamics = analysis.dynamics
    names = analysis.answer.variables[:MAX_VARIABLES]
    has_lags = dynamics.pair_lags.size > 0
    with style.look():
        figure = style.new_figure(height=6.4 if has_lags else 3.6)
        grid = figure.add_gridspec(2 if has_lags else 1, 2)
        axes = figure.add_subplot(grid[0, :])
        axes.set_title("Periods")
        titles = {style.plain(name, 24): dynamics.periods[:, v] for v, name in enumerate(names)}
        _draw_histogram(axes, titles)
        axes.set_xlabel(f"period ({_unit(dataset)})")
        axes.set_ylabel("series")
        interval = analysis.answer.quality.interval
        if analysis.answer.quality.regular and interval:
            scales = (lambda t: np.divide(t, interval), lambda n: np.multiply(n, interval))
            axes.secondary_xaxis("top", functions=scales).set_xlabel("period (samples)")
            axes.set_title("")
        if has_lags:
            first, second = (style.plain(name, 20) for name in analysis.answer.variables[:2])
            lags = {_unit(dataset): dynamics.pair_lags}
            lags["share of the period"] = dynamics.pair_fractions
            for column, (unit, values) in enumerate(lags.items()):
                axes = figure.add_subplot(grid[1, column])
                _draw_histogram(axes, {"": values}, style.PALETTE[2:])
                axes.axvline(0.0, color=style.FAINT, linewidth=1.0)
                axes.set_xlabel(f"lag of {second} behind {first}\n({unit})")
                axes.set_ylabel("pairs of peaks")
    return figure


def means_figure(dataset: Dataset, analysis: Analysis) -> Figure:
    """Figure 4: mean trajectories of the whole set, shaded by one standard deviation."""
    time, mean, deviation = mean_trajectory(dataset, range(len(dataset)))
    title = f"Mean of {len(dataset):,} series ± one standard deviation"
    panels = [Panel(title, time, mean, deviation, calendar=dataset.calendar)]
    rows = _rows(panels, dataset)
    with style.look():
        figure = style.new_figure(height=4.2 if rows == 1 else 1.5 * rows + 1.0)
        key = _draw(figure, dataset, panels, 1, rows, style.WIDTH)
        note = _more(len(dataset.variables) - MAX_VARIABLES, "variables")
        style.legend_below(figure, key, note=note)
    return figure


def states_figure(dataset: Dataset, analysis: Analysis) -> Figure:
    """Figure 5: first and last states: a plane of two variables, or the one against the other."""
    dynamics, names = analysis.dynamics, analysis.answer.variables
    if len(names) == 2:
        height, columns, lines = 4.6, 2, 1
        panels = [
            ("First states", *dynamics.initial.T, *names),
            ("Last states", *dynamics.final.T, *names),
        ]
    else:
        columns = min(len(names), MAX_VARIABLES, 3)
        lines = -(-min(len(names), MAX_VARIABLES) // columns)
        height = 0.9 + (3.4 if columns == 1 else 2.9) * lines
        panels = [
            (name, dynamics.initial[:, v], dynamics.final[:, v], "first value", "last value")
            for v, name in enumerate(names[:MAX_VARIABLES])
        ]
    with style.look():
        figure = style.new_figure(height=height)
        for place, (title, x, y, *labels) in enumerate(panels, 1):
            axes = figure.add_subplot(lines, columns, place)
            _scatter(axes, x, y, analysis)
            axes.set_title(style.lines(title, 60 // columns - 4))
            axes.set_xlabel(style.plain(labels[0]))
            axes.set_ylabel(style.plain(labels[1]))
        note = _more(len(names) - MAX_VARIABLES, "variables")
        style.legend_below(figure, _cluster_key(analysis), columns=2, note=note)
    return figure


FIGURES: dict[str, Callable[[Dataset, Any], Any]] = {
    "clusters": clusters_figure,
    "trajectories": trajectories_figure,
    "distributions": distributions_figure,
    "means": means_figure,
    "states": states_figure,
}
"""Name in the file's name -> (dataset, analysis) -> Figure."""


def _left_out(dataset: Dataset, analysis: Analysis, n_shown: int) -> str:
    hidden = (
        _more(len(analysis.clustering.clusters) - n_shown, "clusters"),
        _more(len(dataset.variables) - MAX_VARIABLES, "variables"),
    )
    return "; ".join(h for h in hidden if h)


def _unit(dataset: Dataset) -> str:
    if dataset.calendar is not None:
        return length_of(dataset.calendar.unit, 2).removeprefix("2 ")
    name = style.plain(dataset.time_name, 24)
    return "time units" if name == "time" else f"units of {name}"


def _more(count: int, what: str) -> str:
    return f"{count} more {what} not drawn" if count > 0 else ""


def _cluster_key(analysis: Analysis) -> list[Any]:
    from matplotlib.lines import Line2D

    labels = [
        style.plain(f"{c.name}, {100 * c.share:.1f} %", 60)
        for c in analysis.clustering.clusters[:MAX_CLUSTERS]
    ]
    looks = zip(labels, _CLUSTER_COLOURS, _MARKS, strict=False)
    return [
        Line2D([], [], linestyle="none", markersize=6, color=colour, marker=mark, label=label)
        for label, colour, mark in looks
    ]


def _scatter(axes: Axes, x: FloatArray, y: FloatArray, analysis: Analysis) -> None:
    """One mark a series, by cluster; clusters that are not shown are left out."""
    size = 22.0 if len(x) <= 300 else 10.0
    for k in range(min(MAX_CLUSTERS, len(analysis.clustering.clusters))):
        members = analysis.clustering.labels == k
        axes.scatter(
            x[members],
            y[members],
            s=size,
            alpha=0.65,
            linewidths=0,
            rasterized=len(x) > _MANY_POINTS,
            color=_CLUSTER_COLOURS[k],
            marker=_MARKS[k],
        )


def _draw_period_amplitude(axes: Axes, dataset: Dataset, analysis: Analysis) -> None:
    """Series without a period stand in a strip left of the others."""
    from matplotlib.ticker import FuncFormatter

    period, amplitude = analysis.dynamics.periods[:, 0], analysis.dynamics.amplitudes[:, 0]
    name = style.plain(analysis.answer.variables[0], 24)
    axes.set_title("Series by period and amplitude")
    known = np.isfinite(period)
    lowest = float(period[known].min()) if known.any() else 1.0
    highest = float(period[known].max()) if known.any() else 1.0
    none_at = lowest - max(0.12 * (highest - lowest), 0.08 * highest)
    x = np.where(known, period, none_at)
    _scatter(axes, x, amplitude, analysis)
    if known.any() and not known.all():
        axes.axvline((none_at + lowest) / 2, color=style.FAINT, linewidth=0.8, linestyle=":")
    if not known.all():
        ticks = [t for t in axes.get_xticks() if known.any() and lowest - 1e-9 <= t <= highest]
        axes.set_xticks([none_at, *ticks])
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda t, _: "none" if t == none_at else style.short(t))
        )
    if style.widely_spread(amplitude.tolist(), 50):
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
    axes.set_xlabel(f"period of {name} ({_unit(dataset)})")
    axes.set_ylabel(f"amplitude of {name} (largest − smallest)")


def _draw_histogram(
    axes: Axes, samples: Mapping[str, FloatArray], colours: Sequence[str] = style.PALETTE
) -> None:
    """Draw samples over each other, their medians as lines.

    The outermost 0.5 % on each side of many values are cut off; medians are of all.

    Args:
        samples: by their names for the legend, already `style.plain`; without one the median is
            over the panel. NaN is left out.
    """
    from matplotlib.ticker import MaxNLocator

    known = {name: values[np.isfinite(values)] for name, values in samples.items()}
    every = np.concatenate(list(known.values()))
    if every.size == 0:
        how: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "color": style.FAINT}
        axes.text(0.5, 0.5, "no series has two peaks", **how)
        return
    # a few odd series must not squeeze the others; where all are few, none is odd
    low, high = np.percentile(every, [0.5, 99.5] if every.size >= _MANY else [0, 100]).tolist()
    if high - low < (least := 0.1 * max(abs(low), abs(high))):
        low, high = (low + high - least) / 2, (low + high + least) / 2
    n_bins = int(np.clip(np.sqrt(every.size / len(known)) * 1.5, 8, 40))
    edges = np.histogram_bin_edges(every, n_bins, (low, high))
    for colour, (name, values) in zip(colours, known.items(), strict=False):
        if values.size == 0:
            continue
        median = float(np.median(values))
        look: dict[str, Any] = {"histtype": "stepfilled", "linewidth": 1.4, "edgecolor": colour}
        label = f"{name}: median {style.short(median)}" if name else None
        axes.hist(values, bins=edges.tolist(), facecolor=(colour, 0.25), label=label, **look)
        axes.axvline(median, color=colour, linewidth=1.3, linestyle="--")
        if not name:
            axes.set_title(f"median {style.short(median)}", fontsize=9.5)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="x", visible=False)
    if any(samples):
        axes.margins(y=0.3)  # room for the legend
        axes.legend(loc="upper right")
