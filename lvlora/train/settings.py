"""Settings of `lvlora train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from lvlora.settings.base import Names, Seed, Settings, Trackers, option
from lvlora.settings.shared import (
    BudgetSettings,
    KnownSettings,
    ModelSettings,
    ResourceSettings,
    SplitSettings,
)

Schedule = Literal["cosine", "constant"]
TrainHead = Literal["none", "numeric", "full"]
Compile = Literal["auto", "on", "off"]

_lora = partial(option, panel="LoRA", affects="result")
training_option = partial(option, panel="Training", affects="result")
COURSEWORK: dict[str, Any] = {
    "targets": ("q_proj", "v_proj"),
    "batch_size": 4,
    "seq_len": 512,
    "scale_jitter": 0.0,
}
"""Targets of the coursework; `lvlora train` itself begins with what won
(docs/notes/log/2026-11-results.md)."""


class LoraSettings(Settings):
    """h = W0 x + (alpha / r) B A x: rank, scale, and which layers."""

    rank: int = _lora(8, "Rank r of the update.", ge=1, le=4096)
    alpha: float | None = _lora(
        None,
        "Scale numerator: the update is multiplied by alpha/rank. Default: twice the rank.",
        gt=0,
        le=1e6,
    )
    targets: Names = _lora(
        ("all-linear",),
        "Linear layers that get an update, by name (comma-separated), or all-linear.",
        min_length=1,
    )
    layers: str | None = _lora(None, "Only these transformer layers, from 0: 0-5,11. Default: all.")
    dropout: float = _lora(0.0, "Dropout on the input of A.", ge=0, lt=1)
    rslora: bool = _lora(False, "Scale by alpha/sqrt(rank) (rank-stabilised LoRA).")
    train_head: TrainHead = _lora(
        "none",
        "Train the output head too: the alphabet's rows (numeric), or all of it, untied "
        "from the embedding, with the loss over the whole vocabulary (full).",
    )


class LearningSettings(
    SplitSettings, KnownSettings, ModelSettings, LoraSettings, ResourceSettings, BudgetSettings
):
    """Settings of one training; `train` does one, `sweep` many."""

    supports_dry_run: ClassVar[bool] = True

    learning_rate: float = training_option(1e-3, "Peak learning rate of AdamW.", gt=0, le=1)
    schedule: Schedule = training_option("cosine", "Shape of the learning rate after warm-up.")
    warmup: float = training_option(
        0.05, "Share of the steps in which the learning rate rises.", ge=0, le=1
    )
    weight_decay: float = training_option(0.0, "AdamW's decoupled weight decay.", ge=0, le=1000)
    clip_norm: float = training_option(1.0, "Largest gradient norm; 0: no clipping.", ge=0)
    batch_size: int = training_option(2, "Sequences in a micro-batch.", ge=1)
    accumulation: int = training_option(1, "Micro-batches in a step.", ge=1)
    seq_len: int = training_option(1000, "Tokens in a sequence.", ge=8)
    scaling: Literal["dataset", "history"] = option(
        "dataset",
        "How values are scaled. dataset: one scale for all series, from the training "
        "part, also for forecasts with the adapter. history: each sequence by its own "
        "beginning, for series of very different size.",
        "Data",
        affects="result",
    )
    scale_jitter: float = training_option(
        0.2,
        "Multiply each training sequence by a random factor exp(s z), z standard normal, "
        "so that the model sees more scales; 0: off.",
        ge=0,
        le=2,
    )
    mix: float = training_option(
        0.0,
        "Share of training sequences that are simulated predator-prey series, with as "
        "many variables, steps, gaps and as much noise as the data. It helps when there "
        "are few series.",
        ge=0,
        le=0.9,
    )
    max_steps: int | None = training_option(
        None, "Optimiser steps. Default: what --max-flops buys, else 200.", ge=1
    )
    decimals: int = option(
        2, "Decimals of each number in the text.", "Data", affects="result", ge=0, le=12
    )
    loss: Literal["numeric", "full"] = training_option(
        "numeric", "Cross-entropy over the numeric alphabet, or over the whole vocabulary."
    )
    validation: bool = training_option(
        True, "Forecast and score validation series during the training."
    )
    validation_steps: int | None = training_option(
        None,
        "Steps at the end of each series to validate on; they are not trained on. 0: "
        "validate on whole series instead. Default: 0; with fewer than 8 series a quarter "
        "of their steps (4 to 100).",
        ge=0,
        le=10**6,
        metavar="STEPS",
    )
    validate_every: int | None = training_option(
        None,
        "Steps between validations. Default: a quarter of the run; less often where even 4 series "
        "would take more than a twentieth of its FLOPs (a quarter, of a sweep's trial).",
        ge=1,
    )
    validation_series: int | None = training_option(
        None,
        "Series of the validation part that are scored each time. Default: 16; fewer, but at least "
        "4, where all validations would take more than a twentieth of the run's FLOPs (or 2e12, "
        "if that is more; of a sweep's trial, a quarter).",
        ge=1,
    )
    patience: int = training_option(
        0, "Stop after this many validations without progress; 0: never.", ge=0
    )
    save_every: int = option(
        50,
        "Steps between checkpoints to resume from; 0: only at the end.",
        "Training",
        affects="resources",
        ge=0,
    )
    seed: Seed = training_option(0, "Seed of initial weights, batches and dropout.")
    compile: Compile = option(
        "auto",
        "Compile the layers (torch.compile; needs a C++ compiler). auto: for 500 "
        "micro-batches or more.",
        "Model",
        affects="placement",
    )
    tracker: Trackers = option(
        (),
        "Also log to these trackers (comma-separated); each is an extra. See docs/trackers.md.",
        "Output",
        affects="project",
    )

    @model_validator(mode="after")
    def _head_and_loss(self) -> Self:
        if self.loss == "full" and self.train_head == "numeric":
            raise ValueError("train_head: numeric needs the numeric loss; use --train-head full")
        return self

    @model_validator(mode="after")
    def _steps_are_to_validate(self) -> Self:
        if self.validation_steps and not self.validation:
            raise ValueError("validation_steps: there is no validation; leave one of the two out")
        return self

    @property
    def full_loss(self) -> bool:
        """The loss is over the whole vocabulary."""
        return self.loss == "full" or self.train_head == "full"

    @property
    def effective_alpha(self) -> float:
        """alpha, or its default of twice the rank."""
        return 2.0 * self.rank if self.alpha is None else self.alpha


class TrainSettings(LearningSettings):
    """`lvlora train`: one run."""

    common: ClassVar[tuple[str, ...]] = (
        "model",
        "max_steps",
        "max_flops",
        "rank",
        "targets",
        "learning_rate",
        "batch_size",
        "seq_len",
        "seed",
        "out",
        "resume",
        "columns",
        "id_column",
        "time_column",
    )

    out: Path | None = option(
        None, "Folder of this run. Default: runs/<UTC time>-<slug>.", "Output", affects="output"
    )
    resume: str | None = option(
        None,
        "Continue a stopped run (a name or folder; alone: the newest) with its own settings.",
        "Training",
        affects="project",
        bare="latest",
        metavar="RUN",
    )
