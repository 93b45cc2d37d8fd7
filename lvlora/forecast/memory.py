"""How many futures may be decoded together: as many as their caches fit into a limit.

Knows: the size of a cache's row. Does not know: what is decoded.
"""

from __future__ import annotations

from lvlora.errors import SettingsError
from lvlora.forecast.rows import WIDEST
from lvlora.model.cache import in_blocks
from lvlora.model.loading import Outline

DEFAULT_BYTES = 2 * 2**30
_BESIDES = 1 + WIDEST
"""Places of a row beyond its text: the start token, and what is fed to rows that are done."""
MOST_ROWS = 1024
"""More rows at once make nothing faster."""


def row_bytes(base: Outline, tokens: int) -> int:
    """Keys and values of all layers for one row of so many tokens, in whole blocks."""
    shape = base.shape
    places = in_blocks(tokens + _BESIDES)
    item = base.placement.dtype.itemsize
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * places * item


def rows_at_a_time(base: Outline, tokens: int, limit: int | None) -> int:
    """Rows of so many tokens whose caches fit into ``limit`` bytes.

    Without a limit it is `DEFAULT_BYTES`, and a single row may be larger.

    Raises:
        SettingsError: not even one row fits into the limit that was given.
    """
    row = row_bytes(base, tokens)
    rows = (DEFAULT_BYTES if limit is None else limit) // row
    if rows < 1 and limit is not None:
        raise SettingsError(
            f"--max-memory {limit:,}: the cache of one future of {tokens:,} tokens takes "
            f"{row:,} bytes with {base.name}",
            "Allow more, or shorten --context or --horizon.",
        )
    return max(1, min(MOST_ROWS, rows))
