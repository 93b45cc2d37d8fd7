"""Distrust of GGUF: lengths within the file, and tensors as large as the facts say.

Knows: the header of one file. Does not know: how weights are loaded.

The gguf package believes every length, so that a list of 2^40 words keeps it busy for days; and
transformers makes a model of the facts, and of defaults where they are missing (thousands of
millions of random weights), before it looks at the tensors. Layout: the GGUF specification of ggml.
"""

from __future__ import annotations

import re
import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.errors import ModelError

_INCOMPLETE = "Is the file complete? Llama, Qwen2, Qwen3 and Gemma files can be read."
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Kinds of numbers in a file, as `struct` calls them."""
_TEXT, _LIST = 8, 9
_MOST_DIMENSIONS = 4
_BLOCK = re.compile(r"blk\.(\d+)\.")


def check_gguf(path: Path) -> None:
    """Refuse a file whose lengths lead out of it, or whose facts and tensors disagree.

    Raises:
        ModelError: so, or it is no GGUF file of version 2 or 3.
    """
    try:
        with (
            durable.open_regular(path) as stream,
            mmap(stream.fileno(), 0, access=ACCESS_READ) as raw,
        ):
            facts, shapes = _Header(raw).read()
    except (ValueError, struct.error):  # an empty file has no map either
        raise ModelError(f"{path}: is no whole GGUF file", _INCOMPLETE) from None
    name = facts.get("general.architecture")
    blocks = {found[1] for found in map(_BLOCK.match, shapes) if found}
    stored = {
        "block_count": len(blocks),
        "embedding_length": shapes.get("token_embd.weight", (0,))[0],
        "feed_forward_length": shapes.get("blk.0.ffn_down.weight", (0,))[0],
    }
    for key, size in stored.items():
        said = facts.get(f"{name}.{key}")
        if said != size:
            raise ModelError(f"{path}: says {key} {said!r}, but stores {size:,}", _INCOMPLETE)


class _Header:
    """Reads forward, never past the end: struct.error or ValueError instead."""

    def __init__(self, raw: mmap) -> None:
        self._raw = raw
        self._at = 0

    def read(self) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
        """Facts that are no lists, and the tensors' shapes as they are stored (width first)."""
        magic, version, n_tensors, n_facts = self._numbers("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF")
        self._check_room(n_tensors + n_facts, 8)
        facts = {}
        for _ in range(n_facts):
            key = self._text()
            facts[key] = self._value(*self._numbers("I"))
        shapes = {}
        for _ in range(n_tensors):
            key = self._text()
            (n_dimensions,) = self._numbers("I")
            if n_dimensions > _MOST_DIMENSIONS:
                raise ValueError("too many dimensions")
            shapes[key] = self._numbers(f"{n_dimensions}Q") or (0,)
            self._numbers("IQ")  # kind and place
        return facts, shapes

    def _numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self._raw, self._at)
        self._at += struct.calcsize(f"<{form}")
        return found

    def _check_room(self, count: int, size: int) -> None:
        if count * size > len(self._raw) - self._at:
            raise ValueError("it ends before")

    def _skip(self, count: int, size: int) -> None:
        self._check_room(count, size)
        self._at += count * size

    def _text(self) -> str:
        (length,) = self._numbers("Q")
        begin = self._at
        self._skip(length, 1)
        return self._raw[begin : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            return self._skip_list()
        if kind not in _FORMS:
            raise ValueError("an unknown kind of fact")
        return self._numbers(_FORMS[kind])[0]

    def _skip_list(self) -> None:
        kind, count = self._numbers("IQ")
        if kind in _FORMS:
            self._skip(count, struct.calcsize(f"<{_FORMS[kind]}"))
            return
        if kind != _TEXT:
            raise ValueError("a list of lists")
        self._check_room(count, 8)
        for _ in range(count):
            self._skip(self._numbers("Q")[0], 1)
