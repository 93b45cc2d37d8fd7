"""The loss: cross-entropy of the next token, over the numeric alphabet or the whole vocabulary."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lvlora.model.head import NumericHead, cap
from lvlora.model.parts import decoder_of, final_softcap_of, head_of
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.windows import IGNORED, Batch
from lvlora.train.remembered import Remembered


class Objective:
    """Sum of cross-entropies over a batch's real targets.

    The sum is divided once by the number of targets of the whole step, by the caller, so that
    accumulation and uneven batches weigh every target the same.

    Args:
        head: the restricted head (``numeric``) or None for the model's own (``full``).
        remembered: how the layers remember what backward needs; None: as it is.
    """

    def __init__(
        self,
        model: nn.Module,
        alphabet: TokenAlphabet,
        head: NumericHead | None,
        remembered: Remembered | None = None,
    ) -> None:
        self.model = model
        self.decoder: Callable[..., Any] = decoder_of(model)
        self.head = head
        self.alphabet = alphabet
        self.remembered = remembered
        self.device = next(model.parameters()).device

    @property
    def loss_name(self) -> Literal["numeric", "full"]:
        """Which likelihood this is; the two must never be compared."""
        return "full" if self.head is None else "numeric"

    def logits(self, inputs: Tensor) -> Tensor:
        """(B, S) ids to (B, S, classes) float32 logits."""
        # of the layers only: the logarithms of the loss are no factors to be rounded
        with contextlib.nullcontext() if self.remembered is None else self.remembered.in_half():
            hidden: Tensor = self.decoder(input_ids=inputs, use_cache=False).last_hidden_state
        if self.head is not None:
            restricted: Tensor = self.head(hidden)
            return restricted
        head = head_of(self.model)
        bias = None if head.bias is None else head.bias.to(hidden.dtype)
        # a trained head has float32 weights above a bfloat16 model
        logits = nn.functional.linear(hidden, head.weight.to(hidden.dtype), bias).float()
        return cap(logits, final_softcap_of(self.model))

    def targets(self, batch: Batch) -> Tensor:
        """(B, S) classes of the next tokens on the model's device, `IGNORED` where padded."""
        targets = batch.targets
        if self.head is not None:
            targets = self.alphabet.classes(batch.targets)
            targets[batch.targets == IGNORED] = IGNORED
        return torch.from_numpy(targets).to(self.device)

    def loss_sum(self, batch: Batch) -> Tensor:
        """The summed cross-entropy in nats, a scalar on the model's device."""
        logits = self.logits(torch.from_numpy(batch.inputs).to(self.device))
        return nn.functional.cross_entropy(
            logits.flatten(0, 1),
            self.targets(batch).flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )
