"""Words that a shell completes beyond options: choices, models, forecasters, layers, runs.

Must stay fast: no heavy import, no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from lvlora.settings.fields import Field

_MOST_RUNS = 50


def completer_of(field: Field) -> Callable[[typer.Context, str], list[str]] | None:
    """Return a function that completes what was typed of a field's value; None where none can."""
    if field.name not in _WORDS and not field.choices:
        return None

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        # of a list, the last word is completed
        is_list = field.kind == "list"
        done, comma, last = incomplete.rpartition(",") if is_list else ("", "", incomplete)
        taken = done.split(",")
        words = _WORDS[field.name](ctx) if field.name in _WORDS else field.choices
        return [f"{done}{comma}{w}" for w in words if w.startswith(last) and w not in taken]

    return complete


def _models(ctx: typer.Context) -> Iterable[str]:
    from lvlora.model.catalogue import SHORT_NAMES

    return ("auto", "bundled", *SHORT_NAMES)


def _forecasters(ctx: typer.Context) -> Iterable[str]:
    from lvlora.forecast.rivals import default_rivals, option_name

    return ("lm", "auto", *(option_name(rival.name) for rival in default_rivals()))


def _linear_layers(ctx: typer.Context) -> Iterable[str]:
    from lvlora.flops.shape import LINEARS

    return (*LINEARS, "all-linear")


def _runs(ctx: typer.Context) -> Iterable[str]:
    """Folders of runs, studies and evaluations, the newest first, for names begin with the time."""
    runs = ctx.params.get("runs") or os.environ.get("LVLORA_RUNS") or "runs"
    folder = Path(os.path.expanduser(str(runs)))
    try:
        names = sorted((entry.name for entry in os.scandir(folder) if entry.is_dir()), reverse=True)
    except OSError:
        return ()
    return ("latest", *names[:_MOST_RUNS])


_WORDS: dict[str, Callable[[typer.Context], Iterable[str]]] = {
    "model": _models,
    "forecaster": _forecasters,
    "targets": _linear_layers,
    **dict.fromkeys(("adapter", "resume", "run", "study", "close"), _runs),
}
"""Field name → the words that it may be, in every command that has the field."""
