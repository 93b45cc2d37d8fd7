"""The shape of a named model, and what a training step and a forecast of it cost; no weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lvlora.errors import ModelError
from lvlora.flops.account import account
from lvlora.flops.answers import FlopsAccount
from lvlora.flops.catalogue import find_shape
from lvlora.flops.shape import ModelShape
from lvlora.model.catalogue import read_config, resolve
from lvlora.narrator import Narrator, Silent
from lvlora.settings import FlopsSettings
from lvlora.settings.checked import checked
from lvlora.settings.spoken import for_programs

if TYPE_CHECKING:
    from lvlora.settings.keywords import FlopsKeywords


def shape_of(model: str, narrator: Narrator | None = None) -> ModelShape:
    """The model's shape: known by name, from a config.json, or from the local hub cache.

    Args:
        narrator: told which model ``auto`` is.

    Raises:
        ModelError: it is not known, and there is no such folder.
    """
    if Path(model).suffix.lower() == ".gguf":
        raise ModelError(
            f"{model}: the shape of a .gguf file is not read here",
            "Give the model's short name, or a folder with its config.json.",
        )
    if model in ("auto", "bundled"):
        source = resolve(model)
        if source.note:
            (narrator or Silent()).note(source.note)
        if source.kind == "bundled":
            return dataclasses.replace(find_shape(source.location), name=source.name)
        model = source.name
    try:
        return find_shape(model)
    except ModelError:
        if "/" not in model:
            raise
        config = read_config(resolve(model))
        if config is None:
            raise
        return ModelShape.from_config(config, name=model)


@for_programs()
def count_flops(model: str = "bundled", **settings: Unpack[FlopsKeywords]) -> FlopsAccount:
    """What a training step and a forecast of a model cost, itemised in both conventions.

    >>> count_flops("qwen2.5-0.5b", rank=4).trainable_parameters
    270336

    Args:
        model: bundled, a short name, or a folder with a config.json.
        settings: rank, targets, batch_size, seq_len, loss, train_head, context, new_tokens, budget.

    Returns:
        What ``lvlora flops --json`` prints. Neither torch nor weights are needed.

    Raises:
        ModelError: the shape of that model is not known.
    """
    chosen = checked(FlopsSettings, {"model": model, **settings})
    return account(chosen, shape_of(model))
