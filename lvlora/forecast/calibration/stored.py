"""Corrections of intervals as files, each held to its model's weights and to its own content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lvlora import __version__, durable
from lvlora.answers import Shape
from lvlora.errors import ModelError

_MAX_BYTES = 50_000_000
Kind = TypeVar("Kind", bound=Shape)


def save(path: Path, weights: str | Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write a correction for a model of these weights, whole or not at all."""
    versions = {"schema_version": 1, "lvlora_version": __version__}
    whole = {**versions, "weights": weights, **content}
    text = json.dumps({**whole, "sha256": durable.sha256_of_json(whole)}, indent=1)
    durable.write_text(path, text + "\n")


def load(path: Path, weights: str | Mapping[str, str], kind: type[Kind], hint: str) -> Kind:
    """Read what `save` wrote.

    Raises:
        ModelError: the file is damaged, or for other weights; hint: what to do then.
    """
    content = durable.read_json_object(path, _MAX_BYTES, wrong=ModelError, hint=hint)
    stated = content.pop("sha256", None)
    if stated != durable.sha256_of_json(content):
        raise ModelError(f"{path}: its content is not what it was written with", hint)
    if content.get("weights") != weights:
        raise ModelError(f"{path}: is for other weights than these", hint)
    fields = {name: content[name] for name in kind.model_fields if name in content}
    return checked(path, kind, fields, hint)


def checked(path: Path, kind: type[Kind], fields: Mapping[str, Any], hint: str) -> Kind:
    """A part of a file's content as its class.

    Raises:
        ModelError: it does not fit.
    """
    try:
        return kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: {place}: {first['msg']}", hint) from None
