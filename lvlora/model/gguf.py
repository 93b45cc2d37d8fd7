"""Models in .gguf files (llama.cpp's format): distrusted first, then converted once.

The gguf package believes every length, so that a list of 2^40 words keeps it busy for days; and
transformers makes a model of the facts, and of defaults where they are missing (thousands of
millions of random weights), before it looks at the tensors. So the header is read here before.
Layout: the GGUF specification of ggml.

What transformers makes of a file is kept beside the hub's cache as a folder of float32 weights, by
the SHA-256 of the file. It appears whole, and is made again where one of its files is missing.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch

from lvlora import durable, folders
from lvlora.errors import LvloraError, ModelError, SettingsError, reason
from lvlora.model.catalogue import hub_cache

_HINT = "Is the file complete? Llama, Qwen2, Qwen3 and Gemma files can be read."
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Kinds of numbers in a file, as `struct` calls them."""
_TEXT, _LIST = 8, 9
_MOST_DIMENSIONS = 4
_BLOCK = re.compile(r"blk\.(\d+)\.")


def root() -> Path:
    """Return the folder of all converted models."""
    return hub_cache().parent / "lvlora-gguf"


def converted(path: Path) -> Path:
    """Return the model folder of a file, which is made where it is not there yet.

    Raises:
        ModelError: it is no whole GGUF file of a family that transformers reads.
        SettingsError: the gguf package is not installed.
        LvloraError: the folder cannot be written.
    """
    check_header(path)
    place = root() / durable.sha256_of(path)[:32]
    if folders.is_complete(place):
        return place
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise SettingsError(
            "reading a .gguf file needs the gguf package", "pip install 'lvlora[gguf]'"
        ) from None
    with folders.replacing(place) as folder:
        try:
            _convert(path, folder)
        except (LvloraError, MemoryError):
            raise
        except Exception as error:  # whatever three libraries make of a broken file
            raise ModelError(f"{path}: cannot be read: {reason(error)}", _HINT) from error
        folders.mark_complete(folder, "converted model")
    return place


def _convert(path: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lvlora.model.loading import quiet

    file: dict[str, Any] = {
        "gguf_file": path.name,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    # the bar of unpacking weights obeys no setting
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **file)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(path.parent), dtype=torch.float32, output_loading_info=True, **file
        )
        model, report = loaded
        if report["missing_keys"]:  # transformers would go on with random numbers in their place
            raise ValueError(f"it has no {sorted(report['missing_keys'])[0]}")
        model.hf_quantizer = None
        del model.config.quantization_config
        model.save_pretrained(str(folder), save_original_format=False)
        tokenizer.save_pretrained(str(folder))
    config_file = folder / "tokenizer_config.json"
    config = durable.read_json_object(config_file)
    # transformers' other classes would cut text by rules of their own
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config_file.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def check_header(path: Path) -> None:
    """Refuse a file whose lengths lead out of it, or whose facts and tensors disagree.

    Raises:
        ModelError: so, or it is no GGUF file of version 2 or 3.
    """
    try:
        with (
            durable.open_regular(path) as stream,
            mmap(stream.fileno(), 0, access=ACCESS_READ) as raw,
        ):
            facts, shapes = _Reader(raw).read()
    except (ValueError, struct.error):  # an empty file has no map either
        raise ModelError(f"{path}: is no whole GGUF file", _HINT) from None
    stored = {
        "block_count": len({match[1] for match in map(_BLOCK.match, shapes) if match}),
        "embedding_length": shapes.get("token_embd.weight", (0,))[0],
        "feed_forward_length": shapes.get("blk.0.ffn_down.weight", (0,))[0],
    }
    for key, size in stored.items():
        fact = facts.get(f"{facts.get('general.architecture')}.{key}")
        if fact != size:
            raise ModelError(f"{path}: says {key} {fact!r}, but stores {size:,}", _HINT)


class _Reader:
    """Reads forward, never past the end: struct.error or ValueError instead."""

    def __init__(self, raw: mmap) -> None:
        self._raw = raw
        self._at = 0

    def read(self) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
        """Return key → fact (of a list its length), and tensor → shape, columns first."""
        magic, version, n_tensors, n_facts = self._numbers("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF")
        self._check_room(n_tensors + n_facts, 8)
        facts = {}
        for _ in range(n_facts):
            key = self._text()
            (kind,) = self._numbers("I")
            facts[key] = self._value(kind)
        shapes = {}
        for _ in range(n_tensors):
            name = self._text()
            (n_dimensions,) = self._numbers("I")
            if n_dimensions > _MOST_DIMENSIONS:
                raise ValueError("too many dimensions")
            shapes[name] = self._numbers(f"{n_dimensions}Q") or (0,)
            self._numbers("IQ")  # how its values are stored, and where
        return facts, shapes

    def _numbers(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._raw, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def _check_room(self, count: int, size: int) -> None:
        if count * size > len(self._raw) - self._at:
            raise ValueError("it ends before")

    def _text(self) -> str:
        (length,) = self._numbers("Q")
        self._check_room(length, 1)
        begin = self._at
        self._at += length
        return self._raw[begin : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind in _FORMS:
            return self._numbers(_FORMS[kind])[0]
        if kind != _LIST:
            raise ValueError("an unknown kind of fact")
        kind, count = self._numbers("IQ")
        if kind in _FORMS:
            size = struct.calcsize(f"<{_FORMS[kind]}")
            self._check_room(count, size)
            self._at += count * size
        elif kind == _TEXT:
            self._check_room(count, 8)
            for _ in range(count):
                self._text()
        else:
            raise ValueError("a list of lists")
        return count
