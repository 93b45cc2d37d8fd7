"""The answers about forecasters side by side: baseline, evaluate, and the report of either."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError

from lvlora import durable
from lvlora.answers import Answer, Number, Price, Shape
from lvlora.data.answers import Difference, Interval, Metric, Scores
from lvlora.errors import DataError, SettingsError, meant
from lvlora.forecast.answers import PartsFacts
from lvlora.runs import EVALUATION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 2**28
"""Bytes of a record."""
AGAIN = "lvlora evaluate with the same settings and --fresh writes it again."


class TaskFacts(Shape):
    """The task of every forecaster, and how many series it has."""

    name: Literal["A", "B", "own"]
    split: Literal["train", "validation", "test", "all"]
    context: int
    """Steps given; where histories are all that came before, those of the shortest."""
    horizon: int
    """Steps asked for."""
    windows: int | None = None
    """Forecasts of each series; only where they go back from its end."""
    stride: int | None = None
    """Steps from one window to the next, the horizon but in old records; likewise."""
    all_before: bool | None = None
    """Whether histories are all that came before; likewise."""
    series: int
    left_out: int
    """Series that are too short."""
    disturbance: dict[str, float] | None
    """Null, but in old records: noise and gaps that histories were given."""
    seen: str | None
    """The same in words."""
    mase_season: str | None = None
    """Steps of a season in the denominator of MASE: "12", or "none" for steps of one. Absent before
    MASE had seasons."""


class EvaluatedData(Shape):
    """The data set."""

    source: str
    time: str
    sha256: str
    split_seed: int
    stratified: bool
    split_sha256: str
    known: tuple[str, ...] = ()
    """Columns whose future was given."""


class ClusterSize(Shape):
    """A cluster of similar dynamics."""

    name: str
    series: int


class _Forecaster(Shape):
    name: str
    kind: str


class ForecasterScores(Scores, _Forecaster):
    """One row of the table. In original units but where it says otherwise.

    Measures of dynamics are null where nothing is defined: docs/evaluation.md says when.
    """

    uses_known: bool = False
    """It was given the known columns; others leave them out."""
    season: str = ""
    """Steps of the season that it used, ``none`` where it saw none; empty for one without."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Empty, but in old records: member of the ensemble → its mean weight."""
    nll: Annotated[Number, Metric("NLL/D", "negative log-likelihood per dimension")]
    """Per dimension, in nats; null for rivals and where a true value is beyond the grammar."""
    nll_possible: Number
    nll_impossible: int | None
    calibrated_coverage: dict[str, Number]
    per_cluster: dict[str, Number]
    """Cluster → MAE of its series."""
    seconds: Number
    flops: Price | None
    """FLOPs of the model, or of a rival's linear algebra; only models are charged."""
    training_flops: Price | None
    """FLOPs of the run until it made the adapter; null for rivals and where they are not known."""
    mae_minus: dict[str, Difference]
    """Model → this forecaster's MAE minus the model's."""
    skill: Annotated[Interval | None, Metric("skill", "skill", more_is_better=True)]
    """1 - geometric mean of scaled errors over seasonal naive's, or the last
    value's where seasonal naive is left out; null without either."""
    win_rate: Annotated[Interval | None, Metric("win rate", "win rate", more_is_better=True)]
    """Share of pairs with another forecaster, on one series, with the smaller scaled error."""

    def error(self, metric: str) -> float:
        """Return a metric to order rows by; infinite where it is not defined."""
        value: float | None = getattr(self, metric)
        return math.inf if value is None else value


class DrawnSeries(Shape):
    """Forecasts of one series to look at."""

    id: str
    why: Literal["best", "middle", "worst", ""]
    mae: float
    history_time: list[float]
    history: list[list[Number]]
    """A row a step, a number a variable; so are truth, median and bands."""
    time: list[float]
    truth: list[list[Number]]
    median: list[list[Number]]
    bands: list[tuple[float, float, list[list[Number]], list[list[Number]]]]
    """Two levels and the quantiles of each."""


class Drawn(Shape):
    """The best, middle and worst series of the forecaster that the evaluation is about."""

    forecaster: str
    series: list[DrawnSeries]
    calendar: dict[str, Any] | None = None
    """How times are dates; absent where they are numbers."""


class Evaluation(Answer):
    """`lvlora evaluate --json` and `lvlora baseline --json`

    The record evaluation.json is the same without folder and files: all that a page shows. For
    programs it is a sequence of the rows of its forecasters.
    """

    lvlora_version: str
    command: Literal["evaluate", "baseline"]
    created: str
    """UTC, ISO 8601."""
    protocol: TaskFacts
    data: EvaluatedData
    settings: dict[str, Any]
    """Other settings that decide the result → value."""
    scale_spread: Number
    """How many times larger the 95th than the 5th percentile of the scales is that scale mase."""
    led_by: Literal["mae", "mase"]
    """Metric that orders the table: mase where scale_spread exceeds 100."""
    variables: list[str]
    clusters: list[ClusterSize]
    forecasters: Annotated[list[ForecasterScores], Field(min_length=1)]
    drawn: Drawn | None
    key: str
    """A hash of what was forecast from what."""
    folder: str | None = None
    files: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record of an evaluation's folder.

        Raises:
            DataError: the record is missing or damaged.
        """
        file = folder / EVALUATION
        content = durable.read_json_object(file, _LARGEST, hint=AGAIN)
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise DataError(f"{file}: damaged at {place} ({wrong['msg']})", AGAIN) from None

    def __iter__(self) -> Iterator[ForecasterScores]:  # type: ignore[override]
        return iter(self.forecasters)

    def __len__(self) -> int:
        return len(self.forecasters)

    def __getitem__(self, place: int) -> ForecasterScores:
        return self.forecasters[place]

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(row.name for row in self.forecasters)})"

    __str__ = __repr__

    def plot(self, metric: str = "mae") -> Figure:
        """A matplotlib figure: a bar for each forecaster, the best on top.

        Args:
            metric: mae, rmse, crps, … of `ForecasterScores`.

        Raises:
            SettingsError: there is none of that name.
        """
        from lvlora.evaluation.document import bars
        from lvlora.report.drawing.errors import errors_figure

        known = [name for name, value in self.forecasters[0] if isinstance(value, float)]
        if metric not in known:
            raise SettingsError(
                f"metric: {metric!r} is none of these scores",
                f"{meant(metric, known)}There are {', '.join(known)}.",
            )
        return errors_figure(bars(self.forecasters, metric), metric)

    def _repr_html_(self) -> str:
        """For notebooks: one row a forecaster, the best first."""
        import pandas

        columns = ["name", "kind", "mae", "rmse", "crps", "nll"]
        rows = [[getattr(row, column) for column in columns] for row in self.forecasters]
        table = pandas.DataFrame(rows, columns=columns).sort_values("mae", na_position="last")
        html: str = table.to_html(index=False, na_rep="", float_format="{:.4g}".format)
        return html


class PanelScores(Shape):
    """A forecaster on all parts of a folder: means, each part as heavy as its series."""

    name: str
    kind: str
    series: int
    """Series of the parts that it could forecast."""
    mae: Number
    mase: Number
    crps: Number
    seconds: float


class PanelEvaluation(PartsFacts):
    """`lvlora evaluate FOLDER --json` and `lvlora baseline FOLDER --json`"""

    forecasters: list[PanelScores]
    """A row a forecaster, over all parts, those that were there included."""


class EvaluationReport(Answer):
    """`lvlora report FOLDER --json`, of an evaluation"""

    evaluation: str
    folder: str
    protocol: TaskFacts
    forecasters: dict[str, Number]
    """Name → MAE."""
    files: list[str]
    opened: bool
