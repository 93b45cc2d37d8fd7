"""Settings of the commands that use a model: forecast, baseline, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from lvlora.settings.base import Fractions, Names, NumberFormat, Seed, Split, Words, option
from lvlora.settings.data import InputSettings, MemorySettings, ModelSettings, SplitSettings
from lvlora.settings.training import BudgetSettings

LONGEST_HORIZON = 100_000
"""Time steps of a forecast: each is reckoned with before the first is drawn."""

ForecasterName = Literal[
    "lm",
    "auto",
    "last-value",
    "context-mean",
    "seasonal-naive",
    "context-parroting",
    "var-on-logs",
    "autoarima",
    "fracast-0",
    "s-map",
    "echo-state-network",
    "nvar",
    "gaussian-process",
    "sindy-on-levels",
    "sindy-on-rates",
    "lotka-volterra-fit",
    "self-limited-lotka-volterra-fit",
    "rosenzweig-macarthur-fit",
    "best-fitted-equations",
]
"""Who forecasts: the language model, all together, or a rival that needs one series alone."""

PROTOCOLS: dict[Literal["A", "B"], tuple[int, int]] = {"A": (50, 50), "B": (80, 20)}
"""Steps of history and steps to forecast."""


class SamplingSettings(MemorySettings):
    """How futures are drawn from the model."""

    samples: int = option(
        20, "Futures drawn for each series.", "Forecast", affects="result", ge=1, le=10_000
    )
    greedy: bool = option(
        False,
        "Take the likeliest token each time: one future, no intervals.",
        "Forecast",
        affects="result",
        flag="--greedy",
    )
    temperature: float = option(
        1.0, "Sampling temperature.", "Forecast", affects="result", gt=0, le=10
    )
    top_p: float = option(
        1.0,
        "Draw from the likeliest tokens with this mass.",
        "Forecast",
        affects="result",
        gt=0,
        le=1,
    )
    views: int = option(
        4,
        "Scales at which each history is read, for a smaller error; its samples are shared among "
        "them, and each costs a reading. 1: only the usual scale.",
        "Forecast",
        affects="result",
        ge=1,
        le=25,
    )
    quantiles: Fractions = option(
        (0.1, 0.5, 0.9), "Quantiles to report.", "Forecast", affects="result"
    )
    calibrated: bool = option(
        False,
        "Widen (or narrow) intervals so that they cover what they say; needs the offsets "
        "that lvlora evaluate --calibrate makes.",
        "Forecast",
        affects="result",
        flag="--calibrated",
    )
    seed: Seed = option(0, "Seed of the draws.", "Forecast", affects="result")
    threads: int | None = option(
        None, "CPU threads. Default: all cores.", "Model", affects="resources", ge=1, le=1024
    )


class AdapterSettings(ModelSettings):
    """A base model with or without an adapter."""

    adapter: str | None = option(
        None,
        "Run or adapter folder. Default: the newest run's, if it fits --model; none: zero-shot.",
        "Model",
        affects="model",
    )


class ForecastSettings(InputSettings, AdapterSettings, SamplingSettings, BudgetSettings):
    """`lvlora forecast FILE`: the future of one file's trajectories."""

    supports_dry_run: ClassVar[bool] = True

    data: Path = option(
        ...,
        "CSV, HDF5 or Parquet file; - reads CSV from standard input.",
        "Data",
        affects="data",
        argument=True,
        metavar="FILE",
    )
    horizon: int | None = option(
        None,
        "Time steps to forecast. Default: 20, or those of --holdout.",
        "Forecast",
        affects="result",
        short="-n",
        ge=1,
        le=LONGEST_HORIZON,
    )
    holdout: int | None = option(
        None,
        "Set the last N steps of each series aside, forecast them, and say how near that "
        "came to the truth.",
        "Forecast",
        affects="result",
        ge=1,
        le=LONGEST_HORIZON,
        metavar="N",
    )
    forecaster: ForecasterName = option(
        "lm",
        "Who forecasts. lm: the language model; auto: the model and its rivals together, each "
        "weighted by how well it forecasts the end of the history from its earlier part; or one "
        "rival, for which no model is loaded, for example seasonal-naive or sindy-on-rates.",
        "Forecast",
        affects="result",
        metavar="NAME",
    )
    density: bool = option(
        False,
        "Show the exact distribution of the next step's values instead of drawing futures; "
        "each variable given the likeliest value of those before it.",
        "Forecast",
        affects="result",
        flag="--density",
    )
    density_floor: float = option(
        1e-4,
        "With --density: leave out what has less probability than this; its sum is stated.",
        "Forecast",
        affects="result",
        ge=1e-6,
        le=0.5,
    )
    density_calls: int = option(
        40,
        "With --density: calls of the model for each value, at most (128 branches a call), "
        "the most probable branches first.",
        "Forecast",
        affects="result",
        ge=1,
        le=100_000,
    )
    missing: bool = option(
        False,
        "Futures may have missing values, as a history with gaps has.",
        "Forecast",
        affects="result",
        flag="--missing",
    )
    series: Names | None = option(
        None,
        "Ids of the series to forecast (comma-separated); default: all.",
        "Data",
        affects="result",
    )
    context: int | None = option(
        None,
        "Use only this many last steps of the history. Default: what the model can read.",
        "Forecast",
        affects="result",
        ge=1,
    )
    decimals: int | None = option(
        None,
        "Decimals of each number. Default: the adapter's, else 2.",
        "Forecast",
        affects="result",
        ge=0,
        le=12,
    )
    number_format: NumberFormat | None = option(
        None,
        "How numbers are written: 1.50 (point) or 150 (digits). Default: the adapter's, else "
        "point.",
        "Forecast",
        affects="result",
    )
    output: Path | None = option(
        None,
        "Write the forecast as CSV (- writes to standard output).",
        "Output",
        affects="output",
        short="-o",
    )
    samples_out: Path | None = option(
        None, "Write every drawn future into a .csv, .h5 or .json file.", "Output", affects="output"
    )
    plot: Path | None = option(
        None, "Draw history and forecast into a PNG or SVG.", "Output", affects="output"
    )
    overwrite: bool = option(
        False,
        "Replace files of another kind, too, where results are written.",
        "Output",
        affects="output",
        flag="--overwrite",
    )

    @property
    def n_steps(self) -> int:
        """Steps to forecast."""
        return self.horizon or self.holdout or (1 if self.density else 20)


class ScoringSettings(SplitSettings, ModelSettings, SamplingSettings, BudgetSettings):
    """What baseline and evaluate share: which series, which steps, which forecasters."""

    supports_dry_run: ClassVar[bool] = True

    protocol: Literal["A", "B"] = option(
        "A",
        "Steps given and asked for. A: 50 from 50; B: 20 from 80.",
        "Forecast",
        affects="result",
    )
    context: int | None = option(
        None,
        "Steps of history given to each forecaster. Default: the protocol's; half of the "
        "series where all are too short for it.",
        "Forecast",
        affects="result",
        ge=1,
    )
    horizon: int | None = option(
        None, "Steps to forecast. Default: the protocol's.", "Forecast", affects="result", ge=1
    )
    holdout: int | None = option(
        None,
        "Forecast the last N steps of each series from all that came before (or from the last "
        "--context steps); series may have any length. For example --holdout 12.",
        "Forecast",
        affects="result",
        ge=1,
        le=LONGEST_HORIZON,
        metavar="N",
    )
    windows: int | None = option(
        None,
        "Rolling origins: so many forecasts of --horizon steps of each series, the last of which "
        "ends with it. For example --windows 3 --horizon 12.",
        "Forecast",
        affects="result",
        ge=1,
        le=10_000,
    )
    stride: int | None = option(
        None,
        "With --windows: steps from one forecast to the next. Default: the horizon, so that none "
        "is forecast twice.",
        "Forecast",
        affects="result",
        ge=1,
        le=LONGEST_HORIZON,
    )
    limit: int | None = option(
        None, "Score only the first series of the part.", "Data", affects="result", ge=1
    )
    history_noise: float = option(
        0.0,
        "What if the data were noisier? Multiply what forecasters see by log-normal noise of "
        "this size (0.05: 5 %); what is scored stays as it is.",
        "Data",
        affects="result",
        ge=0,
        le=10,
    )
    history_gaps: float = option(
        0.0,
        "Take this share of the values that forecasters see away.",
        "Data",
        affects="result",
        ge=0,
        lt=1,
    )
    history_steps: int | None = option(
        None,
        "Let forecasters see only so many last steps of each history.",
        "Data",
        affects="result",
        ge=1,
    )
    hide: Names | None = option(
        None,
        "Variables that no forecaster sees; they are not scored either (comma-separated).",
        "Data",
        affects="result",
    )
    decimals: int | None = option(
        None,
        "Decimals of each number. Default: the adapter's, else 2.",
        "Forecast",
        affects="result",
        ge=0,
        le=12,
    )
    number_format: NumberFormat | None = option(
        None,
        "How numbers are written: 1.50 (point) or 150 (digits). Default: the adapter's, else "
        "point.",
        "Forecast",
        affects="result",
    )
    with_model: bool = option(
        True,
        "Leave the language model out.",
        "Model",
        affects="result",
        flag="--model-too/--no-model",
    )
    rivals: bool = option(
        True, "Leave the rivals out.", "Forecast", affects="result", flag="--rivals/--no-rivals"
    )
    together: bool = option(
        False,
        "Add a row of models and rivals together: each forecasts the end of every history from "
        "its earlier part, and is weighted by how near it came.",
        "Forecast",
        affects="result",
        flag="--together",
    )
    workers: int | None = option(
        None,
        "Processes that fit the slow rivals. Default: the cores of this machine.",
        "Forecast",
        affects="resources",
        ge=1,
        le=1024,
    )
    calibrate: bool = option(
        False,
        "Keep with each model what makes its intervals cover what they say, for "
        "--calibrated; not on the train or test part.",
        "Forecast",
        affects="result",
        flag="--calibrate",
    )
    output: Path | None = option(
        None,
        "Write the table as CSV (- writes to standard output).",
        "Output",
        affects="output",
        short="-o",
    )
    overwrite: bool = option(
        False,
        "Replace files of another kind, too, where results are written.",
        "Output",
        affects="output",
        flag="--overwrite",
    )
    fresh: bool = option(
        False,
        "Score everything again, whatever the folder holds.",
        "Output",
        affects="output",
        flag="--fresh",
    )

    @property
    def from_the_end(self) -> bool:
        """Forecasts end with the series, and histories are all that came before."""
        return self.windows is not None or self.holdout is not None

    @property
    def steps(self) -> tuple[int, int]:
        """Steps of history and steps to forecast, where forecasts are not from the end."""
        context, horizon = PROTOCOLS[self.protocol]
        return self.context or context, self.horizon or self.holdout or horizon

    @property
    def protocol_name(self) -> Literal["A", "B", "own"]:
        """A or B, whether named or spelled out, else "own"."""
        if self.from_the_end:
            return "own"
        for name, steps in PROTOCOLS.items():
            if steps == self.steps:
                return name
        return "own"

    def with_adapter(self, adapter: str | None) -> AdapterSettings:
        """The base model with one of the adapters."""
        shared = {name: getattr(self, name) for name in ModelSettings.model_fields}
        return AdapterSettings(**shared, adapter=adapter)


class EvaluateSettings(ScoringSettings):
    """`lvlora evaluate`: adapters, their base model and rivals on one part of a data set."""

    split: Split = option(
        "validation",
        "Part of the data to score; test is for the final table, all for a file of its own that "
        "nothing was trained on.",
        "Data",
        affects="result",
    )
    adapter: Words | None = option(
        None,
        "Run or adapter folder; give it again to score several. Default: the newest run's, if it "
        "fits --model; none: zero-shot.",
        "Model",
        affects="model",
        repeat=True,
        metavar="RUN",
    )
    zero_shot: bool = option(
        True,
        "Leave out the base model without an adapter.",
        "Model",
        affects="result",
        flag="--zero-shot/--no-zero-shot",
    )
    forecasts: Words | None = option(
        None,
        "Forecasts of another program, for a row of their own: a CSV or Parquet table with the "
        "columns series, step, variable, quantile (or sample) and value. Give it again for more.",
        "Forecast",
        affects="result",
        repeat=True,
        metavar="NAME=FILE",
    )
    export_task: Path | None = option(
        None,
        "Score nothing: write what other programs may see into this folder, the histories and "
        "which steps to forecast.",
        "Output",
        affects="output",
        metavar="DIR",
    )
    out: Path | None = option(
        None,
        "Folder for the report, the table and what was forecast. Default: one in --runs "
        "named by what is scored.",
        "Output",
        affects="output",
    )


class BaselineSettings(ScoringSettings):
    """`lvlora baseline`: the zero-shot model and all rivals, one table."""

    split: Literal["train", "validation"] = option(
        "validation",
        "Part of the data to score; lvlora evaluate alone scores the test part.",
        "Data",
        affects="result",
    )
    out: Path | None = option(
        None,
        "Folder for a report, the table and what was forecast; left out: none.",
        "Output",
        affects="output",
    )


class ExportSettings(AdapterSettings):
    """`lvlora export ADAPTER`: merge into the base model, or rewrite as a PEFT folder."""

    adapter: str = option(
        ...,
        "Run or adapter folder, the name of a run, or latest.",
        "Model",
        affects="model",
        argument=True,
        metavar="ADAPTER",
        min_length=1,
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "Precision of the written weights; auto: float32. Merging itself is in float32.",
        "Output",
        affects="result",
    )
    merged: Path | None = option(
        None,
        "Write base and adapter as one plain transformers folder.",
        "Output",
        affects="output",
        metavar="DIR",
    )
    peft: Path | None = option(
        None,
        "Write the adapter as a plain PEFT folder, without paths of this machine.",
        "Output",
        affects="output",
        metavar="DIR",
    )
    runs: Path = option(Path("runs"), "Folder of the runs.", "Output", affects="project")
    overwrite: bool = option(
        False,
        "Replace an export that is there, once the new one is whole.",
        "Output",
        affects="output",
        flag="--overwrite",
    )
