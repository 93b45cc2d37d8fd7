"""Settings of the commands that put forecasters side by side: evaluate, baseline."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from lvlora.forecast.settings import LONGEST_HORIZON, PanelSettings, SamplingSettings
from lvlora.settings.base import Split, Words, option
from lvlora.settings.shared import (
    AdapterSettings,
    KnownSettings,
    ModelSettings,
    OutputSettings,
    SplitSettings,
)

PROTOCOLS: dict[Literal["A", "B"], tuple[int, int]] = {"A": (50, 50), "B": (80, 20)}
"""Steps of history and steps to forecast."""


class EvaluateSettings(
    SplitSettings, KnownSettings, ModelSettings, SamplingSettings, PanelSettings, OutputSettings
):
    """`lvlora evaluate`: adapters, their base model and rivals on one part of a data set."""

    supports_dry_run: ClassVar[bool] = True
    command: ClassVar[Literal["evaluate", "baseline"]] = "evaluate"
    common: ClassVar[tuple[str, ...]] = (
        "model",
        "adapter",
        "split",
        "limit",
        "protocol",
        "context",
        "horizon",
        "holdout",
        "windows",
        "samples",
        "calibrate",
        "out",
        "columns",
        "id_column",
        "time_column",
    )

    protocol: Literal["A", "B"] = option(
        "A",
        "Steps of history and steps to forecast. A: 50 and 50; B: 80 and 20.",
        "Forecast",
        affects="result",
    )
    context: int | None = option(
        None,
        "Steps of history for each forecaster. Default: the protocol's; half of the "
        "series where all are too short for it.",
        "Forecast",
        affects="result",
        ge=1,
    )
    horizon: int | None = option(
        None,
        "Steps to forecast. Default: the protocol's.",
        "Forecast",
        affects="result",
        ge=1,
        le=LONGEST_HORIZON,
    )
    holdout: int | None = option(
        None,
        "Forecast the last N steps of each series from all steps before (or from the last "
        "--context ones). Series may have any length. For example --holdout 12.",
        "Forecast",
        affects="result",
        ge=1,
        le=LONGEST_HORIZON,
        metavar="N",
    )
    windows: int | None = option(
        None,
        "Rolling origins: the number of forecasts of --horizon steps of each series; the "
        "last one ends with it. For example --windows 3 --horizon 12.",
        "Forecast",
        affects="result",
        ge=1,
        le=10_000,
    )
    limit: int | None = option(
        None, "Score only the first series of the part.", "Data", affects="result", ge=1
    )
    with_model: bool = option(
        True,
        "Score the language model, too.",
        "Model",
        affects="result",
        flag="--model-too/--no-model",
    )
    rivals: bool = option(
        True,
        "Score the rivals, too.",
        "Forecast",
        affects="result",
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
        "Fit a factor that widens or narrows each model's intervals to the coverage they "
        "claim, for --calibrated. Not on the train or test part.",
        "Forecast",
        affects="result",
    )
    output: Path | None = option(
        None,
        "Write the table as CSV (- writes to standard output).",
        "Output",
        affects="output",
        short="-o",
    )
    fresh: bool = option(
        False,
        "Score everything again, and use nothing that the folder has.",
        "Output",
        affects="output",
    )

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
        "was trained on these data and fits --model; none: zero-shot.",
        "Model",
        affects="model",
        repeat=True,
        metavar="RUN",
    )
    zero_shot: bool = option(
        True,
        "Score the base model without an adapter, too.",
        "Model",
        affects="result",
    )
    out: Path | None = option(
        None,
        "Folder for the report, the table and the forecasts. Default: one in --runs, "
        "named by the task.",
        "Output",
        affects="output",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse options that contradict each other."""
        calibrated = self.calibrate or self.calibrated
        contradictions = {
            "--no-model and --no-rivals leave nothing to score": not (
                self.with_model or self.rivals
            ),
            "--holdout and --windows: choose the last steps, or rolling origins": (
                self.holdout is not None and self.windows is not None
            ),
            "--holdout forecasts all steps that it holds out: leave --horizon out": (
                self.holdout is not None and self.horizon not in (None, self.holdout)
            ),
            "--calibrate and --calibrated need a model: leave --no-model out": (
                calibrated and not self.with_model
            ),
            "--calibrate and --calibrated: one future has no intervals; draw some --samples": (
                calibrated and (self.greedy or self.samples < 2)
            ),
            f"--calibrate: the {self.split} part is not for calibration; use --split validation, "
            "or a file of its own with --split all": (
                self.calibrate and self.split in ("train", "test")
            ),
        }
        for sentence, holds in contradictions.items():
            if holds:
                raise ValueError(sentence)
        return self

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


class BaselineSettings(EvaluateSettings):
    """`lvlora baseline`: ``evaluate --adapter none``, with a folder only where --out names one."""

    command: ClassVar[Literal["evaluate", "baseline"]] = "baseline"

    split: Literal["train", "validation"] = option(
        "validation",
        "Part of the data to score; lvlora evaluate alone scores the test part.",
        "Data",
        affects="result",
    )
    adapter: Words | None = option(
        ("none",),
        "Run or adapter folder; give it again to score several. Default: none, zero-shot.",
        "Model",
        affects="model",
        repeat=True,
        metavar="RUN",
    )
