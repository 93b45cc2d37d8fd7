"""Crash points: every moment at which a process changes what is on disk; a SIGKILL at one of them.

Knows: the calls through which lvlora, safetensors, SQLite and Optuna write. Does not know: what is
written. The program has no hook for this: the calls are wrapped in the child that is to die.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BEFORE = ("fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir")
_ENDS_TRANSACTION = ("BEGIN", "COMMIT")


class Points:
    """Counts the crash points that are passed; kills the process at one.

    Args:
        at: the number of the point, from 1; 0 only counts.

    Attributes:
        passed: names of the points so far.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed: list[str] = []

    def __call__(self, name: str, half: Callable[[], object] | None = None) -> None:
        """A point: before a call, or in the middle of one that ``half`` does half of."""
        self.passed.append(name)
        if len(self.passed) == self.at:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap the calls; there is no way back."""
        import optuna.storages.journal._file as journal
        import safetensors.torch

        from lvlora import folders

        def half_written(path: Path, content: bytes) -> None:
            path.open("wb").write(content[: len(content) // 2])

        serialize = safetensors.torch.serialize_file

        def half_serialized(tensors: Any, path: str, *args: Any, **keywords: Any) -> None:
            serialize(tensors, path, *args, **keywords)
            os.truncate(path, os.path.getsize(path) // 2)

        for name in _BEFORE:
            setattr(os, name, self._wrapped(f"before {name}", getattr(os, name)))
        folders._exchange = self._wrapped("before exchange", folders._exchange)
        Path.write_bytes = self._wrapped(  # type: ignore[method-assign]
            "in the middle of write", Path.write_bytes, half_written
        )
        safetensors.torch.serialize_file = self._wrapped(
            "in the middle of safetensors", serialize, half_serialized
        )
        Path.open = self._appending(Path.open)  # type: ignore[method-assign]
        journal.open = self._appending(open)  # type: ignore[attr-defined]
        self._wrap_sqlite()

    def _wrapped(
        self, name: str, original: Callable[..., Any], half: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            self(name, None if half is None else lambda: half(*args, **keywords))
            return original(*args, **keywords)

        return call

    def _appending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
            stream = original(path, mode, *args, **keywords)
            if "a" in mode:
                write = stream.write

                def writing(content: Any) -> Any:
                    def half() -> None:
                        write(content[: len(content) // 2])
                        stream.flush()

                    self("in the middle of appending", half)
                    return write(content)

                stream = _Writing(stream, writing)
            return stream

        return call

    def _wrap_sqlite(self) -> None:
        points, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> Any:
                ends = sql.startswith(_ENDS_TRANSACTION)
                if ends:
                    points(f"before {sql.split()[0]}")
                cursor = super().execute(sql, *args)
                if ends:
                    points(f"after {sql.split()[0]}")
                return cursor

        sqlite3.connect = lambda *a, **k: connect(*a, **{**k, "factory": Connection})


class _Writing:
    """A stream whose ``write`` is another."""

    def __init__(self, stream: Any, write: Callable[[Any], Any]) -> None:
        self._stream = stream
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Writing:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)
