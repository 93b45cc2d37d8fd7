"""A key/value cache whose rows have lengths of their own and can be taken back.

Histories of different lengths begin at position 0 each; a row's tail beyond its length is masked,
not removed, so taking a token back costs nothing. The buffers grow in blocks and attention runs
over whole blocks: a slice of a larger buffer would be copied before every product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

BLOCK = 128


class Places:
    """Where the layers write, the same for all of them.

    The layers know it and not their cache, which knows them: a circle of references would keep
    gigabytes until Python looks for circles.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.capacity = capacity
        self.write_at = self.row_index = torch.zeros(0, 0, dtype=torch.long, device=device)


class RowLayer:
    """One layer's buffers, (rows, kv heads, capacity, head dim); none before its prefill."""

    keys: Tensor
    values: Tensor

    def __init__(self, places: Places) -> None:
        self.places = places
        self.is_filled = False

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep new keys and values, (rows, kv heads, new, head dim).

        Returns:
            those to attend to: the new ones of a prefill, else the buffers.
        """
        if not self.is_filled:
            rows, heads, width, dim = keys.shape
            self.keys = keys.new_zeros(rows, heads, self.places.capacity, dim)
            self.values = torch.zeros_like(self.keys)
            self.keys[:, :, :width] = keys
            self.values[:, :, :width] = values
            self.is_filled = True
            return keys, values  # a prefill attends to itself alone
        for buffer, new in ((self.keys, keys), (self.values, values)):
            buffer[self.places.row_index, :, self.places.write_at] = new.transpose(1, 2)
        return self.keys, self.values


class RowCache:
    """The cache of all layers.

    Attributes:
        rows: the layers' buffers.
        lengths: (rows,) tokens that count in each row.
    """

    def __init__(self, n_layers: int, capacity: int, device: torch.device) -> None:
        self.places = Places(in_blocks(capacity), device)
        self.device = device
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        self.rows = [RowLayer(self.places) for _ in range(n_layers)]

    @property
    def capacity(self) -> int:
        """Positions that the buffers hold."""
        return self.places.capacity

    def began(self, lengths: Tensor) -> None:
        """After a prefill: how many tokens of each row are real."""
        self.lengths = lengths.to(self.device)

    def repeat(self, rows: Tensor) -> None:
        """Rows of the new cache, as indices of rows of this one."""
        self.lengths = self.lengths[rows]
        for layer in self.rows:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def append(self, other: RowCache) -> None:
        """The rows of another cache of the same capacity behind the rows of this one."""
        self.lengths = torch.cat([self.lengths, other.lengths])
        for layer, more in zip(self.rows, other.rows, strict=True):
            layer.keys = torch.cat([layer.keys, more.keys])
            layer.values = torch.cat([layer.values, more.values])

    def prepare(self, width: int) -> tuple[Tensor, Tensor]:
        """Before a call with ``width`` new tokens a row.

        Returns:
            position ids (rows, width), and the mask (rows, 1, width, capacity) of what each new
            token may attend to.
        """
        needed = int(self.lengths.max()) + width
        if needed > self.capacity:
            self._grow(in_blocks(needed))
        offsets = torch.arange(width, device=self.device)
        write_at = self.lengths[:, None] + offsets
        self.places.write_at = write_at
        self.places.row_index = torch.arange(len(self.lengths), device=self.device)[:, None]
        keys_at = torch.arange(self.capacity, device=self.device)
        return write_at, (keys_at <= write_at[:, :, None])[:, None]

    def keep(self, counts: Tensor) -> None:
        """After a call: how many of the new tokens of each row stay."""
        self.lengths = self.lengths + counts.to(self.device)

    def _grow(self, capacity: int) -> None:
        more = capacity - self.capacity
        for layer in self.rows:
            layer.keys = torch.nn.functional.pad(layer.keys, (0, 0, 0, more))
            layer.values = torch.nn.functional.pad(layer.values, (0, 0, 0, more))
        self.places.capacity = capacity


def in_blocks(n: int) -> int:
    """Positions of the buffers that hold ``n``: whole blocks."""
    return -(-n // BLOCK) * BLOCK


def transformers_cache() -> Callable[[RowCache], Any]:
    """Return a function that wraps a cache for transformers' models; its rows are shared."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    class Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
        def __init__(self, layer: RowLayer) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.layer = layer
            self.is_initialized = True

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            pass

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            return self.layer.update(key_states, value_states)

        # transformers asks these to make positions and a mask; it is given both after the prefill
        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return query_length, 0

        def get_seq_length(self) -> int:
            return 0

        def get_max_length(self) -> int:
            return -1

        get_max_cache_shape = get_max_length  # the same in earlier transformers

    return lambda cache: Cache(layers=[Layer(layer) for layer in cache.rows])
