"""Where to compute and how precisely: devices, dtypes, threads.

Frozen weights are kept in bfloat16 only where the processor multiplies it faster than float32: AMX,
AMD's avx512_bf16, any recent GPU. Without such instructions its products are tens to hundreds of
times slower; with Intel's avx512_bf16, where AMX is hidden, twice.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from lvlora.errors import SettingsError

_BFLOAT16 = ({"amx_bf16"}, {"AMD", "avx512_bf16"})
"""Words of Linux about processors that multiply bfloat16 faster than float32."""
_PROBE_SIZE = 512
_CLEARLY = 0.8
"""Share of float32's seconds: other work on the machine must not decide between two runs."""
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Placement:
    """A device and the dtype of the frozen weights, with the reason for people."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def dtype_name(self) -> str:
        """Name of the dtype: float32 or bfloat16."""
        return str(self.dtype).removeprefix("torch.")


def product_seconds(dtype: torch.dtype, size: int = _PROBE_SIZE, device: str = "cpu") -> float:
    """Return the seconds of the best of five products of two square matrices."""
    a = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(6):  # the first one also warms up
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # a GPU has done the work when its result is there
        best = min(best, time.perf_counter() - start)
    return best


@functools.cache
def probe_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 clearly faster than float32.

    Processors known to (`_BFLOAT16`) are not timed; others are, once a process.
    """
    if any(words <= set(processor().split()) for words in _BFLOAT16):
        return True
    return product_seconds(torch.bfloat16) < _CLEARLY * product_seconds(torch.float32)


def choose(device: str = "auto", dtype: str = "auto") -> Placement:
    """Resolve ``--device`` and ``--dtype``.

    Raises:
        SettingsError: the device asked for is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: PyTorch finds no CUDA GPU", "Use --device cpu.")
    if device == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("--device mps: PyTorch finds no Apple GPU", "Use --device cpu.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if dtype != "auto":
        return Placement(place, getattr(torch, dtype), f"{dtype} as asked")
    if device == "cpu":
        if probe_bfloat16():
            return Placement(place, torch.bfloat16, "bfloat16 is fast on this CPU")
        return Placement(place, torch.float32, "bfloat16 is slow on this CPU")
    if device == "cuda" and not torch.cuda.is_bf16_supported():
        return Placement(place, torch.float32, "this GPU has no bfloat16")
    return Placement(place, torch.bfloat16, f"{device} computes in bfloat16")


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next tensors; False where it can't be told to.

    glibc gives tensors of some megabytes back to the system at once and gets them again page by
    page: in a virtual machine that takes several times as long as filling them.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    # malloc.h: no mappings of their own for large blocks; nothing is trimmed below 2 GiB
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def give_back_freed_memory() -> None:
    """Let the system have what was freed so far, such as what a large tokenizer took to be read."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def set_threads(threads: int | None) -> int:
    """Use this many CPU threads (None: as PyTorch chose); returns the number in use."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_bytes(device: torch.device) -> int:
    """The most memory so far: of this process, or of what PyTorch holds on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_limit() -> int | None:
    """Bytes that this process may use: the machine's, or a container's or shell's smaller limit."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        pass
    try:
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # not in a container, or "max"
        pass
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [soft] * (soft != resource.RLIM_INFINITY)
    except ImportError:  # Windows
        pass
    return min(limits, default=None)


@functools.cache
def processor() -> str:
    """The processor's name and what it can do, as the system tells it."""
    with contextlib.suppress(OSError):
        for block in Path("/proc/cpuinfo").read_text().split("\n\n"):
            lines = dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
            facts = {name.strip(): value.strip() for name, value in lines.items()}
            return f"{facts.get('model name', '')} {facts.get('flags', facts.get('Features', ''))}"
    return f"{platform.processor()} {platform.machine()}"
