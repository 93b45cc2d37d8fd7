"""A folder's tokenizer: distrusted first, then read as a numeric alphabet without transformers.

A normaliser of forty replacements makes gigabytes of one digit, and a regular expression can search
for years. What could do such a thing is tried once, in a process of its own that has little memory
and little time. An alphabet of None sends the caller to transformers, which knows more kinds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lvlora import durable
from lvlora.errors import ModelError
from lvlora.flops.model_config import Token, Word, validated
from lvlora.text.alphabet import SYMBOLS, TokenAlphabet

TOKENIZER = "tokenizer.json"
CONFIG, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
LARGEST = 2**28
"""Bytes of a tokenizer.json (Gemma's has 33 MB)."""

_AS_THEY_ARE = {"PreTrainedTokenizerFast", "TokenizersBackend"}
"""transformers' classes that take tokenizer.json as it is."""

_QWEN = {"Qwen2Tokenizer", "Qwen2TokenizerFast"}
_GPT2 = {"GPT2Tokenizer", "GPT2TokenizerFast"}
"""Those that take its vocabulary, and split text by a rule of their own."""


def read_alphabet(folder: Path, name: str) -> TokenAlphabet | None:
    """The alphabet in the folder's tokenizer; None where transformers has to say what it is."""
    try:
        return _read_alphabet(folder, name)
    except MemoryError:
        raise
    except Exception:  # the library raises bare ones; a tokenizer that does not fit is a ModelError
        return None


def is_as_it_is(folder: Path) -> bool:
    """Whether the folder's tokenizer is what its tokenizer.json says, whatever the model is."""
    if not ((folder / CONFIG).is_file() and (folder / TOKENIZER).is_file()):
        return False
    return str(durable.read_json_object(folder / CONFIG).get("tokenizer_class")) in _AS_THEY_ARE


def _read_alphabet(folder: Path, name: str) -> TokenAlphabet | None:
    from tokenizers import Tokenizer

    config = durable.read_json_object(folder / CONFIG)
    kind = str(config.get("tokenizer_class"))
    tokenizer = Tokenizer.from_str(durable.read_bounded(folder / TOKENIZER, LARGEST).decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def id_of(token: str) -> int | None:
        token_id: int | None = tokenizer.token_to_id(token)
        return token_id

    if kind in _QWEN | _GPT2:
        if any(id_of(f"{number:02}") is not None for number in range(100)):
            return None  # whether digits are merged is the rule's to say
    elif kind not in _AS_THEY_ARE:
        return None
    if not all(id_of(token) is not None for token in _added(folder, config)):
        return None

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    start = _start(folder, config, kind)
    first = None if start is None else id_of(start)
    alphabet = TokenAlphabet.from_tokenizer(encode, first, name, tokenizer.get_vocab)
    if start is not None and alphabet.start is None:
        return None
    # a space before each text would make other tokens of them
    same = all(id_of(t) == i for t, i in zip(alphabet.tokens, alphabet.ids, strict=True))
    return alphabet if same else None


def _start(folder: Path, config: dict[str, Any], kind: str) -> str | None:
    """The start token, or None; an exception where it depends on more than is told."""
    if (folder / SPECIAL).is_file() and "added_tokens_decoder" not in config:
        raise ValueError(f"{SPECIAL} has a say, too")
    if "bos_token" not in config and kind not in _GPT2:  # those have one of their own
        return None
    start = config["bos_token"]
    if isinstance(start, dict) and start["__type"] == "AddedToken":
        start = start["content"]
    if start is not None and not isinstance(start, str):
        raise TypeError("bos_token is no text")
    return start


def _added(folder: Path, config: dict[str, Any]) -> list[str]:
    """Tokens that are named in files other than tokenizer.json."""
    tokens = [one["content"] for one in config.get("added_tokens_decoder", {}).values()]
    for key in ("extra_special_tokens", "additional_special_tokens"):
        more = config.get(key) or []
        tokens += more.values() if isinstance(more, dict) else more
    if (folder / ADDED).is_file():
        tokens += durable.read_json_object(folder / ADDED)
    return [one["content"] if isinstance(one, dict) else one for one in tokens]


_MOST_TOKENS = 20_000
"""Beside the vocabulary: Gemma has 6,415; a hundred thousand keep transformers busy for minutes."""
_HINT = "Take the tokenizer's files from the model's own source, whole."

_KNOWN = frozenset(
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


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)


class SpecialToken(_Strict):
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
_Side = Literal["left", "right"] | None


class SpecialTokens(_Strict):
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
    padding_side: _Side = None
    truncation_side: _Side = None
    errors: Literal["strict", "replace", "ignore"] | None = None
    model_input_names: Annotated[list[Word], Field(max_length=100)] | None = None


class TokenizerFile(_Strict):
    """tokenizer.json, which is for the tokenizers library to understand."""

    added_tokens: Annotated[list[StoredToken], Field(max_length=_MOST_TOKENS)] | None = None
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    model: dict[str, Any]


class AddedTokens(_Strict):
    """added_tokens.json: text to id."""

    tokens: Annotated[dict[Word, Token], Field(max_length=_MOST_TOKENS)]


def check_tokenizer(folder: Path) -> None:
    """Refuse tokenizer files whose values have other types, or that would take too long.

    Raises:
        ModelError: so; a file that is missing is not looked for.
    """
    _read(folder / CONFIG, TokenizerConfig)
    _read(folder / SPECIAL, SpecialTokens)
    _read(folder / ADDED, AddedTokens, inside="tokens")
    file = _read(folder / TOKENIZER, TokenizerFile, LARGEST)
    if isinstance(file, TokenizerFile) and _is_strange(file):
        _try(folder / TOKENIZER)


def _read(
    file: Path, model: type[_Strict], largest: int = 10_000_000, inside: str = ""
) -> _Strict | None:
    if not file.exists():
        return None
    content = durable.read_json_object(file, largest, wrong=ModelError, hint=_HINT)
    return validated(model, {inside: content} if inside else content, file, _HINT)


def _is_strange(text: TokenizerFile) -> bool:
    """Whether a part of it could grow a text, or search it for long."""
    try:
        parts = list(_parts([text.normalizer, text.pre_tokenizer]))
    except RecursionError:
        return True
    return len(parts) > _MOST_PARTS or any(_grows(p) or _searches(p) for p in parts)


def _parts(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """All dictionaries in it."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(inner, depth + 1)


def _grows(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    if kind == "Replace":
        pattern, content = part.get("pattern"), part.get("content")
        text = pattern.get("String") if isinstance(pattern, dict) else None
        same = isinstance(text, str) and isinstance(content, str) and len(content) <= len(text)
        return not (same and text)
    if kind == "Prepend":
        return len(str(part.get("prepend"))) > _SHORT
    return kind == "Precompiled"


def _searches(part: dict[str, Any]) -> bool:
    pattern = part.get("Regex")
    return pattern is not None and not (
        isinstance(pattern, str) and (len(pattern) <= _SHORT or pattern in _KNOWN)
    )


def _try(file: Path) -> None:
    code = _TRIAL.format(cpu=_CPU_SECONDS, memory=_MEMORY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(file), *_TEXTS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        pass
    else:
        if done.returncode == 0:
            return
    raise ModelError(
        f"{file}: a short text breaks this tokenizer, or takes it more than {_CPU_SECONDS} s "
        f"or {_MEMORY // 2**30} GiB",
        _HINT,
    )
