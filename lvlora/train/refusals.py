"""What no run can be, refused before anything of its size is made or anything is written."""

from __future__ import annotations

from pathlib import Path

import torch

from lvlora.errors import SettingsError
from lvlora.model.loading import BaseModel
from lvlora.model.machine import memory_limit
from lvlora.settings import TrainSettings


def check_names(settings: TrainSettings) -> None:
    """A run writes down what it was made of, in files that are UTF-8 throughout."""
    for name, value in settings:
        if isinstance(value, str | Path):
            try:
                str(value).encode()
            except UnicodeEncodeError:
                raise SettingsError(
                    f"{name}: {str(value)!a} is not UTF-8, so the run could not say what it "
                    "was made of",
                    "Rename it, or make a link with another name to it.",
                ) from None


def check_memory(settings: TrainSettings, base: BaseModel, width: int) -> None:
    """Refuse a micro-batch that cannot fit, before anything of its size is made.

    Counted is what every training keeps: the tokens, and what goes into each layer, for backward.
    Several times as much is used, so that more than this limit may be too much as well.
    """
    device, n_processes = base.placement.device, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        n_processes = torch.distributed.get_world_size()
    limit = memory_limit()
    if device.type == "cuda":
        limit = torch.cuda.get_device_properties(device).total_memory
    shape = base.shape
    micro_batches = settings.accumulation * settings.batch_size * width * 16
    row = width * (shape.layers * shape.hidden * base.placement.dtype.itemsize + 16)
    rows = -(-settings.batch_size // n_processes)
    if limit is not None and rows * row > limit:
        raise SettingsError(
            f"--batch-size {settings.batch_size:,}: {rows:,} sequences of {width:,} tokens take "
            f"more than {rows * row / 1e9:,.0f} GB of memory with {base.name}, of "
            f"{limit / 1e9:,.1f} GB that are there",
            "Smaller ones make the same step with --accumulation.",
        )
    if limit is not None and micro_batches > limit:
        raise SettingsError(
            f"--accumulation {settings.accumulation:,}: the tokens of a step alone take "
            f"{micro_batches / 1e9:,.0f} GB of memory, of {limit / 1e9:,.1f} GB that are there",
            "A step of fewer micro-batches is large enough.",
        )
