"""A folder with a Llama or Qwen2 model to our own modules, if it holds just that.

Knows: config.json, safetensors, tokenizer.json. Does not know: why a folder does not fit: None
sends the caller to transformers, which reads more kinds of folder and says what is wrong with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lvlora import durable
from lvlora.errors import DataError
from lvlora.flops.shape import ModelShape
from lvlora.model.llama import Llama
from lvlora.text.alphabet import TokenAlphabet

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether ``config.json`` describes one of the two families without any speciality."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        return False
    return (
        config.get("architectures") == [_ARCHITECTURES.get(str(config.get("model_type")))]
        and config.get("hidden_act", "silu") == "silu"
        and rope.get("rope_type", rope.get("type", "default")) == "default"
        and set(rope) <= {"rope_type", "type", "rope_theta"}
        and set(config.get("layer_types") or ()) <= {"full_attention"}
        and not config.get("use_sliding_window")
        and not {"quantization_config", "partial_rotary_factor"} & config.keys()
        and isinstance(config.get("max_position_embeddings"), int)
    )


def read_model(
    folder: Path, config: dict[str, Any], shape: ModelShape, dtype: torch.dtype
) -> nn.Module | None:
    """The folder's model on the CPU, its weights mapped from their files where the dtype is theirs.

    Args:
        config: the folder's, `is_plain`.
    """
    try:
        files = _weight_files(folder)
        tensors: dict[str, Tensor] = {}
        for file in files:
            with safe_open(file, framework="pt") as opened:
                tensors |= {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError, ValueError, DataError):
        return None
    if f"model.layers.{shape.layers - 1}.input_layernorm.weight" not in tensors:
        return None  # before as many layers are made as the configuration claims
    if shape.tied:
        tensors[_HEAD] = tensors.get(_EMBEDDING, torch.empty(0))
    with torch.device("meta"):
        model = Llama(shape, config)
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    expected[_HEAD] = model.lm_head.weight.shape
    if any(name not in tensors or tensors[name].shape != s for name, s in expected.items()):
        return None
    if not all(tensors[name].is_floating_point() for name in expected):
        return None
    model.load_state_dict({name: tensors[name].to(dtype) for name in expected}, assign=True)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def _weight_files(folder: Path) -> list[Path]:
    """One file, or those that the index names."""
    if (folder / _WEIGHTS).is_file() or not (folder / _INDEX).is_file():
        return [folder / _WEIGHTS]
    named = durable.read_json_object(folder / _INDEX).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(n, str) for n in named.values()):
        raise ValueError("the index names no files")
    names = sorted(set(named.values()))
    if any(Path(name).name != name for name in names):
        raise ValueError("the index names files elsewhere")
    return [folder / name for name in names]


def read_alphabet(folder: Path, name: str) -> TokenAlphabet | None:
    """The alphabet in the folder's tokenizer; None where transformers has to say what it is.

    Raises:
        ModelError: the tokenizer does not write one token per digit and sign.
    """
    try:
        config = durable.read_json_object(folder / "tokenizer_config.json")
        start = config["bos_token"]  # left out, it depends on transformers' class
        start = start.get("content") if isinstance(start, dict) else start
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        start_id = None if start is None else tokenizer.token_to_id(start)
    except Exception:  # the library raises bare ones for a broken file
        return None
    if start is not None and start_id is None:
        return None

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return TokenAlphabet.from_tokenizer(encode, start_id, name)
