"""Products in AMX tiles: their emulation against Intel's definition, and the real ones compiled."""

import ctypes
import subprocess

import numpy as np
import pytest
import torch

from lvlora.model.native import building
from lvlora.model.native.engine import _pointer


def _elements(shape, seed):
    """Random bfloat16 numbers of all sizes, as their bits."""
    numbers = np.random.default_rng(seed).normal(size=shape) * 2.0 ** (seed % 5)
    return torch.from_numpy(numbers).to(torch.bfloat16).contiguous()


def _defined(x, w):
    """x wT by TDPBF16PS: sums of the even and of the odd products of 32 elements, then both."""
    x, w = x.float().numpy(), w.float().numpy()
    total = np.zeros((len(x), len(w)), np.float32)
    for step in range(0, x.shape[1], 32):
        even, odd = np.zeros_like(total), np.zeros_like(total)
        for k in range(step, step + 32, 2):
            even += x[:, k, None] * w[None, :, k]
            odd += x[:, k + 1, None] * w[None, :, k + 1]
        total += even + odd
    return total


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 33])
@pytest.mark.parametrize(("outputs", "k"), [(1, 32), (16, 64), (47, 96), (64, 32)])
def test_a_product_in_tiles_is_intels_to_the_last_bit(rows, outputs, k):
    library = building.library(torch.bfloat16, "-DEMULATED_TILES")
    if library is None:
        pytest.skip("no compiled decoder in bfloat16 on this machine")
    x, w = _elements((rows, k), rows), _elements((outputs, k), outputs)
    y = np.full((rows, outputs), 7.0, np.float32)
    bits = x.view(torch.int16).numpy(), w.view(torch.int16).numpy()
    for add in (0, 1):
        assert (
            library.packed_product(
                *(_pointer(bits[0]), ctypes.c_int64(rows), _pointer(bits[1])),
                *(ctypes.c_int64(outputs), ctypes.c_int64(k), _pointer(y), add),
            )
            == 0
        )
        assert np.array_equal(y, _defined(x, w) * np.float32(1 + add))


def test_a_processor_with_amx_gets_its_instructions(tmp_path):
    """Compiled for Sapphire Rapids, not run: the tile path is in the machine code."""
    compiler = building.compiler()
    if compiler is None or not building.multiplies_bfloat16():
        pytest.skip("no C compiler for x86 on this machine")
    flags = [f for f in building._FLAGS if f not in ("-march=native", "-shared")]
    written = tmp_path / "decoder.s"
    done = subprocess.run(
        [
            *(*compiler, *flags, "-march=sapphirerapids", "-DBFLOAT16", "-S"),
            *(str(building.SOURCE), "-o", str(written)),
        ],
        capture_output=True,
        text=True,
    )
    if "sapphirerapids" in done.stderr:
        pytest.skip("the compiler is older than the processor")
    assert done.returncode == 0, done.stderr
    assert "tdpbf16ps" in written.read_text(encoding="utf-8")
