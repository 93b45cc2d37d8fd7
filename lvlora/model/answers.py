"""The answer about models that are written: export."""

from __future__ import annotations

from lvlora.answers import Answer, Number, Shape


class Merge(Shape):
    """A merged model that was read back."""

    folder: str
    dtype: str
    family: str
    layers: int
    """That took an update."""
    untied: bool
    """The head is no longer one tensor with the embedding."""
    max_logit_difference: Number
    largest_logit: Number
    tokens: int
    """Places that were compared."""


class Folder(Shape):
    """Where it was written."""

    folder: str


class Export(Answer):
    """`lvlora export --json`"""

    adapter: str
    model: str
    merged: Merge | None
    peft: Folder | None
    bytes: dict[str, int]
    """Folder → size."""
