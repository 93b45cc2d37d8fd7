"""The answers about data: simulate and analyze."""

from __future__ import annotations

import math

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
