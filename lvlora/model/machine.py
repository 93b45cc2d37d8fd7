"""The memory that this machine lets a process have; needs neither torch nor a model."""

from __future__ import annotations

import os
from pathlib import Path


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
