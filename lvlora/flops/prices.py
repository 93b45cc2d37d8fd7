"""Prices of training and reading, in both conventions at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvlora.answers import NOTHING, Price
from lvlora.flops import coursework, executed
from lvlora.flops.executed import Attention, Head
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.flops.trainable import Lora


def training_step(
    shape: ModelShape,
    batch: int,
    seq_len: int,
    *,
    lora: Lora,
    head: Head,
    accumulation: int = 1,
    attention: Attention = "products",
) -> Price:
    """One optimiser step: forward and backward of its micro-batches, padding paid.

    Micro-batches of different shapes are priced one by one and added.

    Args:
        batch, seq_len: (B, S) of a micro-batch as it runs.
        head: what is multiplied and trained of the output matrix (`Head.of`).
        accumulation: micro-batches of this shape.
        attention: how attention is differentiated.
    """
    return Price(
        executed=total(
            executed.training_step(
                shape,
                batch,
                seq_len,
                lora=lora,
                head=head,
                attention=attention,
                accumulation=accumulation,
            )
        ),
        coursework=total(
            coursework.training_step(shape, batch, seq_len, lora, accumulation=accumulation)
        ),
    )


def validation_batch(
    shape: ModelShape, batch: int, seq_len: int, *, lora: Lora, head: Head
) -> Price:
    """The loss of one batch without gradients: a forward pass with logits at every position."""
    items = executed.forward_call(
        shape, batch, seq_len, head_positions=batch * seq_len, head_rows=head.rows, lora=lora
    )
    return Price(
        executed=total(items), coursework=total(coursework.forward(shape, batch, seq_len, lora))
    )


def forecast(
    shape: ModelShape, batch: int, context: int, new_tokens: int, *, lora: Lora, head_rows: int
) -> Price:
    """m tokens after a context of n for each of B series, token by token with a cache."""
    read = executed.prefill(shape, batch, context, head_rows=head_rows, lora=lora)
    written = executed.decode(shape, batch, context, new_tokens, head_rows=head_rows, lora=lora)
    return Price(
        executed=total(read) + total(written),
        coursework=total(coursework.prefill(shape, batch, context, lora))
        + total(coursework.decode(shape, batch, context, new_tokens, lora)),
    )


@dataclass(frozen=True)
class Trained:
    """A model's shape and what is trained of it: all that the price of its training needs."""

    shape: ModelShape
    lora: Lora
    head: Head

    @property
    def n_parameters(self) -> int:
        """How many values are trained: r (in + out) for each update, and rows of the head."""
        sizes = self.shape.linear_layers()
        in_a_layer = sum(self.lora.rank * sum(sizes[name]) for name in self.lora.targets)
        head = self.head.trained_rows * self.shape.hidden
        return self.lora.n_layers(self.shape) * in_a_layer + head

    def step(self, shapes: Iterable[tuple[int, int]]) -> Price:
        """One optimiser step of micro-batches of these (B, S)."""
        return sum(
            (training_step(self.shape, b, s, lora=self.lora, head=self.head) for b, s in shapes),
            NOTHING,
        )

    def validation_batch(self, batch: int, seq_len: int) -> Price:
        """The loss of one batch without gradients."""
        return validation_batch(self.shape, batch, seq_len, lora=self.lora, head=self.head)
