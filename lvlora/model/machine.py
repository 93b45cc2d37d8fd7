"""Facts about this machine: memory, processor; needs neither torch nor a model."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
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


@functools.cache
def processor() -> str:
    """The processor's name and what it can do, as the system tells it."""
    with contextlib.suppress(OSError):
        for block in Path("/proc/cpuinfo").read_text().split("\n\n"):
            lines = dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
            facts = {name.strip(): value.strip() for name, value in lines.items()}
            return f"{facts.get('model name', '')} {facts.get('flags', facts.get('Features', ''))}"
    return f"{platform.processor()} {platform.machine()}"
