"""Settings of commands that neither train nor forecast, and what all share of data and model."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from lvlora.settings.base import (
    Bytes,
    Convention,
    FlopsOrNone,
    Names,
    NumberFormat,
    Seed,
    Settings,
    option,
)

Dtype = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
System = Literal["rosenzweig-macarthur", "lotka-volterra", "self-limited"]


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
    format: Literal["auto", "hdf5", "csv", "parquet"] = option(
        "auto", "File format; auto goes by the file's name and first bytes.", "Data", affects="data"
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


class KnownSettings(InputSettings):
    """Columns whose future is known."""

    known: Names | None = option(
        None,
        "Columns whose future is known (comma-separated), such as season,temperature: they are "
        "given to whoever can use them, and not forecast. Rows after the last value of the other "
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
    cache: bool = option(
        True,
        "Convert a .gguf file anew instead of keeping what it becomes (1.3 GB for Qwen2.5-0.5B) "
        "beside the hub's cache.",
        "Model",
        affects="resources",
        flag="--cache/--no-cache",
    )
    dtype: Dtype = option(
        "auto",
        "Precision of the frozen weights; auto: bfloat16 where the processor has it natively.",
        "Model",
        affects="placement",
    )
    device: Device = option(
        "auto",
        "Where to compute; auto: a CUDA GPU if there is one, else the CPU.",
        "Model",
        affects="placement",
    )


class MemorySettings(Settings):
    """How much memory decoding may take."""

    max_memory: Bytes | None = option(
        None,
        "Memory for the caches of futures that are decoded together, e.g. 500MB or 4GiB; more "
        "futures are decoded one group after the other, with the same result. Default: 2GiB, or "
        "one future's.",
        "Model",
        affects="resources",
        metavar="SIZE",
    )


class SimulateSettings(Settings):
    """`lvlora simulate`: write a data set of predator-prey trajectories."""

    output: Path = option(
        Path("simulated.h5"),
        "File to write: .h5, .csv (long) or .parquet; - writes CSV to standard output.",
        "Output",
        affects="output",
        argument=True,
        metavar="[FILE]",
    )
    system: System = option(
        "rosenzweig-macarthur", "Equations to integrate.", "Simulation", affects="result"
    )
    n_series: int = option(
        200, "Number of trajectories.", "Simulation", affects="result", short="-n", ge=1, le=10**6
    )
    n_steps: int = option(
        100, "Samples in each trajectory.", "Simulation", affects="result", ge=2, le=10**6
    )
    duration: float = option(
        200.0,
        "Time of the last sample (the first is at 0), in time units.",
        "Simulation",
        affects="result",
        gt=0,
    )
    noise: float = option(
        0.0,
        "Observation noise: standard deviation of the log of a multiplicative log-normal factor.",
        "Simulation",
        affects="result",
        ge=0,
        le=2,
    )
    gaps: float = option(
        0.0,
        "Share of values that are missing (at random).",
        "Simulation",
        affects="result",
        ge=0,
        lt=1,
    )
    seed: Seed = option(
        0, "Seed; the same seed gives the same file.", "Simulation", affects="result"
    )
    overwrite: bool = option(
        False, "Replace an existing file.", "Output", affects="output", flag="--overwrite"
    )


class AnalyzeSettings(SplitSettings):
    """`lvlora analyze`: quality, statistics, periods, phase lag, clusters, figures."""

    clusters: int = option(4, "Number of KMeans clusters.", "Data", affects="result", ge=1, le=20)
    seed: Seed = option(0, "Seed of the clustering.", "Data", affects="result")
    out: Path | None = option(
        None,
        "Folder for the figures (PNG and SVG) and split.json, the ids in each part; left out: no "
        "files.",
        "Output",
        affects="output",
    )


class TokenizeSettings(InputSettings):
    """`lvlora tokenize`: text, token ids and round-trip error of chosen series."""

    model: str = option(
        "auto", ModelSettings.model_fields["model"].description or "", "Model", affects="model"
    )
    revision: str | None = option(
        None, "Revision (branch, tag, commit) of a hub model.", "Model", affects="model"
    )
    cache: bool = option(
        True,
        "Convert a .gguf file anew instead of keeping what it becomes (1.3 GB for Qwen2.5-0.5B) "
        "beside the hub's cache.",
        "Model",
        affects="resources",
        flag="--cache/--no-cache",
    )
    series: Names | None = option(
        None,
        "Ids of the series to show (comma-separated); default: the first.",
        "Data",
        affects="result",
    )
    steps: int = option(5, "Time steps to show of each series.", "Data", affects="result", ge=1)
    decimals: int = option(
        2, "Decimals of each number in the text.", "Data", affects="result", ge=0, le=12
    )
    number_format: NumberFormat = option(
        "point", "How numbers are written: 1.50 (point) or 150 (digits).", "Data", affects="result"
    )
    scale: float | None = option(
        None,
        "Divide values by this; default: the rule for a data set or a lone series.",
        "Data",
        affects="result",
        gt=0,
        le=1e308,
    )
    text: str | None = option(
        None,
        "Tokenize this text instead of a file's series, for example 1.23.",
        "Data",
        affects="result",
    )


class FlopsSettings(Settings):
    """`lvlora flops`: what a step costs, what a budget buys, what was spent."""

    common: ClassVar[tuple[str, ...]] = (
        "model",
        "batch_size",
        "seq_len",
        "rank",
        "targets",
        "train_head",
        "context",
        "new_tokens",
        "vary",
        "budget",
        "ledger",
    )

    model: str = option(
        "qwen2.5-0.5b",
        "Base model, or a folder with a config.json. The default is the coursework's model, whose "
        "shape is known without its weights; auto: the model that train would take.",
        "Model",
        affects="model",
    )
    architecture: bool = option(
        False,
        "Show the architecture and vocabulary tables instead.",
        "Model",
        affects="result",
        flag="--architecture",
    )
    batch_size: int = option(4, "Sequences in a step.", "Training", affects="result", ge=1)
    seq_len: int = option(512, "Tokens in a sequence.", "Training", affects="result", ge=1)
    rank: int = option(8, "LoRA rank; 0 is the plain model.", "LoRA", affects="result", ge=0)
    targets: Names = option(
        ("q_proj", "v_proj"), "Linear layers with LoRA.", "LoRA", affects="result"
    )
    loss: Literal["numeric", "full"] = option(
        "numeric",
        "Head of the executed step: alphabet rows only, or the whole vocabulary.",
        "Training",
        affects="result",
    )
    train_head: Literal["none", "numeric", "full"] = option(
        "none", "Train the head too.", "LoRA", affects="result"
    )
    context: int = option(
        500, "Tokens of history for the forecast's price.", "Forecast", affects="result", ge=1
    )
    new_tokens: int = option(
        500, "Tokens generated for the forecast's price.", "Forecast", affects="result", ge=0
    )
    vary: str | None = option(
        None,
        "Compare values of one setting: rank=2,4,8, seq-len=128,512, train-head=none,full.",
        "Output",
        affects="result",
        metavar="NAME=V,V",
    )
    budget: FlopsOrNone | None = option(
        None,
        "Show what fits into this many FLOPs, e.g. 1e17. With --ledger: let all runs of this "
        "project spend so many together; none: as many as they want.",
        "Budget",
        affects="project",
    )
    convention: Convention = option(
        "executed", "Convention that a budget is counted in.", "Budget", affects="limit"
    )
    measure: bool = option(
        False,
        "Run the real step on meta tensors under PyTorch's FLOP counter and compare; with "
        "--ledger: measure this machine's peak, for the utilisation.",
        "Budget",
        affects="result",
        flag="--measure",
    )
    ledger: bool = option(
        False,
        "Show the accounting table of all runs instead.",
        "Budget",
        affects="result",
        flag="--ledger",
    )
    runs: Path = option(
        Path("runs"), "Folder of the runs and their ledger.", "Budget", affects="project"
    )
    close: str | None = option(
        None,
        "With --ledger: settle the open reservation of this killed run.",
        "Budget",
        affects="project",
        metavar="RUN",
    )
    figure: Path | None = option(
        None,
        "With --ledger: draw the spending over time into this PNG or SVG.",
        "Output",
        affects="output",
    )
    output: Path | None = option(
        None,
        "With --ledger: write the table as CSV (- writes to standard output).",
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


class DoctorSettings(Settings):
    """`lvlora doctor`: what this machine and this installation can do."""

    runs: Path = option(
        Path("runs"), "Folder of the runs, whose disk is checked.", "Output", affects="project"
    )


class ReportSettings(Settings):
    """`lvlora report RUN`: the page of a run or an evaluation again, from its folder."""

    run: str | None = option(
        None,
        "Folder or name of a run or an evaluation. Left out: the newest.",
        "Data",
        affects="data",
        argument=True,
        metavar="[RUN]",
        min_length=1,
    )
    open: bool = option(
        False, "Open the page in the browser.", "Output", affects="output", flag="--open"
    )
    runs: Path = option(Path("runs"), "Folder of the runs.", "Output", affects="project")
