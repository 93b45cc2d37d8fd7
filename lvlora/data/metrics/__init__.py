"""All metrics of forecasts: a field each, and beside it what tables and axes call it.

`scores` has the errors and the scores of sampled forecasts, and puts all metrics of one forecaster
together; `dynamics` says whether a forecast moves as the truth does. Answers with metrics are read
by this module, which needs pydantic alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lvlora.answers import Number, Shape


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

    A metric is added here and in `scores`; tables, figures, files and answers have it then.
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

    A measure is added here and in `dynamics`; tables, figures, files and answers have it then.
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
