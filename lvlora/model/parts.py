"""The named parts of a causal model, with types: decoder, embedding, head, config."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from lvlora.model import llama
from lvlora.model.cache import RowCache


def config_of(model: nn.Module) -> Any:
    """The model's configuration, by attribute."""
    return cast(Any, model).config


def decoder_of(model: nn.Module) -> nn.Module:
    """The layers without the head: ids to hidden states (B, S, hidden)."""
    return cast(nn.Module, cast(Any, model).get_decoder())


def cache_argument(decoder: nn.Module) -> Callable[[RowCache], dict[str, Any]]:
    """How a cache is given to the decoder's forward, as keywords."""
    if isinstance(decoder, llama.Decoder):
        return lambda cache: {"cache": cache}
    from lvlora.model.transformers_cache import TransformersCache

    # its name since transformers 5.24, and before
    known = inspect.signature(decoder.forward).parameters
    keyword = "cache" if "cache" in known else "past_key_values"
    return lambda cache: {keyword: TransformersCache(cache)}


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the dtype of the layers; the embedding may be narrower (`model.reading`)."""
    return list(decoder_of(model).parameters())[-1].dtype


def embedding_of(model: nn.Module) -> nn.Embedding:
    """The input embedding, weight (vocabulary, hidden)."""
    return cast(nn.Embedding, cast(Any, model).get_input_embeddings())


def head_of(model: nn.Module) -> nn.Linear:
    """The output head, weight (vocabulary, hidden); tied to the embedding in many models."""
    return cast(nn.Linear, cast(Any, model).get_output_embeddings())


def is_tied(model: nn.Module) -> bool:
    """Whether head and embedding are one tensor."""
    return head_of(model).weight is embedding_of(model).weight


def final_softcap_of(model: nn.Module) -> float | None:
    """Gemma 2's cap of the logits, if the model has one."""
    return cast("float | None", getattr(config_of(model), "final_logit_softcapping", None))


def sliding_window_of(model: nn.Module) -> int | None:
    """How many places back windowed layers see; None where every layer sees everything."""
    config = config_of(model)
    kinds = getattr(config, "layer_types", None) or ()
    return int(config.sliding_window) if "sliding_attention" in kinds else None
