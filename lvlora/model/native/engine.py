"""The compiled decoder: tokens of many rows in, logits out."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lvlora.model.head import NumericHead
from lvlora.model.llama import Layer, Llama
from lvlora.model.lora import LoraLinear
from lvlora.model.native import building

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]

PAGE = 32
"""Positions that keys and values are kept and multiplied by."""
_LINEARS = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)
_FIRST_POSITIONS = 1024
WHOLE_WIDTH, WHOLE_HEAD = 32, 16
"""Widths of inputs and heads are multiples of these: whole vectors of whatever processor, so that
the same models run everywhere."""


@dataclass(frozen=True)
class Row:
    """Input of a row.

    Attributes:
        shared: the segment that it attends to first, or -1; rows that share one stand together.
        target: the segment that its tokens are added to.
        ids: rows of the embedding, in order.
    """

    shared: int
    target: int
    ids: Sequence[int] | Ints


class Pairs(NamedTuple):
    """Products of a head's query with a position, in each layer but the last, and in the last."""

    each: int
    last: int


class Engine:
    """A model's weights where they are, and segments of keys and values.

    Norms, biases and low-rank updates are copied: an engine is opened for a forecast and does not
    follow what training does afterwards. Calls must not overlap.
    """

    def __init__(
        self, library: ctypes.CDLL, model: Llama, head: NumericHead, dtype: torch.dtype
    ) -> None:
        """Use `Engine.of`, which looks whether all of it can be honoured."""
        self._c = library
        library.engine_open.restype = ctypes.c_void_p
        self._kept: list[object] = []
        self._lengths: dict[int, int] = {}
        decoder = model.model
        layers = _layers(model)
        self.n_layers = len(layers)
        dim = layers[0].self_attn.head_dim
        projections = [_parts(layers[0].get_submodule(name)) for name in _LINEARS]
        heads, kv_heads = (projections[i][0].weight.shape[0] // dim for i in (0, 1))
        self.kv_heads, self.head_dim = kv_heads, dim
        self._frequencies: Floats32 = decoder.frequencies.cpu().numpy()
        rows = self._element(head.weight, dtype)
        self.n_tokens = head.weight.shape[0]
        pack = int(library.pack_elements())
        parts: list[int] = []
        scalings: list[float] = []
        low_width = 0
        for layer in layers:
            parts += [
                self._float(layer.input_layernorm.weight),
                self._float(layer.post_attention_layernorm.weight),
            ]
            widths = []
            for name in _LINEARS:
                linear, update = _parts(layer.get_submodule(name))
                out, n_in = linear.weight.shape
                low, high, rank, padded = self._update(update, dtype, pack)
                widths.append(padded)
                parts += [
                    *(linear.weight.data_ptr(), self._float(linear.bias)),
                    *(low, high, n_in, out, rank, padded),
                ]
                scalings.append(0.0 if update is None else update.scaling)
            # those of the same inputs lie beside each other
            low_width = max(low_width, sum(widths[:3]), widths[3], sum(widths[4:6]), widths[6])
        sizes = [
            *(self.n_layers, decoder.norm.weight.numel(), heads, kv_heads, dim),
            *(projections[4][0].weight.shape[0], self.n_tokens),
            *(torch.get_num_threads(), low_width),
        ]
        self._embedding = decoder.embed_tokens.weight.detach()
        self._widened = self._embedding
        self._is_wide: NDArray[np.bool_] | None = None
        if self._embedding.dtype != dtype:  # memory of which only the rows in use are touched
            self._widened = torch.empty(self._embedding.shape, dtype=dtype)
            self._is_wide = np.zeros(len(self._embedding), dtype=np.bool_)
        shared = [
            self._widened.data_ptr(),
            *(rows, self._float(head.bias), self._float(decoder.norm.weight)),
        ]
        self._kept += [model, head]
        self._engine = ctypes.c_void_p(
            library.engine_open(
                _pointer(np.array(sizes, dtype=np.int64)),
                ctypes.c_double(decoder.norm.eps),
                _pointer(np.array(shared, dtype=np.int64)),
                _pointer(np.array(parts, dtype=np.int64)),
                _pointer(np.array(scalings, dtype=np.float64)),
            )
        )
        if not self._engine:
            raise MemoryError("no memory for the decoder")
        self._positions = 0
        self.close = weakref.finalize(self, library.engine_close, self._engine)

    @classmethod
    def of(cls, model: nn.Module, head: NumericHead) -> Self | None:
        """An engine for a model, or None where PyTorch has to compute it.

        That is: another family than Llama and Qwen2, a GPU, a dtype without a compiled decoder,
        sizes that are no whole vectors, or an update or a head that is more than a plain product.
        """
        if type(model) is not Llama or type(head) is not NumericHead or head.softcap is not None:
            return None
        weights = []
        for layer in _layers(model):
            for name in _LINEARS:
                module = layer.get_submodule(name)
                if type(module) is LoraLinear:
                    if module.training and not isinstance(module.dropout, nn.Identity):
                        return None
                    module = module.base
                if not isinstance(module, nn.Linear):
                    return None
                weights.append(module.weight)
        dtype, embedding = weights[0].dtype, model.model.embed_tokens.weight
        plain = torch.promote_types(embedding.dtype, dtype) == dtype and all(
            (w.dtype == dtype or w is embedding) and w.is_contiguous() and w.device.type == "cpu"
            for w in (embedding, *weights)
        )
        library = building.library(dtype) if plain else None
        if library is None:
            return None
        dim = _layers(model)[0].self_attn.head_dim
        aligned = all(w.shape[1] % WHOLE_WIDTH == 0 for w in (embedding, *weights))
        if not aligned or dim % WHOLE_HEAD or dim > int(library.most_head_dim()):
            return None
        return cls(library, model, head, dtype)

    def segment(self, expected: int = 0) -> int:
        """A new segment without positions.

        Args:
            expected: positions that it is likely to have in the end; it may have more.

        Raises:
            MemoryError: there is none left.
        """
        which = len(self._lengths)
        self._lengths[which] = 0
        if self._c.segment_expect(self._engine, ctypes.c_int64(which), ctypes.c_int64(expected)):
            raise MemoryError("no memory for keys and values")
        return which

    def length(self, segment: int) -> int:
        """Positions of a segment."""
        return self._lengths[segment]

    def cut(self, segment: int, length: int) -> None:
        """Keep a segment's first positions only."""
        if length < self._lengths[segment]:
            self._lengths[segment] = length
            self._c.segment_cut(self._engine, ctypes.c_int64(segment), ctypes.c_int64(length))

    def prepare(self, rows: Sequence[Row], want: Ints) -> Pairs:
        """Have room for rows' tokens; what `run` is going to compute.

        Args:
            want: places in the tokens of all rows, one row after the other, ascending.

        Raises:
            MemoryError: keys and values do not fit.
        """
        self._ids = np.concatenate([np.asarray(row.ids, dtype=np.int64) for row in rows])
        self._want = np.ascontiguousarray(want, dtype=np.int64)
        self._widen(self._ids)
        table = np.array([(row.shared, row.target, len(row.ids)) for row in rows], dtype=np.int64)
        self._reach(
            max(
                (self._lengths[row.shared] if row.shared >= 0 else 0)
                + self._lengths[row.target]
                + len(row.ids)
                for row in rows
            )
        )
        pairs = np.zeros(2, dtype=np.int64)
        done = self._c.engine_prepare(
            self._engine,
            ctypes.c_int64(len(rows)),
            _pointer(table),
            _pointer(self._ids),
            ctypes.c_int64(len(want)),
            _pointer(self._want),
            _pointer(pairs),
        )
        if done != 0:
            raise MemoryError("no memory for keys and values")
        for row in rows:
            self._lengths[row.target] += len(row.ids)
        return Pairs(int(pairs[0]), int(pairs[1]))

    def run(self) -> Floats32:
        """Feed what was prepared.

        Returns:
            (wanted tokens, tokens of the head) logits; NaN where a hidden state was lost.

        Raises:
            MemoryError: there is none left.
        """
        logits = np.empty((len(self._want), self.n_tokens), dtype=np.float32)
        if self._c.engine_run(self._engine, _pointer(logits)) != 0:
            raise MemoryError("no memory for a call of the decoder")
        return logits

    def cached(self, segment: int, layer: int) -> tuple[Floats32, Floats32]:
        """Keys and values of a segment in a layer, each (kv heads, length, head dim)."""
        shape = self.kv_heads, self._lengths[segment], self.head_dim
        keys, values = np.empty(shape, np.float32), np.empty(shape, np.float32)
        if self._lengths[segment]:  # one that was never fed is unknown there
            self._c.segment_read(
                self._engine,
                *(ctypes.c_int64(segment), ctypes.c_int64(layer)),
                *(_pointer(keys), _pointer(values)),
            )
        return keys, values

    def _widen(self, ids: Ints) -> None:
        """Have the embedding's rows of tokens in the dtype of the other weights."""
        if self._is_wide is None or self._is_wide[ids].all():
            return
        rows = torch.from_numpy(np.unique(ids))
        self._widened[rows] = self._embedding[rows].to(self._widened.dtype)
        self._is_wide[ids] = True

    def _reach(self, positions: int) -> None:
        """Have angles of so many positions."""
        if positions <= self._positions:
            return
        self._positions = max(_FIRST_POSITIONS, 2 * positions)
        angles = np.arange(self._positions, dtype=np.float32)[:, None] * self._frequencies
        self._tables = np.cos(angles), np.sin(angles)
        self._c.engine_positions(self._engine, *(_pointer(table) for table in self._tables))

    def _element(self, tensor: Tensor, dtype: torch.dtype) -> int:
        """Where a copy in the weights' dtype is."""
        copy = tensor.detach().to(dtype).contiguous()
        self._kept.append(copy)
        return copy.data_ptr()

    def _float(self, tensor: Tensor | None) -> int:
        """Where a copy in float32 is; 0 for none."""
        return 0 if tensor is None else self._element(tensor, torch.float32)

    def _update(
        self, update: LoraLinear | None, dtype: torch.dtype, pack: int
    ) -> tuple[int, int, int, int]:
        """Where A and B of an update are, its rank, and the rank in whole packs."""
        if update is None:
            return 0, 0, 0, 0
        padded = -(-update.rank // pack) * pack
        high = nn.functional.pad(update.lora_b.detach(), (0, padded - update.rank))
        return self._element(update.lora_a, dtype), self._element(high, dtype), update.rank, padded


def _layers(model: Llama) -> list[Layer]:
    return list(cast("Iterable[Layer]", model.model.layers))


def in_pages(n: int) -> int:
    """Positions of the pages that hold ``n``."""
    return -(-n // PAGE) * PAGE


def _parts(module: nn.Module) -> tuple[nn.Linear, LoraLinear | None]:
    """A linear layer, and its low-rank update if it has one."""
    if isinstance(module, LoraLinear):
        return module.base, module
    assert isinstance(module, nn.Linear)  # `Engine.of` has looked
    return module, None


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array alive
