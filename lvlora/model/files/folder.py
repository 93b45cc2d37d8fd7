"""Distrust of a model folder: the kinds of its files, which of them are read, and that sizes agree.

Everything is checked before anything is built, whether by us or by transformers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open

from lvlora import durable
from lvlora.errors import ModelError, reason
from lvlora.flops.model_config import Token, validated
from lvlora.flops.shape import LINEARS, ModelShape
from lvlora.model.adapters.search import CONFIG as ADAPTER_CONFIG

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_GENERATION = "generation_config.json"
_READ = (".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken")
_LARGEST = 2**28
"""Bytes of a file that is read whole: Gemma's tokenizers have 33 MB."""
_LARGEST_INDEX = 50_000_000
_PLAIN_NAME = re.compile(r"[^/\\\0]+\.safetensors")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_COPY = "Download or copy the model's folder again, whole."


class WeightIndex(BaseModel):
    """model.safetensors.index.json: tensor to file."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)

    weight_map: Annotated[dict[str, str], Field(min_length=1, max_length=1_000_000)]


class GenerationConfig(BaseModel):
    """generation_config.json: nothing of it is used, but transformers reads it."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)

    bos_token_id: Token | list[Token] | None = None
    eos_token_id: Token | list[Token] | None = None
    pad_token_id: Token | None = None


def check_files(folder: Path, *, trusted: bool = False) -> None:
    """Refuse a folder with files that no loader should be given.

    Args:
        trusted: it came with lvlora.

    Raises:
        ModelError: a file is a device, a pipe or far too large; it is no base model; a value has
            another type; the tokenizer takes too long.
    """
    _check_kinds(folder)
    if (folder / ADAPTER_CONFIG).exists():
        # transformers would load the base that the adapter names, wherever that is
        raise ModelError(
            f"{folder}: the folder holds an adapter, not a base model",
            f"Use --adapter {folder}, and --model for its base.",
        )
    if (folder / _GENERATION).exists():
        content = durable.read_json_object(folder / _GENERATION, wrong=ModelError, hint=_COPY)
        validated(GenerationConfig, content, folder / _GENERATION, _COPY)
    if not trusted:
        # its models of every file take longer to make than the bundled tokenizer to read
        from lvlora.model.files.tokenizer import check_tokenizer

        check_tokenizer(folder)


def weight_files(folder: Path) -> list[Path]:
    """The one file of weights, or those that the index names.

    Raises:
        ModelError: there is neither, or the index names a file that is not beside it: what is
            elsewhere is in no hash.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        raise ModelError(f"{folder}: the folder has neither {WEIGHTS} nor {INDEX}", _COPY)
    content = durable.read_json_object(index, _LARGEST_INDEX, wrong=ModelError, hint=_COPY)
    names = sorted(set(validated(WeightIndex, content, index, _COPY).weight_map.values()))
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            raise ModelError(
                f"{index}: names {name[:80]!r}, which is no *.safetensors file beside it",
                "Weights are read from the model's own folder only.",
            )
        if not (folder / name).is_file():
            raise ModelError(f"{index}: names {name}, which is not there", _COPY)
    return [folder / name for name in names]


def _check_kinds(folder: Path) -> None:
    """Regular files only, after links (the hub's cache is made of them), and none too large."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror or error})", _COPY) from None
    for entry in entries:
        if entry.suffix not in _READ or entry.is_dir():
            continue
        try:
            with durable.open_regular(entry) as stream:
                # of a regular file the size is what can be read
                size = stream.seek(0, 2)
        except OSError as error:
            raise ModelError(
                f"{entry}: cannot be read ({error.strerror or error})", _COPY
            ) from None
        if size > _LARGEST and entry.suffix != ".safetensors":
            raise ModelError(f"{entry}: is larger than {_LARGEST:,} B", _COPY)


def check_sizes(folder: Path, shape: ModelShape) -> None:
    """Refuse weights that are not of the sizes in config.json, by their files' headers.

    Raises:
        ModelError: so, or `weight_files` finds none.
    """
    stored: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        try:
            with safe_open(str(file), framework="pt") as opened:
                stored |= {
                    name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()
                }
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"{file}: is not a readable safetensors file ({reason(error)})", _COPY
            ) from None
    named = {match[1] for match in map(_LAYER.search, stored) if match}
    if len(named) != shape.layers:
        raise ModelError(
            f"{folder}: config.json says num_hidden_layers {shape.layers:,}, but the weights have "
            f"{len(named):,} layers",
            _COPY,
        )
    # a checkpoint of the decoder alone has its names without the first part
    prefix = "" if any(name.startswith("layers.") for name in stored) else "model."
    expected = _expected(shape, prefix)
    missing = sorted(expected.keys() - stored.keys())
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {missing[0]} (and {len(missing) - 1} more)",
            "The files are not complete, or belong to another config.json.",
        )
    for name, size in expected.items():
        if stored[name] != size:
            raise ModelError(
                f"{folder}: {name} is stored as {_times(stored[name])}, and config.json makes it "
                f"{_times(size)}",
                "The files are not complete, or belong to another config.json.",
            )


def _expected(shape: ModelShape, prefix: str) -> dict[str, tuple[int, ...]]:
    """Every tensor that decides a size, or is decided by one."""
    sizes: dict[str, tuple[int, ...]] = {
        f"{prefix}embed_tokens.weight": (shape.vocab, shape.hidden),
        f"{prefix}norm.weight": (shape.hidden,),
    }
    if not shape.tied and prefix:
        sizes["lm_head.weight"] = (shape.vocab, shape.hidden)
    linears = shape.linear_layers()
    norms = ["input_layernorm", "post_attention_layernorm"]
    if shape.sandwich_norms:
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for layer in range(shape.layers):
        at = f"{prefix}layers.{layer}."
        for name in LINEARS:
            n_in, n_out = linears[name]
            part = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            sizes[f"{at}{part}.{name}.weight"] = (n_out, n_in)
            if shape.has_bias(name):
                sizes[f"{at}{part}.{name}.bias"] = (n_out,)
        sizes |= {f"{at}{norm}.weight": (shape.hidden,) for norm in norms}
        if shape.qk_norm:
            sizes |= {
                f"{at}self_attn.{norm}.weight": (shape.head_dim,) for norm in ("q_norm", "k_norm")
            }
    return sizes


def _times(size: Sequence[int]) -> str:
    return " x ".join(f"{n:,}" for n in size) or "one number"
