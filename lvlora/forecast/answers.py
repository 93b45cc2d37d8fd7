"""The answers about forecasts of a data set, and their price."""

from __future__ import annotations

from typing import Any

from lvlora.answers import Answer, Count, Estimate, Number, Price, Shape
from lvlora.data.answers import Errors


class ModelFacts(Shape):
    """The model of a forecast, and how it computed."""

    name: str
    """Name of the base model."""
    adapter: str | None
    sha256: str
    """Hash of the base model's weights."""
    dtype: str
    device: str
    widths: str | None = None
    """Hash of the rules by which its folder moves and widens futures; None: they are as drawn."""


class ForecastTiming(Shape):
    """Seconds."""

    load_seconds: float
    decode_seconds: float
    """Covers prefill too."""
    prefill_seconds: float


class Scale(Shape):
    """Numbers of the text are (value - offset) / divisor; a number for each variable."""

    divisors: list[float]
    rule: str
    offsets: list[float]


class Future(Shape):
    """Forecast of one variable; a number a step."""

    median: list[Number]
    mean: list[Number]
    quantiles: dict[str, list[Number]]
    """Level → a number a step."""


class ForecastSeries(Shape):
    """The future of one series."""

    id: str
    time: list[float] | list[str]
    """Numbers, or dates where the data have dates."""
    scale: Scale | None
    """Null for a forecaster that reads no text."""
    context: int
    """Steps of the history that were read."""
    variables: dict[str, Future]
    weights: dict[str, float] | None = None
    """Forecaster → its share in this series' forecast; with --forecaster auto only."""
    truth: dict[str, list[Number]] | None = None
    """With --holdout only."""
    nll: dict[str, list[Number]] | None = None
    """Negative log-likelihood of each true value in nats; with --holdout only."""


class EnsembleMember(Shape):
    """A member of the ensemble, or one that was left out for being slow."""

    name: str
    weight: float | None
    """Mean over the series; null for who was left out."""
    seconds: float
    """Hindcasts and forecasts of all series, added up over processes."""


class _Named(Shape):
    name: str


class RivalScores(Errors, _Named):
    """How near a plain forecaster came to the steps that were held out."""


class HoldoutScores(Errors):
    """How near a forecast came to the steps that were held out, and how near others do."""

    coverage: dict[str, Number]
    """Probability of a central interval → share of true values inside."""
    nll: Number
    """Per dimension, in nats; null where a true value is beyond the grammar, and for who has no
    likelihood."""
    nll_possible: Number
    """The same without those."""
    nll_impossible: int | None
    n_values: int
    rivals: list[RivalScores]
    mase_season: str
    """Steps of a season in the denominator of MASE: "12", or "none" for steps of one."""
    nearer: str | None = None
    """The rival that came nearest, where it was nearer than the forecast."""


class HindcastScores(HoldoutScores):
    """How near a forecast of the history's own last steps comes, and how near others do."""

    steps: int


class Forecasts(Answer):
    """`lvlora forecast FILE --json`"""

    series: list[ForecastSeries]
    model: ModelFacts | None
    """Null where a rival forecasts."""
    forecaster: str | None = None
    """Name of the forecaster, if not the model alone; with --forecaster only."""
    members: list[EnsembleMember] | None = None
    """The greatest weight first; with --forecaster auto only."""
    horizon: int
    samples: int
    scores: HoldoutScores | None = None
    """With --holdout only."""
    hindcast: HindcastScores | None = None
    """Without --holdout, by a model, where it is cheap."""
    calibration: dict[str, Any] | None = None
    """How the intervals were calibrated; with --calibrated only."""
    flops: Price
    timing: ForecastTiming
    files: list[str]


class PartsFacts(Answer):
    """Parts of a folder, and what making them took."""

    folder: str
    """Where the results of the parts are, under the names of the parts."""
    parts: int
    parts_kept: int
    """Parts that were there already."""
    series: int
    """Series of the parts that were made now."""
    flops: Price
    seconds: float


class PanelForecasts(PartsFacts):
    """`lvlora forecast FOLDER --json`"""


class ForecastPrice(Answer):
    """`lvlora forecast FILE --dry-run --json`, and the same of evaluate and baseline."""

    flops_at_most: Price | None
    """Price bound of all models; null without one."""
    forecasters: dict[str, Price]
    estimate: Estimate | None
    """Null where it cannot be known."""
    n_series: Count
    """Series that would be forecast."""
