"""Random numbers that depend on what they are for, not on when they are drawn.

Knows: hashing. Does not know: models.

The draw for token ``position`` of sample ``sample`` of series ``series`` is a pure function of
those and the seed: order, batching and the number of other series never change it.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stream(seed: int, series: str, sample: int) -> int:
    """The 64-bit key of one sample's stream."""
    text = f"{seed}\x1f{series}\x1f{sample}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniforms(streams: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each (stream, position), by SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = streams + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    mantissas: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64)
    return mantissas * 2.0**-53
