"""What a shell may complete beyond options and fixed words: models, runs, studies, targets.

Knows: where names are found. Does not know: shells. Must stay fast: no heavy import, no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Completer = Callable[[str], Sequence[str]]

_MOST_RUNS = 50


def models(incomplete: str) -> list[str]:
    """Names that ``--model`` knows; paths are the shell's own business."""
    from lvlora.model.catalogue import SHORT_NAMES

    return [name for name in ("auto", "bundled", *SHORT_NAMES) if name.startswith(incomplete)]


def priced_models(incomplete: str) -> list[str]:
    """Names that ``lvlora flops --model`` knows."""
    from lvlora.flops.catalogue import KNOWN_SHAPES

    return [name for name in ("bundled", *KNOWN_SHAPES) if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Folders of runs that have an adapter, the newest first."""
    folder = Path(os.environ.get("LVLORA_RUNS") or "runs")
    try:
        found = [run for run in folder.iterdir() if (run / "adapter").is_dir()]
    except OSError:
        return []
    # a run's name begins with its time
    names = sorted((str(run) for run in found), reverse=True)
    return [name for name in names if name.startswith(incomplete)][:_MOST_RUNS]


def linear_layers(incomplete: str) -> list[str]:
    """Target layers; the last of a comma-separated list is completed."""
    from lvlora.flops.shape import LINEARS

    done, comma, last = incomplete.rpartition(",")
    words = [*LINEARS, "all-linear"] if not done else LINEARS
    taken = done.split(",")
    return [f"{done}{comma}{word}" for word in words if word.startswith(last) and word not in taken]


BY_FIELD: dict[str, Completer] = {
    "model": models,
    "adapter": runs,
    "resume": runs,
    "targets": linear_layers,
}
"""Field name → its completer in every command that has the field."""
