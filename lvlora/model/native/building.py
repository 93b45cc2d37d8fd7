"""Compiling decoder.c with the C compiler of this machine, once, and loading what came out.

Without a compiler nothing is lost but speed: PyTorch then computes the same numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("decoder.c")
SWITCH = "LVLORA_NATIVE"
"""The environment variable that is 0 where nothing shall be compiled or loaded."""
_FLAGS = (
    # clang on an Arm takes the one, compilers on an x86 the other
    "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native",
    *("-O3", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-pthread"),
)
_SECONDS = 120
_UNUSABLE = (OSError, subprocess.SubprocessError)


def folder() -> Path:
    """Where compiled decoders are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lvlora" / "native"


def compiler() -> list[str] | None:
    """The command that compiles C here: ``CC``, or what the system calls cc, gcc or clang."""
    asked = shlex.split(os.environ.get("CC", ""))
    names = [asked] if asked else [["cc"], ["gcc"], ["clang"]]
    return next((name for name in names if shutil.which(name[0])), None)


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The decoder for weights of a dtype; None where it cannot be had.

    It is compiled at the first call on a machine, which takes some seconds, and kept by what it
    depends on: the source, the compiler and the processor.
    """
    if os.environ.get(SWITCH, "1") == "0" or sys.platform == "win32" or sys.maxsize < 2**32:
        return None
    if dtype == torch.bfloat16:
        if not multiplies_bfloat16():
            return None
        flags = [*_FLAGS, "-DBFLOAT16"]
    elif dtype == torch.float32:
        flags = list(_FLAGS)
    else:
        return None
    with contextlib.suppress(*_UNUSABLE):
        path = folder() / f"decoder-{_key(flags)}.so"
        if not path.is_file():
            _compile(flags, path)
        return ctypes.CDLL(str(path))
    return None


def multiplies_bfloat16() -> bool:
    """Whether the processor has the instruction that decoder.c multiplies bfloat16 with."""
    return "avx512_bf16" in _processor().split()


@functools.cache
def _processor() -> str:
    """The processor's name and what it can do, as the system tells it."""
    with contextlib.suppress(OSError):
        for block in Path("/proc/cpuinfo").read_text().split("\n\n"):
            lines = dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
            told = {name.strip(): value.strip() for name, value in lines.items()}
            return f"{told.get('model name', '')} {told.get('flags', told.get('Features', ''))}"
    return f"{platform.processor()} {platform.machine()}"


def _key(flags: list[str]) -> str:
    command = compiler()
    if command is None:
        # one that was compiled before a compiler went away cannot be told from others
        raise FileNotFoundError("no C compiler")
    found = shutil.which(command[0]) or command[0]
    # the file of the compiler instead of what it says: asking takes longer than all the rest
    stamp = os.stat(os.path.realpath(found))
    known = (SOURCE.read_bytes(), *command, found, stamp.st_size, stamp.st_mtime_ns, _processor())
    digest = hashlib.sha256()
    for part in (*known, *flags):
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def _compile(flags: list[str], path: Path) -> None:
    """Write the library under another name and put it in place whole."""
    command = compiler()
    assert command is not None  # its key was asked for before
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        subprocess.run(
            [*command, *flags, str(SOURCE), "-o", name, "-lm"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
