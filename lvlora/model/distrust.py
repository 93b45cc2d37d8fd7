"""Distrust of a model folder: the kinds of its files, which of them are read, and that sizes agree.

Everything is checked before anything is built, whether by us or by transformers.

A normaliser of forty replacements makes gigabytes of one digit, and a regular expression can search
for years. A tokenizer that could do such a thing is tried once, in a process of its own that has
little memory and little time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open

from lvlora import durable
from lvlora.errors import ModelError, reason
from lvlora.flops.model_config import Token, Word, validated
from lvlora.flops.shape import LINEARS, ModelShape
from lvlora.model.catalogue import refuse_adapter
from lvlora.text.codec import SYMBOLS

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
_READ = (".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken")
LARGEST = 2**28
"""Bytes of a file that is read whole: Gemma's tokenizers have 33 MB."""
_LARGEST_INDEX = 50_000_000
_LARGEST_JSON = 10_000_000
_MOST_TOKENS = 20_000
"""Beside the vocabulary: Gemma has 6,415; a hundred thousand keep transformers busy for minutes."""
_PLAIN_NAME = re.compile(r"[^/\\\0]+\.safetensors")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_COPY = "Download or copy the model's folder again, whole."
_TAKE = "Take the tokenizer's files from the model's own source, whole."
_OTHER_CONFIG = "The files are not complete, or belong to another config.json."


class Strict(BaseModel):
    """Types and ranges of a stranger's JSON; keys that are not named are passed over."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, defer_build=True, protected_namespaces=()
    )


class WeightIndex(Strict):
    """model.safetensors.index.json: tensor to file."""

    weight_map: Annotated[dict[str, str], Field(min_length=1, max_length=1_000_000)]


class GenerationConfig(Strict):
    """generation_config.json: nothing of it is used, but transformers reads it."""

    bos_token_id: Token | list[Token] | None = None
    eos_token_id: Token | list[Token] | None = None
    pad_token_id: Token | None = None


class SpecialToken(Strict):
    """A token with its properties."""

    content: Word
    lstrip: bool | None = None
    rstrip: bool | None = None
    normalized: bool | None = None
    single_word: bool | None = None
    special: bool | None = None


class StoredToken(SpecialToken):
    """One in tokenizer.json."""

    id: Token


_OneToken = Word | SpecialToken | None
_Several = Annotated[list[Word | SpecialToken], Field(max_length=_MOST_TOKENS)]
_Named = Annotated[dict[Word, Word | SpecialToken], Field(max_length=_MOST_TOKENS)]


class SpecialTokens(Strict):
    """special_tokens_map.json, and the same in tokenizer_config.json."""

    bos_token: _OneToken = None
    eos_token: _OneToken = None
    unk_token: _OneToken = None
    sep_token: _OneToken = None
    pad_token: _OneToken = None
    cls_token: _OneToken = None
    mask_token: _OneToken = None
    additional_special_tokens: _Several | None = None
    extra_special_tokens: _Several | _Named | None = None


class TokenizerConfig(SpecialTokens):
    """tokenizer_config.json."""

    tokenizer_class: Word | None = None
    added_tokens_decoder: (
        Annotated[dict[Word, SpecialToken], Field(max_length=_MOST_TOKENS)] | None
    ) = None
    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    add_prefix_space: bool | None = None
    clean_up_tokenization_spaces: bool | None = None
    split_special_tokens: bool | None = None
    legacy: bool | None = None
    model_max_length: Annotated[float, Field(ge=1, le=1e31)] | None = None
    padding_side: Literal["left", "right"] | None = None
    truncation_side: Literal["left", "right"] | None = None
    errors: Literal["strict", "replace", "ignore"] | None = None
    model_input_names: Annotated[list[Word], Field(max_length=100)] | None = None


class TokenizerFile(Strict):
    """tokenizer.json, which is for the tokenizers library to understand."""

    added_tokens: Annotated[list[StoredToken], Field(max_length=_MOST_TOKENS)] | None = None
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    model: dict[str, Any]


class AddedTokens(Strict):
    """added_tokens.json: text to id."""

    tokens: Annotated[dict[Word, Token], Field(max_length=_MOST_TOKENS)]


def check_files(folder: Path, *, trusted: bool = False) -> None:
    """Refuse a folder with files that no loader should be given.

    Args:
        trusted: it came with lvlora.

    Raises:
        ModelError: a file is a device, a pipe or far too large; it is no base model; a value has
            another type; the tokenizer takes too long.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror or error})", _COPY) from None
    for entry in entries:
        if entry.suffix in _READ and not entry.is_dir():
            _check_kind(entry)
    refuse_adapter(folder)
    generation = folder / "generation_config.json"
    if generation.exists():
        content = durable.read_json_object(generation, wrong=ModelError, hint=_COPY)
        validated(GenerationConfig, content, generation, _COPY)
    if not trusted:
        # the types of every file take longer to build than the bundled tokenizer to read
        check_tokenizer(folder)


def _check_kind(file: Path) -> None:
    """Refuse what is no regular file, after links (the hub's cache is made of them), or too large.

    A regular file's size is all that can be read of it.
    """
    try:
        with durable.open_regular(file) as stream:
            size = stream.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror or error})", _COPY) from None
    if size > LARGEST and file.suffix != ".safetensors":
        raise ModelError(f"{file}: is larger than {LARGEST:,} B", _COPY)


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


def check_sizes(folder: Path, shape: ModelShape) -> None:
    """Refuse weights that are not of the sizes in config.json, by their files' headers.

    Raises:
        ModelError: so, or `weight_files` finds none.
    """
    stored: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        try:
            with safe_open(str(file), framework="pt") as opened:
                for name in opened.keys():
                    stored[name] = tuple(opened.get_slice(name).get_shape())
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"{file}: is not a readable safetensors file ({reason(error)})", _COPY
            ) from None
    n_layers = len({match[1] for match in map(_LAYER.search, stored) if match})
    if n_layers != shape.layers:
        raise ModelError(
            f"{folder}: config.json says num_hidden_layers {shape.layers:,}, but the weights have "
            f"{n_layers:,} layers",
            _COPY,
        )
    # a checkpoint of the decoder alone has its names without the first part
    prefix = "" if any(name.startswith("layers.") for name in stored) else "model."
    expected = _expected_sizes(shape, prefix)
    missing = sorted(expected.keys() - stored.keys())
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {missing[0]} (and {len(missing) - 1} more)", _OTHER_CONFIG
        )
    for name, size in expected.items():
        if stored[name] != size:
            raise ModelError(
                f"{folder}: {name} is stored as {_times(stored[name])}, and config.json makes it "
                f"{_times(size)}",
                _OTHER_CONFIG,
            )


def _expected_sizes(shape: ModelShape, prefix: str) -> dict[str, tuple[int, ...]]:
    """Every tensor that decides a size, or is decided by one."""
    sizes: dict[str, tuple[int, ...]] = {
        f"{prefix}embed_tokens.weight": (shape.vocab, shape.hidden),
        f"{prefix}norm.weight": (shape.hidden,),
    }
    if not shape.tied and prefix:
        sizes["lm_head.weight"] = (shape.vocab, shape.hidden)
    norms = {"input_layernorm": shape.hidden, "post_attention_layernorm": shape.hidden}
    if shape.sandwich_norms:
        norms["pre_feedforward_layernorm"] = norms["post_feedforward_layernorm"] = shape.hidden
    if shape.qk_norm:
        norms["self_attn.q_norm"] = norms["self_attn.k_norm"] = shape.head_dim
    linears = shape.linear_layers()
    for layer in range(shape.layers):
        at = f"{prefix}layers.{layer}."
        for name in LINEARS:
            n_in, n_out = linears[name]
            part = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            sizes[f"{at}{part}.{name}.weight"] = (n_out, n_in)
            if shape.has_bias(name):
                sizes[f"{at}{part}.{name}.bias"] = (n_out,)
        for norm, width in norms.items():
            sizes[f"{at}{norm}.weight"] = (width,)
    return sizes


def _times(size: Sequence[int]) -> str:
    return " x ".join(f"{n:,}" for n in size) or "one number"


_HARMLESS_PATTERNS = frozenset(
    {
        # GPT-2, Qwen2 and its kin, Llama 3
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
"""Regular expressions that need no trial."""
_SHORT = 2
_DEEPEST, _MOST_PARTS = 50, 50

_CPU_SECONDS, _WALL_SECONDS, _MEMORY = 5, 60, 2**30
_TRIAL = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({cpu}, {cpu}))
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
from tokenizers import Tokenizer
try:
    tokenizer = Tokenizer.from_file(sys.argv[1])
    for text in sys.argv[2:]:
        tokenizer.encode(text, add_special_tokens=False)
except MemoryError:
    raise
except Exception:
    pass
"""
_TEXTS = (*SYMBOLS, "0.25,1.50;0.27,1.47;10.07,999.80;", "1" * 40, "0.00,-1.00;" * 20)


def check_tokenizer(folder: Path) -> None:
    """Refuse tokenizer files whose values have other types, or that would take too long.

    Raises:
        ModelError: so; a file that is missing is not looked for.
    """
    for name, kind in ((TOKENIZER_CONFIG, TokenizerConfig), (SPECIAL_TOKENS, SpecialTokens)):
        if (content := _content(folder / name)) is not None:
            validated(kind, content, folder / name, _TAKE)
    if (content := _content(folder / ADDED_TOKENS)) is not None:
        validated(AddedTokens, {"tokens": content}, folder / ADDED_TOKENS, _TAKE)
    file = folder / TOKENIZER
    if (content := _content(file, LARGEST)) is not None:
        checked = validated(TokenizerFile, content, file, _TAKE)
        if _is_strange([checked.normalizer, checked.pre_tokenizer]):
            _try(file)


def _content(file: Path, largest: int = _LARGEST_JSON) -> dict[str, Any] | None:
    if not file.exists():
        return None
    return durable.read_json_object(file, largest, wrong=ModelError, hint=_TAKE)


def _is_strange(rules: list[Any]) -> bool:
    """Whether a part of the rules could grow a text, or search it for long."""
    try:
        parts = list(_parts(rules))
    except RecursionError:
        return True
    return len(parts) > _MOST_PARTS or any(_grows(p) or _searches(p) for p in parts)


def _parts(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """All dictionaries in it."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _parts(inner, depth + 1)


def _grows(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    if kind == "Replace":
        pattern, content = part.get("pattern"), part.get("content")
        text = pattern.get("String") if isinstance(pattern, dict) else None
        if not (isinstance(text, str) and isinstance(content, str) and text):
            return True
        return len(content) > len(text)
    if kind == "Prepend":
        return len(str(part.get("prepend"))) > _SHORT
    return kind == "Precompiled"


def _searches(part: dict[str, Any]) -> bool:
    pattern = part.get("Regex")
    if not isinstance(pattern, str):
        return pattern is not None
    return len(pattern) > _SHORT and pattern not in _HARMLESS_PATTERNS


def _try(file: Path) -> None:
    code = _TRIAL.format(cpu=_CPU_SECONDS, memory=_MEMORY)
    try:
        process = subprocess.run(
            [sys.executable, "-c", code, str(file), *_TEXTS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WALL_SECONDS,
        )
        if process.returncode == 0:
            return
    except subprocess.TimeoutExpired:
        pass
    raise ModelError(
        f"{file}: a short text breaks this tokenizer, or takes it more than {_CPU_SECONDS} s "
        f"or {_MEMORY // 2**30} GiB",
        _TAKE,
    )
