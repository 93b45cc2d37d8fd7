"""A folder's tokenizer.json as a numeric alphabet, without transformers, where that is the same.

None sends the caller to transformers, which knows more kinds of tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.text.alphabet import TokenAlphabet

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
