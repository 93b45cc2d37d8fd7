"""The keyword arguments of Python's verbs, as the settings have them, to be completed.

Written by scripts/make_keywords.py from the settings; nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict


class TrainKeywords(TypedDict, total=False):
    """What `fine_tune` may be told, as the fields of `TrainSettings`."""

    format: Literal["auto", "hdf5", "csv", "parquet"]
    id_column: str | None
    time_column: str | None
    date_format: str | None
    columns: str | Sequence[str] | None
    split_seed: int
    stratify: bool
    known: str | Sequence[str] | None
    times: Literal["ignored", "told"]
    gaps: Literal["filled", "told"]
    scaling: Literal["dataset", "history"]
    decimals: int
    number_format: Literal["point", "digits"]
    model: str
    revision: str | None
    cache: bool
    dtype: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    max_memory: int | str | None
    compile: Literal["auto", "on", "off"]
    activations: Literal["half", "full"]
    threads: int | None
    rank: int
    alpha: float | None
    targets: str | Sequence[str]
    layers: str | None
    dropout: float
    rslora: bool
    train_head: Literal["none", "numeric", "full"]
    learning_rate: float
    schedule: Literal["cosine", "one-cycle", "constant"]
    warmup: float
    weight_decay: float
    clip_norm: float
    batch_size: int
    accumulation: int
    seq_len: int
    window_start: Literal["random", "first"]
    scale_jitter: float
    mix: float
    max_steps: int | None
    loss: Literal["numeric", "full"]
    validation: bool
    validation_steps: int | None
    validate_every: int | None
    validation_series: int | None
    objective: Literal["error", "loss"]
    patience: int
    save_every: int
    seed: int
    budget: int | Literal["none"] | float | str | None
    max_flops: int | float | str | None
    convention: Literal["executed", "coursework"]
    runs: str | Path
    tracker: str | Sequence[Literal["tensorboard", "trackio", "wandb", "mlflow"]]
    out: str | Path | None
    overwrite: bool


class SweepKeywords(TypedDict, total=False):
    """What `search` may be told, as the fields of `SweepSettings`."""

    format: Literal["auto", "hdf5", "csv", "parquet"]
    id_column: str | None
    time_column: str | None
    date_format: str | None
    columns: str | Sequence[str] | None
    split_seed: int
    stratify: bool
    known: str | Sequence[str] | None
    times: Literal["ignored", "told"]
    gaps: Literal["filled", "told"]
    scaling: Literal["dataset", "history"]
    decimals: int
    number_format: Literal["point", "digits"]
    model: str
    revision: str | None
    cache: bool
    dtype: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    max_memory: int | str | None
    compile: Literal["auto", "on", "off"]
    activations: Literal["half", "full"]
    threads: int | None
    rank: int
    alpha: float | None
    targets: str | Sequence[str]
    layers: str | None
    dropout: float
    rslora: bool
    train_head: Literal["none", "numeric", "full"]
    learning_rate: float
    schedule: Literal["cosine", "one-cycle", "constant"]
    warmup: float
    weight_decay: float
    clip_norm: float
    batch_size: int
    accumulation: int
    seq_len: int
    window_start: Literal["random", "first"]
    scale_jitter: float
    mix: float
    max_steps: int | None
    loss: Literal["numeric", "full"]
    validation: bool
    validation_steps: int | None
    validate_every: int | None
    validation_series: int | None
    objective: Literal["error", "loss"]
    patience: int
    save_every: int
    seed: int
    preset: Literal["quick", "coursework"]
    sampler: Literal["auto", "grid", "random", "tpe"]
    trials: int | None
    pruner: Literal["none", "halving", "hyperband"]
    pareto: bool
    workers: int
    budget: int | Literal["none"] | float | str | None
    max_flops: int | float | str | None
    convention: Literal["executed", "coursework"]
    runs: str | Path
    tracker: str | Sequence[Literal["tensorboard", "trackio", "wandb", "mlflow"]]
    study: str
    storage: str | None


class ForecastKeywords(TypedDict, total=False):
    """What `predict` may be told, as the fields of `ForecastSettings`."""

    format: Literal["auto", "hdf5", "csv", "parquet"]
    id_column: str | None
    time_column: str | None
    date_format: str | None
    columns: str | Sequence[str] | None
    known: str | Sequence[str] | None
    future: str | Path | None
    series: str | Sequence[str] | None
    model: str
    revision: str | None
    cache: bool
    dtype: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    adapter: str | None
    max_memory: int | str | None
    threads: int | None
    times: Literal["auto", "told", "resampled", "ignored"]
    gaps: Literal["auto", "filled", "told"]
    samples: int
    greedy: bool
    temperature: float
    top_p: float
    views: int
    season: int | Literal["auto", "none"]
    quantiles: str | Sequence[float]
    as_drawn: bool
    calibrated: bool
    seed: int
    holdout: int | None
    forecaster: str
    missing: bool
    context: int | None
    decimals: int | None
    number_format: Literal["point", "digits"] | None
    budget: int | Literal["none"] | float | str | None
    max_flops: int | float | str | None
    convention: Literal["executed", "coursework"]
    runs: str | Path


class SimulateKeywords(TypedDict, total=False):
    """What `simulate` may be told, as the fields of `SimulateSettings`."""

    output: str | Path
    system: Literal["rosenzweig-macarthur", "lotka-volterra", "self-limited"]
    n_series: int
    n_steps: int
    duration: float
    noise: float
    gaps: float
    seed: int


class FlopsKeywords(TypedDict, total=False):
    """What `count_flops` may be told, as the fields of `FlopsSettings`."""

    rank: int
    targets: str | Sequence[str]
    train_head: Literal["none", "numeric", "full"]
    batch_size: int
    seq_len: int
    loss: Literal["numeric", "full"]
    context: int
    new_tokens: int
    budget: int | Literal["none"] | float | str | None
    convention: Literal["executed", "coursework"]
