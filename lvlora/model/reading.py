"""A plain folder without transformers: a Llama or Qwen2 model, and a tokenizer's alphabet.

Where a folder holds anything else the answer is None, which sends the caller to transformers: it
reads more kinds of folder, and says what is wrong with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lvlora import durable
from lvlora.flops.shape import FAMILIES, ModelShape
from lvlora.model.distrust import (
    ADDED_TOKENS,
    LARGEST,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    weight_files,
)
from lvlora.model.llama import Llama
from lvlora.text.codec import TokenAlphabet

_SPECIALITIES = (
    *("rope_scaling", "quantization_config", "partial_rotary_factor", "per_layer_config"),
    "use_sliding_window",
)
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_AS_THEY_ARE = {"PreTrainedTokenizerFast", "TokenizersBackend"}
"""transformers' classes that take tokenizer.json as it is."""
_QWEN = {"Qwen2Tokenizer", "Qwen2TokenizerFast"}
_GPT2 = {"GPT2Tokenizer", "GPT2TokenizerFast"}
"""Those that take its vocabulary, and split text by a rule of their own."""


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether ``config.json`` describes a family of our own modules without any speciality.

    Args:
        config: its types are as `ModelConfig` has them.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    rope = config.get("rope_parameters") or {}
    return (
        family is not None
        and family.own_modules
        and config.get("architectures") == [family.architecture]
        and config.get("hidden_act", "silu") == "silu"
        and not any(config.get(name) for name in _SPECIALITIES)
        and set(rope) <= {"rope_type", "rope_theta"}
        and rope.get("rope_type", "default") == "default"
        and set(config.get("layer_types") or ()) <= {"full_attention"}
        and bool(config.get("max_position_embeddings"))  # else transformers has a default
    )


def read_model(
    folder: Path, config: dict[str, Any], shape: ModelShape, dtype: torch.dtype
) -> nn.Module | None:
    """The folder's model on the CPU, its weights mapped from their files where the dtype is theirs.

    So are those of the embedding and the head where theirs is narrower: few of their rows are ever
    wanted, which are widened when they are.

    Args:
        config: the folder's, `is_plain`.
    """
    try:
        return _read_model(folder, config, shape, dtype)
    except MemoryError:
        raise
    except Exception:  # whatever a damaged or dishonest folder leads to
        return None


def _read_model(
    folder: Path, config: dict[str, Any], shape: ModelShape, dtype: torch.dtype
) -> nn.Module | None:
    tensors = _tensors(folder)
    if shape.head_dim % 2:
        return None
    if shape.tied and _HEAD in tensors and not torch.equal(tensors[_HEAD], tensors[_EMBEDDING]):
        return None  # transformers keeps such a head, whatever the config says
    with torch.device("meta"):
        model = Llama(shape, config)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    # of two names of one parameter this gives the first
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, size in expected.items():
        if tensors[name].shape != size or not tensors[name].is_floating_point():
            return None
    narrow = [n for n in (_HEAD, _EMBEDDING) if n in expected and _is_narrower(tensors[n], dtype)]
    converted = {name: tensors[name].to(dtype) for name in expected if name not in narrow}
    if narrow:
        # mapped anew: a mapping stays as a whole, and with it all that was read to be converted
        converted |= _tensors(folder, narrow)
    model.load_state_dict(converted, strict=not shape.tied, assign=True)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def _tensors(folder: Path, names: list[str] | None = None) -> dict[str, Tensor]:
    """The folder's tensors, all or those of some names, mapped from their files."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():
                if names is None or name in names:
                    tensors[name] = opened.get_tensor(name)
    return tensors


def _is_narrower(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether all values of the tensor are values of the dtype, in less memory."""
    return tensor.dtype != dtype and torch.promote_types(tensor.dtype, dtype) == dtype


def is_as_it_is(folder: Path) -> bool:
    """Whether the folder's tokenizer is what its tokenizer.json says, whatever the model is."""
    if not ((folder / TOKENIZER_CONFIG).is_file() and (folder / TOKENIZER).is_file()):
        return False
    config = durable.read_json_object(folder / TOKENIZER_CONFIG)
    return str(config.get("tokenizer_class")) in _AS_THEY_ARE


def read_alphabet(folder: Path, name: str) -> TokenAlphabet | None:
    """The alphabet in the folder's tokenizer; None where transformers has to say what it is."""
    try:
        return _read_alphabet(folder, name)
    except MemoryError:
        raise
    except Exception:  # the library raises bare ones; a tokenizer that does not fit is a ModelError
        return None


def _read_alphabet(folder: Path, name: str) -> TokenAlphabet | None:
    from tokenizers import Tokenizer

    config = durable.read_json_object(folder / TOKENIZER_CONFIG)
    kind = str(config.get("tokenizer_class"))
    tokenizer = Tokenizer.from_str(durable.read_bounded(folder / TOKENIZER, LARGEST).decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    id_of: Any = tokenizer.token_to_id
    if kind in _QWEN | _GPT2:
        if any(id_of(f"{number:02}") is not None for number in range(100)):
            return None  # whether digits are merged is the rule's to say
    elif kind not in _AS_THEY_ARE:
        return None
    if not all(id_of(token) is not None for token in _added_tokens(folder, config)):
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
    if (folder / SPECIAL_TOKENS).is_file() and "added_tokens_decoder" not in config:
        raise ValueError(f"{SPECIAL_TOKENS} has a say, too")
    if "bos_token" not in config and kind not in _GPT2:  # those have one of their own
        return None
    start = config["bos_token"]
    if isinstance(start, dict) and start["__type"] == "AddedToken":
        start = start["content"]
    if start is not None and not isinstance(start, str):
        raise TypeError("bos_token is no text")
    return start


def _added_tokens(folder: Path, config: dict[str, Any]) -> list[str]:
    """Tokens that are named in files other than tokenizer.json."""
    tokens = list(config.get("added_tokens_decoder", {}).values())
    for key in ("extra_special_tokens", "additional_special_tokens"):
        more = config.get(key) or []
        tokens += more.values() if isinstance(more, dict) else more
    if (folder / ADDED_TOKENS).is_file():
        tokens += durable.read_json_object(folder / ADDED_TOKENS)
    return [token["content"] if isinstance(token, dict) else token for token in tokens]
