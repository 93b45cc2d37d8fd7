"""Settings that several commands share: data, model, adapter, memory, budget."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lvlora.settings.base import (
    Bytes,
    Convention,
    Flops,
    FlopsOrNone,
    Names,
    Seed,
    Settings,
    option,
)

Dtype = Literal["auto", "float32", "bfloat16"]


Device = Literal["auto", "cpu", "cuda", "mps"]


class InputSettings(Settings):
    """Where series come from and how a table is read."""

    data: Path | None = option(
        None,
        "HDF5, CSV or Parquet file with trajectories; - reads CSV from standard input. "
        "Left out: a data set simulated on the spot.",
        "Data",
        affects="data",
        argument=True,
        metavar="[DATA]",
    )
    id_column: str | None = option(
        None, "Column that tells trajectories apart (a long table).", "Data", affects="data"
    )
    time_column: str | None = option(None, "Column with the times.", "Data", affects="data")
    date_format: str | None = option(
        None,
        "How dates are written, such as %d.%m.%Y, %m/%d/%Y or %b %Y; default: ISO (2020-01-31, "
        "2020-01, 2020-W05, 2020-Q1). Results have ISO dates.",
        "Data",
        affects="data",
        metavar="FORMAT",
    )
    columns: Names | None = option(
        None,
        "Variables to use, in this order (comma-separated); default: all.",
        "Data",
        affects="data",
    )


class OutputSettings(Settings):
    """Whether results may replace others."""

    overwrite: bool = option(
        False,
        "Replace existing files. A folder is replaced if all in it is lvlora's, once the new one "
        "is complete.",
        "Output",
        affects="output",
    )


class KnownSettings(InputSettings):
    """Columns whose future is known."""

    known: Names | None = option(
        None,
        "Columns whose future is known (comma-separated), such as season,temperature. "
        "They are inputs and are not forecast. Rows after the last value of the other "
        "columns hold their future.",
        "Data",
        affects="data",
    )


class SplitSettings(InputSettings):
    """Settings of the split into parts."""

    split_seed: Seed = option(
        0, "Seed of the 70/15/15 split into train, validation, test.", "Data", affects="result"
    )
    stratify: bool = option(
        False, "Split within clusters of similar dynamics.", "Data", affects="result"
    )


class ModelSettings(Settings):
    """The base model, its device and its dtype."""

    model: str = option(
        "auto",
        "Base model: bundled, a short name (qwen2.5-0.5b), a hub id, a folder or a .gguf file. "
        "auto: Qwen2.5-0.5B-Instruct if it is in the local hub cache, else bundled.",
        "Model",
        affects="model",
        min_length=1,
    )
    revision: str | None = option(
        None, "Revision (branch, tag, commit) of a hub model.", "Model", affects="model"
    )
    dtype: Dtype = option(
        "auto",
        "Precision of the frozen weights; auto: bfloat16 where it is faster than float32.",
        "Model",
        affects="placement",
    )
    device: Device = option(
        "auto",
        "Where to compute; auto: a CUDA GPU if there is one, else the CPU.",
        "Model",
        affects="placement",
    )


class ResourceSettings(Settings):
    """How much memory decoding may take, and how many cores."""

    max_memory: Bytes | None = option(
        None,
        "Memory for the caches of futures that are decoded together, e.g. 500MB or 4GiB. "
        "The rest is decoded after them, with the same result. Default: 2GiB, or one "
        "future's.",
        "Model",
        affects="resources",
        metavar="SIZE",
    )
    threads: int | None = option(
        None, "CPU threads. Default: all cores.", "Model", affects="resources", ge=1, le=1024
    )


class LimitSettings(Settings):
    """How many FLOPs a project may spend, and how they are counted."""

    budget: FlopsOrNone | None = option(
        None,
        "FLOPs that all runs of this project may spend together, e.g. 1e17. The ledger "
        "remembers it. none: lift the limit.",
        "Budget",
        affects="project",
    )
    convention: Convention = option(
        "executed",
        "Convention in which the limits hold (both are always recorded).",
        "Budget",
        affects="limit",
    )


class BudgetSettings(LimitSettings):
    """How many FLOPs may be spent, among which runs."""

    max_flops: Flops | None = option(
        None, "FLOPs that this run may spend.", "Budget", affects="limit"
    )
    runs: Path = option(
        Path("runs"), "Folder of the runs and their ledger.", "Output", affects="project"
    )

    @property
    def budget_flops(self) -> int | None:
        """The budget that is asked for; None where nothing is said of it, or it is lifted."""
        return None if self.budget == "none" else self.budget


class AdapterSettings(ModelSettings):
    """A base model with or without an adapter."""

    adapter: str | None = option(
        None,
        "Run or adapter folder. Default: the newest run's, if it was trained on these data and "
        "fits --model; none: zero-shot.",
        "Model",
        affects="model",
    )
