"""The restricted head: logits over the numeric alphabet only.

A 151,936-row head is 27.6 % of Qwen2.5-0.5B's linear FLOPs while 15 tokens are ever targets. The
full cross-entropy equals the restricted one minus log P(alphabet), exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvlora.model.parts import (
    config_of,
    dtype_of,
    embedding_of,
    final_softcap_of,
    head_of,
    is_tied,
)
from lvlora.text.alphabet import TokenAlphabet


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
