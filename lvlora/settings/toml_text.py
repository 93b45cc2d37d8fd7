"""Settings as a TOML file that gives the same settings again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lvlora.settings.base import Settings, field_names


def to_toml(command: str, settings: Settings, missing: Collection[str] = ()) -> str:
    """The text of a file for ``--config``.

    None has no TOML: such keys stand as comments.

    Args:
        command: whose settings they are.
        missing: required fields that nobody gave; they stand as comments, too.
    """
    import tomli_w

    lines = [f"# settings of lvlora {command}; use them again with --config"]
    panel = ""
    model = type(settings)
    for name in field_names(model):
        extra = model.model_fields[name].json_schema_extra
        assert isinstance(extra, dict)
        if extra["panel"] != panel:
            panel = str(extra["panel"])
            lines += ["", f"# {panel}"]
        value = getattr(settings, name)
        if name in missing:
            lines.append(f"# {name} is required")
        elif value is None:
            lines.append(f"# {name} is not set")
        elif isinstance(value, tuple):
            items = (tomli_w.dumps({"x": item}).partition(" = ")[2].strip() for item in value)
            lines.append(f"{name} = [{', '.join(items)}]")
        else:
            plain = str(value) if isinstance(value, Path) else value
            lines.append(tomli_w.dumps({name: plain}).strip())
    return "\n".join(lines) + "\n"
