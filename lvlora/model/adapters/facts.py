"""What is read of an adapter's lvlora.json: types and ranges, for it may come from a stranger.

Knows: keys. Does not know: hashes, what the facts are used for.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lvlora.flops.model_config import Word
from lvlora.settings.base import NumberFormat

Divisor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Offset = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


class ScaleFacts(_Strict):
    """How a data set's values became numbers of a text."""

    divisors: Annotated[list[Divisor], Field(min_length=1, max_length=100_000)]
    rule: Word
    offsets: Annotated[list[Offset], Field(max_length=100_000)] | None = None


class AdapterFacts(_Strict):
    """What is read of lvlora.json: types and ranges."""

    sha256: dict[Word, Word] | None = None
    sha256_before: dict[Word, Word] | None = None
    config_sha256: Word | None = None
    facts_sha256: Word | None = None
    base_sha256: Word | None = None
    data_sha256: Word | None = None
    split_sha256: Word | None = None
    model: Word | None = None
    model_kind: Word | None = None
    revision: Word | None = None
    decimals: Annotated[int, Field(ge=0, le=12)] = 2
    number_format: NumberFormat = "point"
    scale: ScaleFacts | None = None
    flops: dict[Word, Annotated[int, Field(ge=0)]] | None = None
