"""The header of a .gguf file, read without trusting it, and the config.json it stands for.

The gguf package believes every length, so that a list of 2^40 words keeps it busy for days; and
transformers makes a model of the facts, and of defaults where they are missing (thousands of
millions of random weights), before it looks at the tensors. Layout: the GGUF specification of ggml.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Container
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.errors import ModelError
from lvlora.flops.families import FAMILIES

INCOMPLETE = "Is the file complete? Llama, Qwen2, Qwen3 and Gemma files can be read."
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Kinds of numbers in a file, as `struct` calls them."""
_TEXT, _LIST = 8, 9
_MOST_DIMENSIONS = 4
_ALIGNMENT = 32
_BLOCK = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is in the file.

    Attributes:
        shape: as torch has it, rows first.
        kind: ggml's number for how its values are stored.
        offset: bytes from the beginning of the file.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Header:
    """Everything but the weights.

    Attributes:
        facts: key to value; of lists those that were asked for, of others the length.
        tensors: by ggml's names.
    """

    facts: dict[str, Any]
    tensors: dict[str, StoredTensor]

    @property
    def architecture(self) -> str:
        """llama, qwen2, gemma3, …"""
        return str(self.facts.get("general.architecture"))

    def fact(self, key: str) -> Any:
        """A fact under the architecture's own name, or None."""
        return self.facts.get(f"{self.architecture}.{key}")


def read_header(path: Path, lists: Container[str] = ()) -> Header:
    """The facts and the tensors' places.

    Args:
        lists: keys of the lists whose items are wanted.

    Raises:
        ModelError: it is no GGUF file of version 2 or 3, a length leads out of it, or its facts and
            tensors disagree.
    """
    try:
        with (
            durable.open_regular(path) as stream,
            mmap(stream.fileno(), 0, access=ACCESS_READ) as raw,
        ):
            header = _Reader(raw, lists).read()
    except (ValueError, struct.error):  # an empty file has no map either
        raise ModelError(f"{path}: is no whole GGUF file", INCOMPLETE) from None
    _check_agreement(header, path)
    return header


def _check_agreement(header: Header, path: Path) -> None:
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    blocks = {match[1] for match in map(_BLOCK.match, shapes) if match}
    stored = {
        "block_count": len(blocks),
        "embedding_length": shapes.get("token_embd.weight", (0,))[-1],
        "feed_forward_length": shapes.get("blk.0.ffn_down.weight", (0,))[-1],
    }
    for key, size in stored.items():
        fact = header.fact(key)
        if fact != size:
            raise ModelError(f"{path}: says {key} {fact!r}, but stores {size:,}", INCOMPLETE)


class _Reader:
    """Reads forward, never past the end: struct.error or ValueError instead."""

    def __init__(self, raw: mmap, lists: Container[str]) -> None:
        self._raw = raw
        self._lists = lists
        self._at = 0

    def read(self) -> Header:
        magic, version, n_tensors, n_facts = self._numbers("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF")
        self._check_room(n_tensors + n_facts, 8)
        facts = {}
        for _ in range(n_facts):
            key = self._text()
            (kind,) = self._numbers("I")
            facts[key] = self._value(kind, keep=key in self._lists)
        tensors = {}
        for _ in range(n_tensors):
            key = self._text()
            (n_dimensions,) = self._numbers("I")
            if n_dimensions > _MOST_DIMENSIONS:
                raise ValueError("too many dimensions")
            widths = self._numbers(f"{n_dimensions}Q") or (0,)
            tensors[key] = StoredTensor(tuple(reversed(widths)), *self._numbers("IQ"))
        return Header(facts, self._placed(tensors, facts))

    def _placed(
        self, tensors: dict[str, StoredTensor], facts: dict[str, Any]
    ) -> dict[str, StoredTensor]:
        """With offsets from the beginning of the file; the data begin at a round place."""
        alignment = facts.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or isinstance(alignment, bool) or alignment < 1:
            raise ValueError("an impossible alignment")
        begin = -(-self._at // alignment) * alignment
        return {
            name: StoredTensor(t.shape, t.kind, begin + t.offset) for name, t in tensors.items()
        }

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

    def _value(self, kind: int, *, keep: bool) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            return self._list(keep=keep)
        if kind not in _FORMS:
            raise ValueError("an unknown kind of fact")
        return self._numbers(_FORMS[kind])[0]

    def _list(self, *, keep: bool) -> Any:
        kind, count = self._numbers("IQ")
        if kind in _FORMS:
            size = struct.calcsize(f"<{_FORMS[kind]}")
            self._check_room(count, size)
            if keep:
                return self._numbers(f"{count}{_FORMS[kind]}")
            self._at += count * size
            return count
        if kind != _TEXT:
            raise ValueError("a list of lists")
        self._check_room(count, 8)
        if keep:
            return tuple(self._text() for _ in range(count))
        for _ in range(count):
            (length,) = self._numbers("Q")
            self._check_room(length, 1)
            self._at += length
        return count


def n_bytes(tensor: StoredTensor, block: int, block_bytes: int) -> int:
    """Return the bytes of a tensor in the file, stored in blocks of so many values and bytes.

    Raises:
        ValueError: its rows are no whole number of blocks.
    """
    if tensor.shape[-1] % block:
        raise ValueError("a row is no whole number of blocks")
    return math.prod(tensor.shape) // block * block_bytes


_KNOWN_FACTS = {
    *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
    *("attention.value_length", "attention.layer_norm_rms_epsilon"),
    *("rope.freq_base", "rope.dimension_count"),
}
"""Keys of a plain model; any other of its architecture (scaled rotations, experts) is special."""
_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_A_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def name_of(name: str) -> str | None:
    """transformers' name of a tensor; None for one that is no part of a plain model."""
    if name in _NAMES:
        return _NAMES[name]
    match = _BLOCK_TENSOR.fullmatch(name)
    if match is None or match[2] not in _IN_A_BLOCK:
        return None
    return f"model.layers.{match[1]}.{_IN_A_BLOCK[match[2]]}.{match[3]}"


def config_of(header: Header) -> dict[str, Any] | None:
    """The model's config.json; None where it is another family, or has a speciality."""
    architecture = header.architecture
    prefix = f"{architecture}."
    keys = {key.removeprefix(prefix) for key in header.facts if key.startswith(prefix)}
    family = FAMILIES.get(architecture)
    if family is None or not family.own_modules or keys - _KNOWN_FACTS:
        return None
    if "token_embd.weight" not in header.tensors or not all(map(name_of, header.tensors)):
        return None
    if "mistral" in str(header.facts.get("general.name", "")).lower():
        return None  # transformers takes it for another family
    heads, width = header.fact("attention.head_count"), header.fact("embedding_length")
    if not isinstance(heads, int) or not isinstance(width, int) or heads < 1:
        return None
    head_dim = header.fact("attention.key_length") or width // heads
    if header.fact("rope.dimension_count") not in (None, head_dim):
        return None
    if header.fact("attention.value_length") not in (None, head_dim):
        return None
    return {
        "model_type": architecture,
        "architectures": [family.architecture],
        "hidden_size": width,
        "intermediate_size": header.fact("feed_forward_length"),
        "num_hidden_layers": header.fact("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": header.fact("attention.head_count_kv") or heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": header.fact("attention.layer_norm_rms_epsilon") or 1e-6,
        "rope_theta": header.fact("rope.freq_base") or 10_000.0,
        "max_position_embeddings": header.fact("context_length"),
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": header.facts.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": header.facts.get("tokenizer.ggml.eos_token_id"),
    }
