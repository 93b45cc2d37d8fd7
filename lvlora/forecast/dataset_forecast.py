"""Forecasts of all series of a data set: record, table, figure, files, and how near they come.

Steps are set aside (``--holdout``), or the history's own last ones forecast once more (hindcast).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora import output_files
from lvlora.data.answers import Errors, Scores
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import written
from lvlora.data.files.csv import csv_text
from lvlora.data.metrics import score
from lvlora.data.periods import seasons_of, seasons_used
from lvlora.data.splits import cut
from lvlora.errors import DataError
from lvlora.forecast import answers
from lvlora.forecast.answers import Forecasts, ForecastSeries, Future, HindcastScores, HoldoutScores
from lvlora.forecast.forecaster import (
    Forecast,
    Forecaster,
    PlannedForecasts,
    frame_of,
    in_order,
    rows_of,
)
from lvlora.forecast.likelihood import Score
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import ForecastSettings
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.settings.base import Season

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_FEW = 16
"""Series whose forecasts are held against all quick rivals; more, against the naive ones."""
CHEAP = 5 * 10**11
"""The most FLOPs of a hindcast that nobody asked for: six seconds of a core by the bundled model.
"""
_SHOWN = set(Errors.model_fields) - {"median_series_mae"}
"""A table of one forecast has no need of that one."""


@dataclass(frozen=True)
class Truth:
    """The true future of each series, H steps, and the NLL (H, V) of its values, if it has one."""

    futures: Sequence[Series]
    nll: Sequence[FloatArray] | None = None

    @property
    def columns(self) -> list[Mapping[str, FloatArray]]:
        """Further columns of a table of forecasts, for each series: ``truth`` and ``nll``."""
        if self.nll is None:
            return [{"truth": f.values} for f in self.futures]
        return [{"truth": f.values, "nll": n} for f, n in zip(self.futures, self.nll, strict=True)]


@dataclass(frozen=True)
class DatasetForecast:
    """The forecasts of a data set's series: a sequence of `Forecast`, one a series."""

    record: Forecasts
    """The object that ``lvlora forecast --json`` prints."""
    histories: Dataset
    forecasts: Sequence[Forecast]
    levels: Sequence[float]
    """Quantiles to report."""
    truth: Truth | None = None

    def __iter__(self) -> Iterator[Forecast]:
        return iter(self.forecasts)

    def __len__(self) -> int:
        return len(self.forecasts)

    def __getitem__(self, which: int | str) -> Forecast:
        """Return the forecast of a series, by its place or its id, with all samples."""
        if isinstance(which, str):
            which = [one.id for one in self.histories].index(self.histories[which].id)
        return self.forecasts[which]

    def to_frame(self) -> DataFrame:
        """Return a pandas table: a row a series, time and variable; see `frame_of`."""
        return frame_of(self.forecasts, self.levels)

    def _repr_html_(self) -> str:
        """Return the figure for a notebook."""
        from lvlora.report.drawing import style

        return style.image_tag(self.plot(), f"Forecasts of {len(self)} series")

    def plot(self) -> Figure:
        """Draw every series: history, median, bands, and the truth where it is known."""
        from lvlora.report.forecast import forecast_figure

        pictures = []
        for i, forecast in enumerate(self.forecasts):
            truth = None if self.truth is None else self.truth.futures[i].values
            title = forecast.series if len(self) > 1 else ""
            pictures.append(forecast.picture(self.levels, truth=truth, title=title))
        return forecast_figure(pictures)

    def as_csv(self) -> str:
        """Return the long table: a row a series, time and variable."""
        known = () if self.truth is None else self.truth.columns
        rows = rows_of(self.forecasts, self.levels, as_text=True, known=known)
        return csv_text(list(rows[0]) if rows else [], [list(r.values()) for r in rows])

    def samples_as_csv(self) -> str:
        """Return every drawn future: a row a series, sample and time, a column a variable."""
        head = ["id", "sample", self.histories.time_name, *self.histories.variables]
        rows = [
            [f.series, s, t, *map(float, f.samples[s, h])]
            for f in self.forecasts
            for s in range(len(f.samples))
            for h, t in enumerate(written(f.calendar, f.time))
        ]
        return csv_text(head, rows)

    def write(self, settings: ForecastSettings) -> None:
        """Write the files of --output, --samples-out and --plot."""
        if settings.output is not None and settings.output != STANDARD_OUTPUT:
            output_files.write_text(settings.output, self.as_csv())
        if settings.samples_out is not None:
            output_files.write_text(settings.samples_out, self.samples_as_csv())
        if settings.plot is not None:
            from lvlora.report.drawing import style

            with output_files.writing(settings.plot) as part:
                style.save(self.plot(), part)


def named_files(settings: ForecastSettings) -> dict[str, Path | None]:
    """Return each file that is asked for, by its option."""
    return {
        "--output": settings.output,
        "--samples-out": settings.samples_out,
        "--plot": settings.plot,
    }


def series_records(
    histories: Dataset, forecasts: Sequence[Forecast], levels: Sequence[float], truth: Truth | None
) -> list[ForecastSeries]:
    """Return each series' part of the record."""
    names, records = histories.variables, []
    for i, f in enumerate(forecasts):
        more: dict[str, Any] = {"weights": dict(f.weights)} if f.weights else {}
        for key, values in ({} if truth is None else truth.columns[i]).items():
            more[key] = dict(zip(names, values.T.tolist(), strict=True))
        quantiles = {f"{q:g}": f.quantile(q).T.tolist() for q in levels}
        of_variables = zip(names, f.median.T.tolist(), f.mean.T.tolist(), strict=True)
        records.append(
            ForecastSeries(
                id=f.series,
                time=written(f.calendar, f.time),
                scale=None if f.scale is None else answers.Scale(**f.scale.to_dict()),
                context=f.context,
                variables={
                    name: Future(
                        median=median,
                        mean=mean,
                        quantiles={q: values[v] for q, values in quantiles.items()},
                    )
                    for v, (name, median, mean) in enumerate(of_variables)
                },
                **more,
            )
        )
    return records


def hold_out(dataset: Dataset, n_held: int, n_steps: int) -> tuple[Dataset, list[Series]]:
    """The series without their last ``n_held`` steps, and the first ``n_steps`` of those.

    Raises:
        DataError: a series is too short, or none of its held-out values is known.
    """
    for series in dataset:
        if len(series) <= n_held:
            raise DataError(
                f"--holdout {n_held}: series {series.id!r} has {len(series)} steps, which leaves "
                "no history",
                "Hold fewer steps out; --series names the series to take.",
            )
    cuts = [cut(s, len(s) - n_held, n_steps) for s in dataset]
    futures = [c.future for c in cuts]
    if not any(np.isfinite(f.values).any() for f in futures):
        raise DataError(
            f"--holdout {n_held}: every value held out is missing", "Hold other steps out."
        )
    return replace(dataset, series=tuple(c.history for c in cuts)), futures


def scores(
    histories: Dataset,
    truth: Truth,
    forecasts: Sequence[Forecast],
    quantiles: Sequence[float],
    season: Season = "auto",
) -> HoldoutScores:
    """How near forecasts came to the truth, beside rivals that cost next to nothing."""
    # not for forecasts without a truth
    from lvlora.forecast.rivals import naive_rivals, quick_rivals, rivals_for
    from lvlora.forecast.rivals.contract import GREEDY

    values = np.stack([f.values for f in truth.futures])
    seen = [s.values for s in histories]
    periods = np.stack([seasons_of(s, season) for s in histories])

    def scored(forecasts: Sequence[Forecast], samples: FloatArray | None = None) -> Scores:
        point = np.stack([f.median for f in forecasts])
        return score(
            values, point, history=seen, periods=periods, quantiles=quantiles, samples=samples
        )

    plain = quick_rivals(season) if len(histories) <= _FEW else naive_rivals(season)
    rivals, _ = rivals_for(histories, every=plain)
    alone = [replace(s, known=None) for s in histories]
    others = []
    for rival in rivals:
        parts = rival.planned(alone, [values.shape[1]] * len(alone), GREEDY).parts()
        errors = scored(in_order(parts)).model_dump(include=_SHOWN)
        others.append(answers.RivalScores(name=rival.name, **errors))
    samples = np.stack([f.samples for f in forecasts])
    result = scored(forecasts, samples if samples.shape[1] > 1 else None)
    likelihood = None if truth.nll is None else Score.of(truth.nll)
    nearest = min(others, key=_error)
    return HoldoutScores(
        **result.model_dump(include=_SHOWN),
        coverage=result.coverage,
        nll=None if likelihood is None else likelihood.per_dimension,
        nll_possible=None if likelihood is None else likelihood.possible,
        nll_impossible=None if likelihood is None else likelihood.n_impossible,
        n_values=result.n_values,
        rivals=others,
        mase_season=seasons_used(np.round(periods).tolist()),
        nearer=nearest.name if _error(nearest) < _error(result) else None,
    )


def _error(errors: Errors) -> float:
    """The scaled error, in which variables of any size count alike, where it is defined."""
    return next((e for e in (errors.mase, errors.mae) if e is not None), math.inf)


@dataclass(frozen=True)
class Hindcast:
    """A forecast of the history's own last steps, planned and not yet made."""

    histories: Dataset
    futures: list[Series]
    planned: PlannedForecasts

    @classmethod
    def plan(
        cls,
        forecaster: Forecaster,
        data: Dataset,
        n_steps: int,
        sampling: Sampling,
        context: int | None,
    ) -> Hindcast | None:
        """Plan one of as many steps as the forecast, at most a quarter of the shortest history.

        None where a history is too short for one, or does not know its last steps.
        """
        # not for forecasts that are told the truth
        from lvlora.forecast.rivals.futures import recent_origins

        origins = recent_origins(min(len(series) for series in data), n_steps)
        if not origins:
            return None
        n_ahead = origins[-1][1]
        horizons = [n_ahead] * len(data)
        try:
            histories, futures = hold_out(data, n_ahead, n_ahead)
            planned = forecaster.planned(histories.series, horizons, sampling, context=context)
        except DataError:  # nothing is known of the end, or not enough of what is left
            return None
        return cls(histories, futures, planned)

    def scored(
        self, forecasts: Sequence[Forecast], quantiles: Sequence[float], season: Season
    ) -> HindcastScores:
        """Return how near it came, beside plain forecasters."""
        result = scores(self.histories, Truth(self.futures), forecasts, quantiles, season)
        return HindcastScores(**dict(result), steps=len(self.futures[0]))
