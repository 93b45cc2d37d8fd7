"""The parts of a causal model by name, and its head restricted to the numeric alphabet.

A 151,936-row head is 27.6 % of Qwen2.5-0.5B's linear FLOPs while 15 tokens are ever targets. The
full cross-entropy equals the restricted one minus log P(alphabet), exactly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lvlora.model import llama
from lvlora.model.cache import RowCache, transformers_cache
from lvlora.text.codec import TokenAlphabet


class NumericHead(nn.Module):
    """(…, hidden) to (…, tokens) in float32.

    The rows are a copy; with ``trainable`` they are parameters in float32, and `write_back` puts
    them into a full head.
    """

    weight: Tensor
    bias: Tensor | None
    ids: Tensor

    def __init__(
        self, model: nn.Module, alphabet: TokenAlphabet, *, trainable: bool = False
    ) -> None:
        super().__init__()
        head = head_of(model)
        ids = torch.tensor(alphabet.ids, device=head.weight.device)
        rows = head.weight.detach()[ids].clone()
        if trainable:
            self.weight = nn.Parameter(rows.float())
        else:
            self.register_buffer("weight", rows)
        bias = getattr(head, "bias", None)
        self.register_buffer("bias", None if bias is None else bias.detach()[ids].clone())
        self.register_buffer("ids", ids)
        self.softcap = final_softcap_of(model)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits of the alphabet's tokens in their order."""
        logits = nn.functional.linear(hidden, self.weight.to(hidden.dtype), self.bias).float()
        return cap(logits, self.softcap)

    @torch.no_grad()
    def write_back(self, model: nn.Module) -> None:
        """Put the rows into the model's own head, untied first, so that the whole has them."""
        untie_head(model)
        head = head_of(model)
        head.weight[self.ids] = self.weight.to(head.weight.dtype)


def untie_head(model: nn.Module) -> None:
    """Give a tied head weights of its own: training it then leaves the embedding alone."""
    if is_tied(model):
        head = head_of(model)
        weight = embedding_of(model).weight.detach().to(dtype_of(model), copy=True)
        head.weight = nn.Parameter(weight, False)
    config_of(model).tie_word_embeddings = False


def cap(logits: Tensor, softcap: float | None) -> Tensor:
    """Gemma 2's soft cap, c tanh(x / c), or nothing."""
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


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
    # its name since transformers 5.24, and before
    known = inspect.signature(decoder.forward).parameters
    keyword = "cache" if "cache" in known else "past_key_values"
    wrap = transformers_cache()
    return lambda cache: {keyword: wrap(cache)}


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
