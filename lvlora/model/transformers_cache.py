"""A row cache as transformers' models take it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from lvlora.model.cache import RowCache, RowLayer


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
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

    def get_max_cache_shape(self) -> int:  # the same in earlier transformers
        return -1


class TransformersCache(Cache):
    """The rows of a cache, for one call or many: they are the cache's own."""

    def __init__(self, cache: RowCache) -> None:
        super().__init__(layers=[_Layer(layer) for layer in cache.rows])
