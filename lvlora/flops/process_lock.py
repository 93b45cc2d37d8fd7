"""Names of processes, and whether the process of a name is still alive.

A process on another machine counts as dead, because nothing here can tell. A lock file for each
process would have to be cleaned up after it, and a child made by fork would go on holding it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from secrets import token_hex


def this_process() -> str:
    """Return a name for this process and moment: host, process id, start time, a random part."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start_time(pid)}:{token_hex(4)}"


def process_of(holder: str) -> int:
    """Return the process id in such a name; 0 if it has none."""
    parts = holder.split(":")
    return int(parts[1]) if len(parts) == 4 and parts[1].isdigit() else 0


def is_on_this_machine(holder: str) -> bool:
    """Whether the process of that name runs, or ran, on this machine."""
    return holder.partition(":")[0] == socket.gethostname()


def is_another_living_process(holder: str) -> bool:
    """Whether the process of that name runs on this machine and is not this one."""
    pid = process_of(holder)
    if not pid or not is_on_this_machine(holder) or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # the id may have been given to another process since
    return _start_time(pid) == holder.split(":")[2]


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which a process started; empty where /proc does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the second field is a name in parentheses that may hold spaces; a zombie is not alive
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]
