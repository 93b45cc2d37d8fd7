"""A .gguf file of Llama or Qwen2 to a model folder: config.json, tokenizer.json, safetensors.

The weights are what gguf's own routines make of the blocks, in float32, rounded once to the dtype
that is asked for, as transformers does it; but a few million values at a time in every core, so
that the memory stays that of one part. Names and the order of rotary rows are llama.cpp's
(``convert_hf_to_gguf.py``), undone.

The folders are kept beside the hub's cache for the next time. Each is under the SHA-256 of its file
and the dtype of its weights, appears whole, and is made again where one of its files is missing.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lvlora import durable, folders
from lvlora.errors import LvloraError, ModelError
from lvlora.model.catalogue import hub_cache
from lvlora.model.files.folder import INDEX
from lvlora.model.gguf.header import (
    INCOMPLETE,
    Header,
    StoredTensor,
    config_of,
    n_bytes,
    name_of,
    read_header,
)

TOKENS, MERGES, KINDS = (f"tokenizer.ggml.{n}" for n in ("tokens", "merges", "token_type"))
_CONTROL, _USER_DEFINED = 3, 4
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_RULES = ("qwen2", "deepseek-r1-qwen")
_PART_VALUES = 2**23
"""Values that are made at a time in each thread: 32 MB of float32."""
_FILE_BYTES = 2**28
"""A file of weights has about so many; what writes one holds it twice."""


def convert(path: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write the whole model folder; `config_of` must know the file.

    Raises:
        ModelError: the tensors are not whole, or the tokenizer can't be had.
    """
    header = read_header(path)
    config = config_of(header)
    assert config is not None, "the caller asked `config_of`"
    write_tokenizer(path, folder)
    _write_weights(path, header, config, folder, dtype)
    content = {**config, "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(content, indent=1) + "\n")


def write_tokenizer(path: Path, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json.

    Byte-pair vocabularies whose rule is known are built from the file; others by transformers, for
    which a large vocabulary takes most of a minute.
    """
    header = read_header(path, (TOKENS, MERGES, KINDS))
    facts = header.facts
    rule = str(facts.get("tokenizer.ggml.pre"))
    splits = _splits(rule)
    known = isinstance(facts.get(TOKENS), tuple) and isinstance(facts.get(MERGES), tuple)
    if facts.get("tokenizer.ggml.model") != "gpt2" or splits is None or not known:
        _write_by_transformers(path, folder)
        return
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokens: tuple[str, ...] = facts[TOKENS]
    pairs = [tuple(merge.split(" ")) for merge in facts[MERGES]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    if rule in _QWEN_RULES:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.decoder = decoders.ByteLevel()
    kinds = facts.get(KINDS)
    kinds = kinds if isinstance(kinds, tuple) else ()
    spelling = set(pre_tokenizers.ByteLevel.alphabet())
    for kind, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [t for t, k in zip(tokens, kinds, strict=False) if k == kind and set(t) <= spelling]
        tokenizer.add_tokens([AddedToken(t, normalized=False, special=special) for t in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": header.fact("context_length"),
    }
    for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding")):
        token = facts.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token, int) and 0 <= token < len(tokens):
            content[name] = tokens[token]
    (folder / "tokenizer_config.json").write_text(json.dumps(content, indent=1) + "\n")


def _splits(rule: str) -> list[Any] | None:
    """How text is cut before pairs are merged, where that is known."""
    from tokenizers import Regex, pre_tokenizers

    if rule in _QWEN_RULES:
        return [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    if rule in ("None", "default", "gpt-2"):
        return [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if rule == "smollm":
        return [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    return None


def _write_by_transformers(path: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(path.parent), gguf_file=path.name, local_files_only=True, trust_remote_code=False
    )
    tokenizer.save_pretrained(str(folder))


def _write_weights(
    path: Path, header: Header, config: dict[str, Any], folder: Path, dtype: torch.dtype
) -> None:
    from safetensors.torch import save_file

    files = list(_files(header, dtype))
    index = {}
    with (
        durable.open_regular(path) as stream,
        concurrent.futures.ThreadPoolExecutor(torch.get_num_threads()) as threads,
    ):
        raw = np.memmap(stream, np.uint8, "r")
        for number, names in enumerate(files, 1):
            file = f"model-{number:05}-of-{len(files):05}.safetensors"
            try:
                tensors = {
                    name_of(name): _read(name, header.tensors[name], raw, config, dtype, threads)
                    for name in names
                }
            except (ValueError, RuntimeError) as error:  # a kind that gguf does not know
                raise ModelError(f"{path}: {error}", INCOMPLETE) from None
            save_file(
                {str(name): t for name, t in tensors.items()}, folder / file, {"format": "pt"}
            )
            index.update({str(name): file for name in tensors})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}) + "\n")


def _files(header: Header, dtype: torch.dtype) -> Iterator[list[str]]:
    """The tensors' names, a list for each file."""
    names: list[str] = []
    size = 0
    for name, tensor in header.tensors.items():
        more = math.prod(tensor.shape) * dtype.itemsize
        if names and size + more > _FILE_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += more
    yield names


def _read(
    name: str,
    tensor: StoredTensor,
    raw: NDArray[np.uint8],
    config: dict[str, Any],
    dtype: torch.dtype,
    threads: concurrent.futures.ThreadPoolExecutor,
) -> Tensor:
    """A tensor's values.

    Raises:
        ValueError: it is not whole, or stored in a way that gguf does not know.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(tensor.kind)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    size = n_bytes(tensor, block, block_bytes)
    if tensor.offset + size > len(raw):
        raise ValueError(f"{name} is not whole")
    width = tensor.shape[-1]
    n_rows = math.prod(tensor.shape) // width if width else 0
    stored = np.asarray(raw[tensor.offset : tensor.offset + size]).reshape(n_rows, -1)
    weights = torch.empty(n_rows, width, dtype=dtype)
    rows_a_part = max(1, _PART_VALUES // max(1, width))

    def make(begin: int) -> None:
        part = stored[begin : begin + rows_a_part]
        # of whole numbers of the machine (float32, float16) gguf expects arrays of them
        plain = {"F32": np.float32, "F16": np.float16}.get(kind.name)
        values = part.view(plain) if plain is not None else dequantize(part, kind)
        values = np.array(values, dtype=np.float32, copy=True)
        weights[begin : begin + rows_a_part] = torch.from_numpy(values).to(dtype)

    list(threads.map(make, range(0, n_rows, rows_a_part)))
    weights = weights.reshape(tensor.shape)
    if config["model_type"] == "llama" and ".attn_q." in name:
        return _rotary_rows(weights, config["num_attention_heads"])
    if config["model_type"] == "llama" and ".attn_k." in name:
        return _rotary_rows(weights, config["num_key_value_heads"])
    return weights


def _rotary_rows(weights: Tensor, n_heads: int) -> Tensor:
    """Rows in the order of halves, as transformers turns them, not of pairs as llama.cpp does."""
    halves = weights.reshape(n_heads, weights.shape[0] // n_heads // 2, 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape).contiguous()


_ABANDONED_SECONDS = 3600.0


def root() -> Path:
    """Return the folder of all of them."""
    return hub_cache().parent / "lvlora-gguf"


@contextlib.contextmanager
def converted(path: Path, sha256: str, dtype: torch.dtype) -> Iterator[Path]:
    """The file's model folder, to be read inside the block.

    Where there is no room for a cache the folder is gone after the block, but weights that are
    mapped from it stay readable.

    Args:
        sha256: of the file.

    Raises:
        ModelError: as `convert` does.
        OSError: not even the temporary folder has room.
    """
    place = root() / f"{sha256[:32]}-{str(dtype).removeprefix('torch.')}"
    if folders.is_complete(place) or _make(path, place, dtype):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="lvlora-gguf-") as folder:
        convert(path, Path(folder), dtype)
        yield Path(folder)


def _make(path: Path, place: Path, dtype: torch.dtype) -> bool:
    """Put the folder in the cache; False where there is no room."""
    for leftover in root().glob(".*.part"):  # of a killed process
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
    try:
        with folders.replacing(place) as folder:
            convert(path, folder, dtype)
            folders.mark_complete(folder, "converted model")
    except LvloraError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        return folders.is_complete(place)  # another process may have been first
    return True
