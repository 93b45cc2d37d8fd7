"""Settings of `lvlora tokenize` and `lvlora export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lvlora.settings.base import Names, option
from lvlora.settings.shared import AdapterSettings, InputSettings, ModelSettings, OutputSettings


class TokenizeSettings(InputSettings):
    """`lvlora tokenize`: text, token ids and round-trip error of chosen series."""

    model: str = option(
        "auto", ModelSettings.model_fields["model"].description or "", "Model", affects="model"
    )
    revision: str | None = option(
        None, "Revision (branch, tag, commit) of a hub model.", "Model", affects="model"
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


class ExportSettings(AdapterSettings, OutputSettings):
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
