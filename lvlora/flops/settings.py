"""Settings of `lvlora flops`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from lvlora.settings.base import Convention, FlopsOrNone, Names, Settings, option


class FlopsSettings(Settings):
    """`lvlora flops`: what a step costs, what a budget buys, what was spent."""

    common: ClassVar[tuple[str, ...]] = (
        *("model", "batch_size", "seq_len", "rank", "targets", "train_head", "context"),
        *("new_tokens", "vary", "budget", "ledger"),
    )

    model: str = option(
        "qwen2.5-0.5b",
        "Base model, or a folder with a config.json. Default: the coursework's model, "
        "whose shape needs no weights; auto: the model that train would take.",
        "Model",
        affects="model",
    )
    architecture: bool = option(
        False, "Show the architecture and vocabulary tables instead.", "Model", affects="result"
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
        "Show what fits into this many FLOPs, e.g. 1e17. With --ledger: set the limit of "
        "the project; none lifts it.",
        "Budget",
        affects="project",
    )
    convention: Convention = option(
        "executed", "Convention that a budget is counted in.", "Budget", affects="limit"
    )
    measure: bool = option(
        False,
        "Run the real step on meta tensors under PyTorch's FLOP counter and compare.",
        "Budget",
        affects="result",
    )
    ledger: bool = option(
        False, "Show the accounting table of all runs instead.", "Budget", affects="result"
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
