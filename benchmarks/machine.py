"""What a machine can do: matrix products of few and of many rows, and reading memory.

Each figure is the fastest of several repetitions of the fastest way that there is here, so that a
bound made of it is too short rather than too long. Weights are in the cache when they are
multiplied, and reading is measured by itself.

``python benchmarks/machine.py`` prints the processor, its instruction sets for products, and the
rates of Qwen2.5-0.5B's linear layers: with all of them and, in a process that may not use AMX,
without.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import linear

if TYPE_CHECKING:
    from lvlora.flops.shape import ModelShape

_SECONDS = 0.06
"""Of repetitions of one product; three at least."""
_READ_SECONDS = 0.5
_JOINED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
"""Products of one input, which may be one product."""


_SETS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_ROWS = (1, 16, 52, 2048)


def main() -> None:
    """Print what this machine can do."""
    from lvlora.flops.catalogue import find_shape
    from lvlora.model.devices import processor

    name, words = processor(), set(processor().split())
    sets = [one for one in _SETS if one in words]
    without_amx = os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX512_CORE_BF16"
    if not without_amx:
        print(f"{name.split(' fpu ')[0]}: {', '.join(sets)}; {torch.get_num_threads()} threads")
        print(f"reads {bandwidth(2**29) / 1e9:.1f} GB/s; GFLOP/s of products with so many rows:")
        print(" " * 22 + "".join(f"{n:>9,}" for n in _ROWS))
    for dtype in (torch.bfloat16,) if without_amx else (torch.float32, torch.bfloat16):
        label = f"{str(dtype).removeprefix('torch.')}{' without AMX' * without_amx}"
        rate = rates(find_shape("qwen2.5-0.5b"), dtype, _ROWS)
        print(f"{label:22}" + "".join(f"{rate[n] / 1e9:9,.0f}" for n in _ROWS), flush=True)
    if "amx_bf16" in words and not without_amx:
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
        subprocess.run([sys.executable, __file__], env=environment, check=True)


def rates(shape: ModelShape, dtype: torch.dtype, rows: Sequence[int]) -> dict[int, float]:
    """Rows → FLOP/s of all linear layers of one transformer layer."""
    sizes = shape.linear_layers()
    flops = sum(2 * n_in * n_out for n_in, n_out in sizes.values())
    results = {}
    for n in sorted(set(rows)):
        layer = 0.0
        for names in _JOINED:
            apart = sum(product_seconds(n, *sizes[name], dtype) for name in names)
            n_out = sum(sizes[name][1] for name in names)
            layer += min(apart, product_seconds(n, sizes[names[0]][0], n_out, dtype))
        results[n] = n * flops / layer
    return results


@functools.cache
def product_seconds(rows: int, n_in: int, n_out: int, dtype: torch.dtype) -> float:
    """Of x Wᵀ, x (rows, n_in) and W (n_out, n_in), the way that is fastest."""
    weight, x = torch.randn(n_out, n_in).to(dtype), torch.randn(rows, n_in).to(dtype)
    return min(fastest(way, _SECONDS) for way in _ways(weight, x))


def _ways(weight: Tensor, x: Tensor) -> Iterator[Callable[[], Tensor]]:
    yield lambda: linear(x, weight)
    yield lambda: weight @ x.T
    turned = weight.T.contiguous()
    yield lambda: x @ turned
    for pack, multiply in (_ONEDNN, _MKL):
        try:
            packed = pack(weight, len(x))
            multiply(x, packed, weight)
        except (AttributeError, RuntimeError):  # not in this build, or not with this dtype
            continue
        yield lambda packed=packed, multiply=multiply: multiply(x, packed, weight)


_ONEDNN = (
    lambda weight, rows: torch.ops.mkldnn._reorder_linear_weight(weight, rows),
    lambda x, packed, _: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""),
)
"""Weights packed for so many rows, and the product with them."""
_MKL = (
    lambda weight, rows: torch.ops.mkl._mkl_reorder_linear_weight(weight.to_mkldnn(), rows),
    lambda x, packed, weight: torch.ops.mkl._mkl_linear(x, packed, weight, None, len(x)),
)


def bandwidth(n_bytes: int) -> float:
    """Bytes/s of reading so many again and again: of the memory, or of caches that hold them."""
    numbers = torch.ones(2 * max(1, n_bytes // 8))
    data = numbers.view(torch.int64)
    ways: tuple[Callable[[], Tensor], ...] = (
        lambda: numbers.sum(),
        lambda: torch.dot(numbers, numbers),
        lambda: data.sum(),
        lambda: data.amax(),
    )
    return data.nbytes / min(fastest(way, _READ_SECONDS) for way in ways)


def fastest(work: Callable[[], Tensor], seconds: float) -> float:
    """Seconds of the fastest of as many runs as fit, three at least; the first is not counted."""
    work()
    best, n, end = float("inf"), 0, time.perf_counter() + seconds
    while n < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best, n = min(best, time.perf_counter() - begin), n + 1
    return best


if __name__ == "__main__":
    main()
