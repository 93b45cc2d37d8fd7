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

from lvlora.model.devices import processor

SOURCE = Path(__file__).with_name("decoder.c")
SWITCH = "LVLORA_NATIVE"
"""The environment variable that is 0 where nothing shall be compiled or loaded."""
_FLAGS = (
    # clang on an Arm takes the one, compilers on an x86 the other
    "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native",
    # where a compiler joins products and sums it does so here and not there, for other bits
    *("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-pthread"),
)
_SECONDS = 120
_UNUSABLE = (OSError, subprocess.SubprocessError, RuntimeError)
"""A compiler or a folder that fails, or a home that nobody knows."""


def folder() -> Path:
    """Where compiled decoders are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lvlora" / "native"


def is_switched_off() -> bool:
    """Whether the environment says that PyTorch shall decode."""
    return os.environ.get(SWITCH) == "0"


def compiler() -> list[str] | None:
    """The command that compiles C here: ``CC``, or what the system calls cc, gcc or clang."""
    try:
        command = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quote that does not end
        return None
    names = [command] if command else [["cc"], ["gcc"], ["clang"]]
    return next((name for name in names if shutil.which(name[0])), None)


@functools.cache
def library(dtype: torch.dtype, *definitions: str) -> ctypes.CDLL | None:
    """The decoder for weights of a dtype; None where it cannot be had.

    It is compiled at the first call on a machine, which takes some seconds, and kept by what it
    depends on: the source, the compiler and the processor.

    Args:
        definitions: for the compiler, such as ``-DEMULATED_TILES`` (tiles.h).
    """
    if is_switched_off() or sys.platform == "win32" or sys.maxsize < 2**32:
        return None
    if dtype == torch.bfloat16:
        if not multiplies_bfloat16():
            return None
        flags = [*_FLAGS, "-DBFLOAT16", *definitions]
    elif dtype == torch.float32:
        flags = [*_FLAGS, *definitions]
    else:
        return None
    with contextlib.suppress(*_UNUSABLE):
        name = f"decoder-{_key(flags)}"
        path = _kept(name) or _compile(flags, name)
        return ctypes.CDLL(str(path))
    return None


def _kept(name: str) -> Path | None:
    """Return the compiled library, if it is whole: to load a part of one may end the process."""
    for path in folder().glob(f"{name}-*.so"):
        with contextlib.suppress(FileNotFoundError):  # another process has taken it away
            if path.stem == f"{name}-{_digest(path.read_bytes())}":
                return path
            path.unlink()
    return None


def multiplies_bfloat16() -> bool:
    """Whether the processor has the instruction that decoder.c multiplies bfloat16 with."""
    return "avx512_bf16" in processor().split()


def _key(flags: list[str]) -> str:
    command = compiler()
    if command is None:
        # one that was compiled before a compiler went away cannot be told from others
        raise FileNotFoundError("no C compiler")
    program = shutil.which(command[0]) or command[0]
    # the file of the compiler instead of what it says: asking takes longer than all the rest
    stamp = os.stat(os.path.realpath(program))
    source = (file.read_bytes() for file in sorted(SOURCE.parent.glob("*.[ch]")))
    known = (*source, *command, program, stamp.st_size, stamp.st_mtime_ns, processor())
    return _digest(*(p if isinstance(p, bytes) else str(p).encode() for p in (*known, *flags)))


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part + b"\0")
    return digest.hexdigest()[:24]


def _compile(flags: list[str], name: str) -> Path:
    """Write the library under another name and put it in place whole, what it holds in its name."""
    command = compiler()
    assert command is not None  # its key was asked for before
    folder().mkdir(parents=True, exist_ok=True)
    handle, written = tempfile.mkstemp(dir=folder(), suffix=".part")
    os.close(handle)
    try:
        subprocess.run(
            [*command, *flags, str(SOURCE), "-o", written, "-lm"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
        path = folder() / f"{name}-{_digest(Path(written).read_bytes())}.so"
        os.replace(written, path)
        return path
    finally:
        Path(written).unlink(missing_ok=True)
