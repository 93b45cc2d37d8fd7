"""Prices of a training, in both conventions at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvlora.answers import NOTHING, Price
from lvlora.flops import coursework, executed
from lvlora.flops.executed import Head
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.flops.trainable import Lora


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
        """One optimiser step: forward and backward of its micro-batches, padding paid.

        Args:
            shapes: (B, S) of each micro-batch as it runs.
        """
        shape, lora, head = self.shape, self.lora, self.head
        return sum(
            (
                Price(
                    executed=total(executed.training_step(shape, b, s, lora=lora, head=head)),
                    coursework=total(coursework.training_step(shape, b, s, lora)),
                )
                for b, s in shapes
            ),
            NOTHING,
        )

    def validation_batch(self, batch: int, seq_len: int) -> Price:
        """The loss of one batch without gradients: a forward pass with logits everywhere."""
        shape, lora, positions = self.shape, self.lora, batch * seq_len
        return Price(
            executed=total(
                executed.forward_call(
                    shape,
                    batch,
                    seq_len,
                    head_positions=positions,
                    head_rows=self.head.rows,
                    lora=lora,
                )
            ),
            coursework=total(coursework.model_call(shape, batch, seq_len, lora=lora)),
        )
