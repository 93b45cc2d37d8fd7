"""A plain Llama or Qwen2 folder as our own modules.

Where a folder holds anything else the answer is None, which sends the caller to transformers: it
reads more kinds of folder, and says what is wrong with one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lvlora.flops.shape import FAMILIES, ModelShape
from lvlora.model.files.folder import weight_files
from lvlora.model.llama import Llama

_SPECIALITIES = (
    *("rope_scaling", "quantization_config", "partial_rotary_factor", "per_layer_config"),
    "use_sliding_window",
)
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_BY_ROWS = (_HEAD, _EMBEDDING)


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
    if shape.tied and not _is_tied(tensors):
        return None
    with torch.device("meta"):
        model = Llama(shape, config)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    # of two names of one parameter this gives the first
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    if any(tensors[name].shape != size for name, size in expected.items()):
        return None
    if not all(tensors[name].is_floating_point() for name in expected):
        return None
    narrow = [n for n in _BY_ROWS if n in expected and _is_narrower(tensors[n], dtype)]
    converted = {name: tensors[name].to(dtype) for name in expected if name not in narrow}
    # mapped anew: a mapping stays as a whole, and with it all that was read to be converted
    converted |= _tensors(folder, narrow)
    model.load_state_dict(converted, strict=not shape.tied, assign=True)
    if shape.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def _tensors(folder: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The folder's tensors, all or those of some names, mapped from their files."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            tensors |= {
                name: opened.get_tensor(name)
                for name in opened.keys()
                if names is None or name in names
            }
    return tensors


def _is_narrower(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether all values of the tensor are values of the dtype, in less memory."""
    return tensor.dtype != dtype and torch.promote_types(tensor.dtype, dtype) == dtype


def _is_tied(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a head that is stored nevertheless is the embedding: transformers keeps another."""
    return _HEAD not in tensors or torch.equal(tensors[_HEAD], tensors[_EMBEDDING])
