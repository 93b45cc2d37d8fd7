"""Activations that a float32 step keeps for backward, in half of the bytes (docs/notes/speed.md).

Forward, loss and sums are computed in float32; each tensor is remembered in float16, over a power
of two of its own. A gradient differs by a twentieth of a percent.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from lvlora.model.devices import Placement

_HIGHEST = 15
"""A tensor's largest value is remembered between half and all of two to this; float16 ends at two
to the sixteenth."""
_LOWEST_EXPONENT = -126
"""Two to this and two to minus this are both in float32."""
_SLAB = 2**25
"""Values of a block of memory for many tensors, which the heap does not know of: a step of
Qwen2.5-0.5B's shape takes 6.39 GB, and 7.14 GB where such blocks lie between what a layer needs for
a moment only (docs/notes/speed.md)."""
_ALIGNED = 32
"""Values of 64 bytes."""


def is_wanted(placement: Placement) -> bool:
    """Return whether it pays here: in bfloat16 nothing is halved; GPUs were not measured."""
    return placement.dtype == torch.float32 and placement.device.type == "cpu"


class _Half(NamedTuple):
    """A tensor of this shape and these strides, as it lies in memory, over two to ``exponent``."""

    values: Tensor
    exponent: int
    shape: torch.Size
    strides: tuple[int, ...]


class HalfActivations:
    """Storage in float16 of what a model's layers save for backward; `in_half` makes the block.

    The ``model``'s weights are kept as they are: they are there anyway.
    """

    def __init__(self, model: nn.Module) -> None:
        tensors = (*model.parameters(), *model.buffers())
        self._weights = {t.untyped_storage()._cdata for t in tensors}
        # one tensor may go into several layers: (its memory, what is remembered of it)
        self._known: dict[Any, tuple[StorageWeakRef, weakref.ref[Tensor], int]] = {}
        self._slab: Tensor | None = None
        # kept for the next step, as all memory is (`devices.keep_freed_memory`): (memory, its user)
        self._slabs: list[tuple[mmap.mmap, StorageWeakRef]] = []

    @contextlib.contextmanager
    def in_half(self) -> Iterator[None]:
        """Within it, what is saved for backward is remembered in float16."""
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack):
                yield
        finally:
            self._known.clear()
            self._slab = None

    def _pack(self, tensor: Tensor) -> Tensor | _Half:
        storage, n_values = tensor.untyped_storage(), tensor.numel()
        is_weight = storage._cdata in self._weights
        if tensor.dtype != torch.float32 or is_weight or not n_values or not _is_block(tensor):
            return tensor
        values = tensor.as_strided((n_values,), (1,))
        if tensor.ndim == 0 or tensor.shape[-1] == 1:  # one a row: a norm's, which is small
            exact = self._room(2 * n_values).view(torch.float32)
            return exact.copy_(values).view(tensor.shape)
        # while there is a weak reference no other memory has the address: a key means one tensor
        key = (storage._cdata, tensor.storage_offset(), n_values, tensor._version)
        if key in self._known:
            _, reference, exponent = self._known[key]
            activations = reference()
            if activations is not None:
                return _Half(activations, exponent, tensor.shape, tensor.stride())
        largest = float(torch.linalg.vector_norm(values, math.inf))
        if not math.isfinite(largest):
            return tensor  # of a step that is refused for it
        exponent = max(math.frexp(largest)[1] - _HIGHEST, _LOWEST_EXPONENT)
        half = self._room(n_values).copy_(values * 2.0**-exponent)
        memory: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        self._known[key] = memory, weakref.ref(half), exponent
        return _Half(half, exponent, tensor.shape, tensor.stride())

    def _room(self, n_values: int) -> Tensor:
        """Return memory for so many values; a slab is free again after the last of them."""
        if self._slab is None or len(self._slab) < n_values:
            self._slab = self._new_slab(max(n_values, _SLAB))
        room = self._slab[:n_values]
        self._slab = self._slab[-(-n_values // _ALIGNED) * _ALIGNED :]
        return room

    def _new_slab(self, n_values: int) -> Tensor:
        for i, (memory, user) in enumerate(self._slabs):
            if user.expired() and len(memory) >= 2 * n_values:  # type: ignore[no-untyped-call]
                del self._slabs[i]
                break
        else:
            memory = mmap.mmap(-1, 2 * n_values)
        slab = torch.frombuffer(memory, dtype=torch.float16)
        user = StorageWeakRef(slab.untyped_storage())  # type: ignore[no-untyped-call]
        self._slabs.append((memory, user))
        return slab


def _unpack(packed: Tensor | _Half) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    values = packed.values.float().mul_(2.0**packed.exponent)
    return values.as_strided(packed.shape, packed.strides)


def _is_block(tensor: Tensor) -> bool:
    """Return whether the values fill one piece of memory, in any order of dimensions."""
    filled = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != filled:
                return False
            filled *= size
    return True
