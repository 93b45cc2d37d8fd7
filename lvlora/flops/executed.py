"""The executed convention: the matrix products that this program really runs, at 2·m·n·p each.

Element-wise work counts as 0. Equal to what PyTorch's FlopCounterMode counts; derivations are in
docs/flops.md.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from lvlora.flops.item import Item, Phase, calls_in_a_row
from lvlora.flops.shape import LINEARS, Lora, ModelShape

KEPT_LINEARS = ("k_proj", "v_proj")
"""Linear layers whose results are kept for later tokens, in the last layer, too."""

Attention = Literal["products", "fused"]
"""How attention is differentiated: ``products`` keeps the weights and runs only the gradients that
are needed (eager, SDPA's math kernel, grouped products); ``fused`` (flash kernels) computes the
scores again and always all three gradients: five products where ``products`` needs at most four."""


@dataclass(frozen=True)
class Head:
    """The output head as it runs.

    Attributes:
        rows: rows of the output matrix that are multiplied: the alphabet's, or all V.
        trained_rows: rows that get a gradient.
    """

    rows: int
    trained_rows: int = 0

    @classmethod
    def of(cls, shape: ModelShape, loss: str, train_head: str, alphabet_rows: int) -> Head:
        """The head of the settings ``loss`` (numeric, full) and ``train_head`` (none, …).

        Training all of the head needs all of its logits, whatever the loss.
        """
        restricted = loss == "numeric" and train_head != "full"
        trained = {"none": 0, "numeric": alphabet_rows, "full": shape.vocab}[train_head]
        return cls(alphabet_rows if restricted else shape.vocab, trained)


def forward_call(
    shape: ModelShape,
    batch: int,
    new_tokens: int,
    *,
    head_positions: int,
    head_rows: int,
    attended: int | None = None,
    lora: Lora | None = None,
    phase: Phase = "forward",
) -> list[Item]:
    """One call of the model without gradients: a validation batch, a prefill, a decoding step.

    Args:
        batch: B rows, finished ones and fillers included.
        new_tokens: S new tokens a row, padding included: 1 for a plain decoding step, more where
            forced tokens enter with their predecessor.
        head_positions: hidden states that go through the head, over all rows.
        head_rows: rows of the output matrix that each is multiplied with.
        attended: positions that each new token is multiplied with: the length of the cache's
            buffer, its unused tail included; default S.
        phase: what to call it.
    """
    tokens = batch * new_tokens
    lora = lora or Lora()
    flops = {
        name: shape.layers * _product(tokens, n_in, n_out)
        for name, (n_in, n_out) in shape.linear_layers().items()
    }
    attention = _attention_product(
        shape, batch, new_tokens, new_tokens if attended is None else attended
    )
    flops["scores"] = flops["attention_values"] = shape.layers * attention
    for name in lora.targets:
        n_in, n_out = shape.linear_layers()[name]
        flops[f"lora.{name}"] = lora.n_layers(shape) * _product(tokens, lora.rank, n_in + n_out)
    flops["lm_head"] = _product(head_positions, shape.hidden, head_rows)
    return [Item(name, phase, count) for name, count in flops.items() if count]


def packed_call(
    shape: ModelShape,
    tokens: int,
    wanted: int,
    *,
    pairs: int,
    last_pairs: int,
    head_rows: int,
    phase: Phase = "decode",
) -> list[Item]:
    """One call of the native decoder, which pads nothing.

    In the last layer all tokens leave their keys and values, and only the wanted ones go on.

    Args:
        tokens: new tokens of all rows; wanted: of them those that go through the head.
        pairs, last_pairs: products of a head's query with a position, in each layer but the last,
            and in the last.
        head_rows: rows of the output matrix that each is multiplied with.
    """
    flops = {}
    for name, (n_in, n_out) in shape.linear_layers().items():
        in_last = tokens if name in KEPT_LINEARS else wanted
        flops[name] = _product((shape.layers - 1) * tokens + in_last, n_in, n_out)
    flops["scores"] = flops["attention_values"] = _product(
        (shape.layers - 1) * pairs + last_pairs, shape.head_dim, 1
    )
    flops["lm_head"] = _product(wanted, shape.hidden, head_rows)
    return [Item(name, phase, count) for name, count in flops.items() if count]


def training_step(
    shape: ModelShape,
    batch: int,
    seq_len: int,
    *,
    lora: Lora | None = None,
    head: Head,
    attention: Attention = "products",
) -> list[Item]:
    """Forward and backward of one step, the base weights frozen.

    A frozen linear layer costs its input gradient in backward, and only if something below it is
    trained; nothing below the lowest trained layer is differentiated.

    Args:
        batch: B sequences.
        seq_len: S tokens that all of them are padded to; every position goes through the head.

    Returns:
        Items of the phases forward, backward_input and backward_weight.
    """
    lora = lora or Lora()
    ahead = forward_call(
        shape, batch, seq_len, head_positions=batch * seq_len, head_rows=head.rows, lora=lora
    )
    back = _Backward(shape, batch, seq_len, lora, attention)
    needs_gradient = False
    for layer in range(shape.layers):
        needs_gradient = back.layer(layer, needs_gradient)
    back.head(head, needs_gradient)
    return [*ahead, *back.items()]


def full_fine_tuning_step(
    shape: ModelShape, batch: int, seq_len: int, *, attention: Attention = "products"
) -> list[Item]:
    """The same step with every weight trained and no LoRA: each product is differentiated twice.

    The embedding's gradient is a sum over rows, not a product.
    """
    head = Head(shape.vocab)
    ahead = forward_call(shape, batch, seq_len, head_positions=batch * seq_len, head_rows=head.rows)
    score_products = {"products": (2, 2), "fused": (3, 2)}[attention]
    items = list(ahead)
    for item in ahead:
        if item.name in ("scores", "attention_values"):
            times = score_products[item.name == "attention_values"]
            items.append(Item(item.name, "backward_input", times * item.flops))
        else:
            items.append(Item(item.name, "backward_input", item.flops))
            items.append(Item(item.name, "backward_weight", item.flops))
    return items


def prefill(
    shape: ModelShape, batch: int, n_tokens: int, *, head_rows: int, lora: Lora | None = None
) -> list[Item]:
    """Reading B histories of n tokens (the longest; padding is paid) with one logit row each."""
    return forward_call(
        shape,
        batch,
        n_tokens,
        head_positions=batch,
        head_rows=head_rows,
        lora=lora,
        phase="prefill",
    )


def decode(
    shape: ModelShape,
    batch: int,
    context: int,
    new_tokens: int,
    *,
    head_rows: int,
    lora: Lora | None = None,
) -> list[Item]:
    """m tokens after a prefill of n, one a call, with a cache that is exactly full.

    The prefill's logits give the first token and the last one is not fed, so there are m-1 calls,
    which attend to n+1 … n+m-1 positions. What a forecast really ran is the sum of `forward_call`
    over its calls: blocks of cache, forced tokens and finished rows are in their shapes.
    """

    def call(attended: int) -> list[Item]:
        return forward_call(
            shape,
            batch,
            1,
            head_positions=batch,
            head_rows=head_rows,
            attended=attended,
            lora=lora,
            phase="decode",
        )

    return calls_in_a_row(call, context + 1, new_tokens - 1)


def _product(m: int, n: int, p: int) -> int:
    return 2 * m * n * p


def _attention_product(shape: ModelShape, batch: int, queries: int, keys: int) -> int:
    # the full rectangle: neither a mask nor causality makes the products smaller
    return _product(batch * shape.heads * queries, shape.head_dim, keys)


class _Backward:
    """Follows which tensors need a gradient, as autograd does, and sums the products it runs."""

    def __init__(
        self, shape: ModelShape, batch: int, seq_len: int, lora: Lora, attention: Attention
    ) -> None:
        self.shape = shape
        self.tokens = batch * seq_len
        self.lora = lora
        self.attention = attention
        self.square = _attention_product(shape, batch, seq_len, seq_len)
        self.linears = shape.linear_layers()
        self.flops: defaultdict[tuple[str, Phase], int] = defaultdict(int)

    def items(self) -> list[Item]:
        """Return the sums in the order of the forward pass, input gradients first."""
        names = dict.fromkeys([*LINEARS, "scores", "attention_values"])
        names |= dict.fromkeys(f"lora.{name}" for name in LINEARS) | {"lm_head": None}
        phases: tuple[Phase, ...] = ("backward_input", "backward_weight")
        return [
            Item(name, phase, self.flops[name, phase])
            for phase in phases
            for name in names
            if self.flops[name, phase]
        ]

    def layer(self, layer: int, x: bool) -> bool:
        """One transformer layer; x: its input needs a gradient. Returns whether its output does."""
        q, k, v = (self._linear(name, layer, x) for name in ("q_proj", "k_proj", "v_proj"))
        mixed = self._attention(q, k, v)
        x = self._linear("o_proj", layer, mixed) or x
        gate, up = (self._linear(name, layer, x) for name in ("gate_proj", "up_proj"))
        return self._linear("down_proj", layer, gate or up) or x

    def head(self, head: Head, x: bool) -> None:
        """The output head; every position is multiplied."""
        if x:
            self.flops["lm_head", "backward_input"] += self._pair(self.shape.hidden, head.rows)
        if head.trained_rows:
            self.flops["lm_head", "backward_weight"] += self._pair(
                self.shape.hidden, head.trained_rows
            )

    def _linear(self, name: str, layer: int, x: bool) -> bool:
        n_in, n_out = self.linears[name]
        if x:
            self.flops[name, "backward_input"] += self._pair(n_in, n_out)
        if not self.lora.on(name, layer):
            return x
        into_a, into_b = self._pair(n_in, self.lora.rank), self._pair(self.lora.rank, n_out)
        self.flops[f"lora.{name}", "backward_weight"] += into_a + into_b
        # the gradient of x A^T is needed for A's; that of x only if something below is trained
        self.flops[f"lora.{name}", "backward_input"] += into_b + (into_a if x else 0)
        return True

    def _attention(self, q: bool, k: bool, v: bool) -> bool:
        needed = q or k or v
        if self.attention == "fused":
            scores, values = (3 * needed, 2 * needed)
        else:
            scores, values = q + k, (q or k) + v
        self.flops["scores", "backward_input"] += scores * self.square
        self.flops["attention_values", "backward_input"] += values * self.square
        return needed

    def _pair(self, n_in: int, n_out: int) -> int:
        return _product(self.tokens, n_in, n_out)
