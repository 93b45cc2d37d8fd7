"""Where hostile files are read: a forked child with little memory and little time.

Knows: processes, limits, how a child died. Does not know: formats.

The parent imports what is needed and forks; so a case costs milliseconds, and whatever the file
does to the process (a fault in a C library, a loop, a huge allocation) is seen from outside.
"""

import faulthandler
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lvlora.errors import LvloraError

SECONDS = 5
"""CPU time that reading one file may take."""
WALL_SECONDS = 60
"""For what waits without computing; generous, because the machine may be busy."""
EXTRA_MEMORY = 2**30
"""Bytes of address space that reading a file may take beyond what the program has already."""

_BROKE = 3
_SIGNALS = {signal.SIGPROF: "over 5 s of computing", signal.SIGALRM: "over 60 s of waiting"}


@dataclass
class Findings:
    """What became of the files.

    Attributes:
        refused: they ended in an `LvloraError`.
        read: they were read.
        broken: (number of the case, what happened) of all others.
        cpu_seconds: of all children together.
        peak_bytes: the largest resident size of a child.
    """

    refused: int = 0
    read: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def cases(self) -> int:
        """Files in all."""
        return self.refused + self.read + len(self.broken)


def judge(cases: Iterable[int], read: Callable[[int], object]) -> Findings:
    """Read every case in a child; after one that broke it, go on in a new child.

    Args:
        cases: their numbers; all in one child as long as it lives.
        read: given a number, reads that case; in the child.
    """
    findings = Findings()
    remaining = list(cases)
    while remaining:
        remaining = _one_child(remaining, read, findings)
        if findings.broken and findings.broken[-1][1].startswith(_SIGNALS[signal.SIGALRM]):
            # perhaps the whole machine stood still: only what waits twice waits by itself
            case, _ = findings.broken.pop()
            _one_child([case], read, findings)
    return findings


def _one_child(cases: list[int], read: Callable[[int], object], findings: Findings) -> list[int]:
    """Fill ``found``; returns the cases after the one that broke the child."""
    shared = mmap.mmap(-1, 24)  # cases begun, refused, read
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _serve(cases, read, shared, output.fileno())
        _, status, usage = os.wait4(child, 0)
        output.seek(0)
        words = output.read().decode(errors="replace")
    begun, refused, done = struct.unpack("3q", shared[:24])
    findings.refused += refused
    findings.read += done
    findings.cpu_seconds += usage.ru_utime + usage.ru_stime
    findings.peak_bytes = max(findings.peak_bytes, usage.ru_maxrss * 1024)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return []
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        why = _SIGNALS.get(signal.Signals(number), f"killed by {signal.Signals(number).name}")
        words = f"{why}\n{words}"
    findings.broken.append((cases[begun - 1], words))
    return cases[begun:]


def _serve(cases: list[int], read: Callable[[int], object], shared: mmap.mmap, output: int) -> None:
    """The child: never returns."""
    code = 1
    try:
        faulthandler.disable()  # it would write to the runner's own standard error
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = open(output, "w", buffering=1, closefd=False)
        warnings.simplefilter("error", RuntimeWarning)
        for number in _SIGNALS:  # a test's own time limit has handlers, which a loop in C outlasts
            signal.signal(number, signal.SIG_DFL)
        limit = _address_space() + EXTRA_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = _read_all(cases, read, shared)
    except BaseException:
        traceback.print_exc()
        code = _BROKE
    finally:
        os._exit(code)


def _read_all(cases: list[int], read: Callable[[int], object], shared: mmap.mmap) -> int:
    refused = done = 0
    for begun, case in enumerate(cases, 1):
        shared[:24] = struct.pack("3q", begun, refused, done)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(WALL_SECONDS)
        try:
            read(case)
        except LvloraError as error:
            lines = f"{error.message}\n{error.hint}".splitlines()
            if not all(line.isprintable() for line in lines):
                print(f"a message with control characters: {error.message!r}")
                return _BROKE
            refused += 1
        else:
            done += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if _says_traceback():
            return _BROKE
    shared[:24] = struct.pack("3q", len(cases), refused, done)
    return 0


def _says_traceback() -> bool:
    """Whether something was printed past the exceptions (``Exception ignored in …``)."""
    with open(f"/proc/self/fd/{sys.stderr.fileno()}", "rb") as stream:
        output = stream.read()
    if b"Traceback" in output or b"Exception ignored" in output:
        return True
    if output:
        os.ftruncate(sys.stderr.fileno(), 0)
        os.lseek(sys.stderr.fileno(), 0, os.SEEK_SET)
    return False


def _address_space() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
