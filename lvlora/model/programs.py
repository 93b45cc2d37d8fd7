"""`lvlora.count_flops` and `lvlora.read_adapter`: what is known of a model without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lvlora.errors import SettingsError
from lvlora.flops.account import account
from lvlora.flops.answers import FlopsAccount
from lvlora.model.shapes import shape_of
from lvlora.settings.checked import checked
from lvlora.settings.data import FlopsSettings
from lvlora.settings.spoken import for_programs

if TYPE_CHECKING:
    from lvlora.model.adapters.files import AdapterInfo
    from lvlora.settings.keywords import FlopsKeywords


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


@for_programs()
def read_adapter(name: str | Path, runs: str | Path = "runs") -> AdapterInfo:
    """What an adapter's files say: PEFT's configuration and lvlora's own facts; no weights.

    Args:
        name: a run, its folder, an adapter's folder, or ``latest``.
        runs: where runs are looked for by name.

    Raises:
        ModelError: there is none, or lvlora cannot honour what it says.
    """
    # torch is not needed to count
    from lvlora.model.adapters.files import read_info
    from lvlora.model.adapters.search import find_adapter

    folder = find_adapter(str(name), Path(runs))
    if folder is None:
        raise SettingsError("none is no adapter.", "Name a run or a folder.")
    return read_info(folder)
