"""Write lvlora/settings/keywords.py: the keyword arguments of Python's verbs, from the settings.

    python scripts/make_keywords.py

A test holds that the file is what this writes.
"""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lvlora.settings import base
from lvlora.settings.base import Settings, field_names
from lvlora.settings.data import FlopsSettings, SimulateSettings
from lvlora.settings.forecasting import ForecastSettings
from lvlora.settings.training import SweepSettings, TrainSettings

PLACE = Path(__file__).parents[1] / "lvlora" / "settings" / "keywords.py"
_HEAD = '''"""The keyword arguments of Python's verbs, as the settings have them, to be completed.

Written by scripts/make_keywords.py from the settings; nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict
'''
KEYWORDS: dict[str, tuple[type[Settings], str, set[str]]] = {
    "TrainKeywords": (TrainSettings, "fine_tune", {"data", "resume"}),
    "SweepKeywords": (SweepSettings, "search", {"data", "space", "status"}),
    "ForecastKeywords": (
        ForecastSettings,
        "predict",
        {
            *("data", "horizon", "output", "samples_out", "plot", "overwrite"),
            *("density", "density_floor", "density_calls"),
        },
    ),
    "SimulateKeywords": (SimulateSettings, "simulate", {"out", "overwrite"}),
    "FlopsKeywords": (
        FlopsSettings,
        "count_flops",
        {
            "model",
            "architecture",
            "vary",
            "measure",
            "ledger",
            "runs",
            "close",
            "figure",
            "output",
            "overwrite",
        },
    ),
}
"""Class -> the settings, the function, and the fields that it does not take as keywords."""

ALSO: dict[Any, str] = {
    base._whole_number: "float | str",
    base._flops_or_none: "float | str",
    base._bytes: "str",
}
"""What a validator takes besides the type that it gives: 1e17, "2GiB"."""


def text() -> str:
    """The module, as it should be, before ruff formats it."""
    parts = [_HEAD]
    for name, (model, verb, left_out) in KEYWORDS.items():
        lines = ["", "", f"class {name}(TypedDict, total=False):"]
        lines.append(f'    """What `{verb}` may be told, as the fields of `{model.__name__}`."""')
        lines.append("")
        for field in field_names(model):
            if field not in left_out:
                lines.append(f"    {field}: {spelled(model.model_fields[field].annotation)}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def spelled(annotation: Any) -> str:
    """A type as a program may give it: paths as text, tuples as any sequence."""
    origin = get_origin(annotation)
    if origin is Annotated:
        bare, *extra = get_args(annotation)
        also = [ALSO.get(getattr(item, "func", None)) for item in extra]
        return " | ".join([spelled(bare), *(name for name in also if name)])
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(spelled(part) for part in get_args(annotation)))
    if origin is Literal:
        words = ", ".join(f'"{word}"' for word in get_args(annotation))
        return f"Literal[{words}]"
    if origin is tuple:
        return f"str | Sequence[{spelled(get_args(annotation)[0])}]"
    if annotation is type(None):
        return "None"
    return {Path: "str | Path"}.get(annotation) or str(annotation.__name__)


def formatted() -> str:
    """The module, as it is in the package."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PLACE), "-"]
    return subprocess.run(
        command, input=text(), capture_output=True, text=True, check=True, cwd=PLACE.parent
    ).stdout


if __name__ == "__main__":
    PLACE.write_text(formatted(), encoding="utf-8")
