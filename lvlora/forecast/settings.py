"""Settings of `lvlora forecast`, and how a model draws futures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from lvlora.settings.base import Fractions, Names, Season, Seed, option
from lvlora.settings.shared import (
    AdapterSettings,
    BudgetSettings,
    KnownSettings,
    OutputSettings,
    ResourceSettings,
)

LONGEST_HORIZON = 100_000
"""Time steps of a forecast: each is reckoned with before the first is drawn."""
_how = partial(option, panel="Forecast", affects="result")
"""How to forecast: its value decides the result."""


class SamplingSettings(ResourceSettings):
    """How futures are drawn from the model."""

    samples: int = _how(20, "Futures drawn for each series.", ge=1, le=10_000)
    greedy: bool = _how(False, "Take the likeliest token each time: one future, no intervals.")
    temperature: float = _how(1.0, "Sampling temperature.", gt=0, le=10)
    top_p: float = _how(1.0, "Draw from the likeliest tokens with this mass.", gt=0, le=1)
    views: int = _how(
        4,
        "Scales at which each history is read; the samples are shared among them. More "
        "views have a smaller error and cost a reading each.",
        ge=1,
        le=25,
    )
    season: Season = _how(
        "auto",
        "Steps of a season, for seasonal forecasters and scaled errors; none: no season; "
        "auto: the period that lvlora analyze finds in each history.",
        metavar="N",
    )
    decimals: int | None = _how(
        None, "Decimals of each number. Default: the adapter's, else 2.", ge=0, le=12
    )
    quantiles: Fractions = _how((0.1, 0.5, 0.9), "Quantiles to report.")
    as_drawn: bool = _how(
        False,
        "Use the futures as the model drew them, without the corrections of its folder "
        "(widths.json).",
    )
    calibrated: bool = _how(
        False,
        "Scale the intervals by the factor that lvlora evaluate --calibrate fitted on your data.",
    )
    seed: Seed = _how(0, "Seed of the draws.")


class PanelSettings(BudgetSettings):
    """Workers for a folder of files."""

    scheduler: str | None = option(
        None,
        "With a folder of Parquet files: the address of a dask scheduler, such as tcp://HOST:8786, "
        "whose workers share the parts.",
        "Forecast",
        affects="resources",
        metavar="ADDRESS",
    )


class ForecastSettings(
    KnownSettings, AdapterSettings, SamplingSettings, PanelSettings, OutputSettings
):
    """`lvlora forecast FILE`: the future of one file's trajectories."""

    supports_dry_run: ClassVar[bool] = True
    common: ClassVar[tuple[str, ...]] = (
        "horizon",
        "holdout",
        "forecaster",
        "model",
        "adapter",
        "samples",
        "quantiles",
        "output",
        "plot",
        "series",
        "columns",
        "id_column",
        "time_column",
    )

    data: Path = option(
        ...,
        "CSV, HDF5 or Parquet file, or a folder of Parquet files; - reads CSV from standard input.",
        "Data",
        affects="data",
        argument=True,
        metavar="FILE",
    )
    horizon: int | None = _how(
        None,
        "Time steps to forecast. Default: 20, those of --holdout, or as far as --known columns "
        "are known.",
        short="-n",
        ge=1,
        le=LONGEST_HORIZON,
    )
    holdout: int | None = _how(
        None,
        "Set the last N steps of each series aside, forecast them, and compare with the truth.",
        ge=1,
        le=LONGEST_HORIZON,
        metavar="N",
    )
    no_hindcast: bool = _how(
        False,
        "Do not forecast the history's own last steps too. The model does so where that costs no "
        "more than the forecast and 5e11 FLOPs, and plain rivals that come nearer are named.",
        flag="--no-hindcast/--hindcast",
    )
    forecaster: str = _how(
        "lm",
        "Who forecasts. lm: the language model; auto: the ensemble of the model and its "
        "rivals, weighted by their hindcasts; or one rival, such as seasonal-naive or "
        "sindy-on-rates, without a model.",
        metavar="NAME",
    )
    patience: float = _how(
        10.0,
        "With --forecaster auto: leave out a rival that takes more seconds a series than "
        "this, hindcasts included.",
        gt=0,
        metavar="SECONDS",
    )
    series: Names | None = option(
        None,
        "Ids of the series to forecast (comma-separated); default: all.",
        "Data",
        affects="result",
    )
    context: int | None = _how(
        None,
        "Use only this many last steps of the history. Default: what the model can read.",
        ge=1,
    )
    output: Path | None = option(
        None,
        "Write the forecast as CSV (- writes to standard output).",
        "Output",
        affects="output",
        short="-o",
    )
    samples_out: Path | None = option(
        None, "Write every drawn future into a .csv file.", "Output", affects="output"
    )
    plot: Path | None = option(
        None, "Draw history and forecast into a PNG or SVG.", "Output", affects="output"
    )

    @property
    def n_steps(self) -> int:
        """Steps to forecast."""
        return self.horizon or self.holdout or 20
