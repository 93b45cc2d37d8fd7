"""The answers about data, and the metrics of forecasts: a field each, with what tables call it.

They are read by this module alone, which needs pydantic and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from lvlora.answers import Answer, Number, Shape


class Simulate(Answer):
    """`lvlora simulate --json`"""

    file: str
    series: int
    steps: int
    variables: list[str]
    system: str
    equations: str
    duration: float
    """Time of the last sample, in time units."""
    seed: int
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of times, values and ids, whatever the format."""


class Summary(Shape):
    """Statistics of the values that are there."""

    count: int
    mean: Number
    sd: Number
    """Standard deviation of the population."""
    min: Number
    max: Number
    percentiles: dict[str, Number]
    """Percent → value."""


class AbsentStep(Shape):
    """A time that has no row."""

    series: str
    time: float | str
    """A number, or a date where the data have dates."""


class TimeSteps(Shape):
    """Time between neighbours in a series, in units of the calendar where times are dates."""

    unit: str | None
    """month, weekday, day, hour, minute, …; null where times are plain numbers."""
    median: Number
    least: Number
    most: Number
    steps: int
    """Steps of all series."""
    uneven: bool
    """The times lie on no grid."""
    absent: int
    """Steps of the grid that are not there."""
    inserted: bool
    """Rows of missing values stand for them."""
    first_absent: AbsentStep | None

    def warning(self, n_series: int) -> str:
        """Return a warning for whoever trains on these times; empty where all are even."""
        from lvlora.data.dates import text_of

        first = self.first_absent
        if first is not None:
            time = first.time if isinstance(first.time, str) else text_of(None, first.time)
            of = f" of series '{first.series}'" if n_series > 1 else ""
            are = "step is" if self.absent == 1 else "steps are"
            rows = "missing values stand" if self.inserted else "no rows stand"
            return (
                f"{self.absent:,} time {are} absent beside {self.steps:,} that are there (the "
                f"first: {time}{of}); {rows} in their place"
            )
        if self.uneven:
            median, least, most = map(self.length, (self.median, self.least, self.most))
            return f"the time steps are uneven ({least} to {most}, median {median})"
        return ""

    def length(self, step: float | None) -> str:
        """A step in words: "month", "2 days"; a bare number where times are no dates."""
        from lvlora.data.dates import length_of

        size = math.inf if step is None else step
        return f"{size:.6g}" if self.unit is None else length_of(self.unit, size)


class Quality(Shape):
    """Properties that mislead a training. Lists hold the first 20."""

    n_series: int
    n_variables: int
    shortest: int
    """Steps of the shortest series."""
    longest: int
    n_values: int
    missing: int
    """Values."""
    negative: int
    zero: int
    n_duplicates: int
    duplicates: list[tuple[str, str]]
    """(id, id of the earlier series whose times and values it repeats)."""
    n_constant: int
    constant: list[tuple[str, str]]
    """(id, variable) that never change, or have no value at all."""
    regular: bool
    """All series are sampled at the same even steps."""
    interval: Number
    """Median time between samples."""
    same_times: bool
    time_steps: TimeSteps


class Period(Shape):
    """Distance between peaks, over the series that oscillate."""

    mean_time: Number
    median_time: Number
    mean_samples: Number
    n_series: int
    """Series that have a period."""
    confidence: Number
    """Mean over all series, 0 to 1: how well each agrees with itself one period later, or, where
    it has no period, after any lag."""


class Amplitude(Shape):
    """Largest minus smallest value, and how peaks change."""

    mean: Number
    median_growth_per_period: Number
    """Slope of the log of the peaks' heights."""
    growing: float
    """Share of the series."""
    shrinking: float


class PhaseLag(Shape):
    """How long peaks of one variable follow those of another."""

    mean_time: Number
    median_time: Number
    fraction_of_period: Number
    n_pairs: int
    of: list[str]
    """[the later, the earlier]; empty for one variable."""


class Cluster(Shape):
    """Series of similar dynamics."""

    name: str
    size: int
    share: float
    features: dict[str, Number]
    """Mean of each feature; 0 where a series lacks it."""
    example: str
    """Id of the series nearest to the middle."""


class InitialFinal(Shape):
    """First and last known values."""

    initial: Summary
    final: Summary


class SplitSizes(Shape):
    """The 70/15/15 split that every command makes of this data set."""

    train: int
    validation: int
    test: int
    seed: int
    stratified: bool
    sha256: str


class Analyze(Answer):
    """`lvlora analyze --json`"""

    source: str
    sha256: str
    variables: list[str]
    quality: Quality
    summary: dict[str, Summary]
    """By variable."""
    periods: dict[str, Period]
    amplitudes: dict[str, Amplitude]
    phase_lag: PhaseLag
    clusters: list[Cluster]
    silhouette: Number
    """-1 to 1; near 0: the clusters are no distinct kinds."""
    initial_final: dict[str, InitialFinal]
    split: SplitSizes
    figures: list[str] = Field(default_factory=list)
    """Files; with --out only."""


@dataclass(frozen=True)
class Metric:
    """How people read a metric, written beside its field: ``mae: Annotated[Number, Metric(…)]``."""

    head: str
    """Heading of a column of a table."""
    title: str
    """The same on an axis of a figure."""
    unit: str = ""
    """Of its numbers, where it is neither the data's nor none."""
    more_is_better: bool = False
    wide: bool = False
    """Only for tables that have room, because others say nearly the same."""

    @property
    def head_with_unit(self) -> str:
        """As "phase, periods"."""
        return f"{self.head}, {self.unit}" if self.unit else self.head

    @property
    def axis(self) -> str:
        """As "phase error (periods)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def metrics_of(shape: type[Shape]) -> dict[str, Metric]:
    """The metrics among a shape's fields, in their order."""
    return {
        name: metric
        for name, field in shape.model_fields.items()
        for metric in field.metadata
        if isinstance(metric, Metric)
    }


class Interval(Shape):
    """A number, and its 95 % interval by a bootstrap over series; null with too few series."""

    value: Number
    low: Number
    high: Number


class Difference(Shape):
    """A mean over series, and its 95 % interval; null with too few series."""

    mean: Number
    low: Number
    high: Number


class Errors(Shape):
    """Metrics of one forecaster over all values of all series.

    A metric is added here and in `metrics.score`; tables, figures, files and answers have it then.
    """

    mae: Annotated[Number, Metric("MAE", "mean absolute error")]
    mse: Annotated[Number, Metric("MSE", "mean squared error", wide=True)]
    rmse: Annotated[Number, Metric("RMSE", "root mean squared error")]
    smape: Annotated[Number, Metric("sMAPE", "sMAPE", "%")]
    """In percent, 0 to 200."""
    mase: Annotated[Number, Metric("MASE", "MASE")]
    median_series_mae: Annotated[
        Number, Metric("median MAE", "mean absolute error of the median series")
    ] = None
    crps: Annotated[Number, Metric("CRPS", "CRPS")]
    """The absolute error of a forecaster without samples."""


class DynamicsErrors(Shape):
    """Measures of dynamics that are one number; None where nothing is defined.

    A measure is added here and in `metrics.dynamics_errors`; tables, figures, files and answers
    have it then.
    """

    valid_steps: Annotated[Number, Metric("valid steps", "valid steps", more_is_better=True)]
    """Mean over series of the steps before the first whose sMAPE (0 to 100) exceeds 30."""
    valid_periods: Annotated[Number, Metric("in periods", "valid periods", more_is_better=True)]
    """The same in periods of each series' history, over those that have one."""
    amplitude_error: Annotated[Number, Metric("amplitude", "amplitude error")]
    """Median of |ratio of standard deviations - 1|."""
    phase_error: Annotated[Number, Metric("phase", "phase error", "periods")]
    """In periods, 0 to 0.5."""
    spectrum_distance: Annotated[Number, Metric("spectrum", "Hellinger distance of spectra")]
    """Hellinger distance of power spectra, 0 to 1."""
    state_divergence: Annotated[Number, Metric("D_stsp", "D_stsp", "nats")]
    """D_stsp, in nats."""


class Scores(DynamicsErrors, Errors):
    """How good a forecaster is on a set of series. In original units but where it says otherwise.

    Measures of dynamics are null where nothing is defined: docs/evaluation.md says when.
    """

    valid_by_step: list[Number]
    """Share of series whose forecast is valid up to and with that step; a number a step."""
    coverage: dict[str, Number]
    """Probability of a central interval → share of true values inside; empty without samples."""
    per_variable: dict[str, list[Number]]
    """Metric → a number a variable."""
    per_step: dict[str, list[Number]]
    """Metric → a number a step."""
    mae_by_step: list[list[Number]]
    """A row a step, a number a variable."""
    n_values: int


METRICS = {**metrics_of(Errors), **metrics_of(DynamicsErrors)}
"""Every metric that is computed from arrays, by its key in answers, tables and files."""
