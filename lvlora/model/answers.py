"""The answer about models that are written: export."""

from __future__ import annotations

from lvlora.answers import Answer, Shape


class Merge(Shape):
    """A merged model that was read back."""

    folder: str
    dtype: str
    """Of the written weights."""
    family: str
    """transformers' name of the architecture."""
    layers: int
    """Linear layers that took an update."""
    untied: bool
    """The head was one tensor with the embedding and now is not."""
    max_logit_difference: float
    """Largest difference of a logit, the folder's against base and adapter before merging, over the
    whole vocabulary and every place of a text; both computed in float32."""
    largest_logit: float
    """Largest size of a logit, to compare with."""
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
