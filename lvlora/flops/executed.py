"""The executed convention: the matrix products that this program really runs, at 2·m·n·p each.

Element-wise work counts as 0. Equal to what PyTorch's FlopCounterMode counts; derivations are in
docs/flops.md.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lvlora.flops.answers import Item, Phase, calls_in_a_row
from lvlora.flops.shape import LINEARS, Lora, ModelShape

KEPT_LINEARS = ("k_proj", "v_proj")
"""Linear layers whose results are kept for later tokens, in the last layer, too."""


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
    def of(cls, shape: ModelShape, loss: str, train_head: str) -> Head:
        """The head of the settings ``loss`` (numeric, full) and ``train_head`` (none, …).

        Training all of the head needs all of its logits, whatever the loss.
        """
        restricted = loss == "numeric" and train_head != "full"
        trained = {"none": 0, "numeric": shape.alphabet_rows, "full": shape.vocab}[train_head]
        return cls(shape.alphabet_rows if restricted else shape.vocab, trained)


def forward_call(
    shape: ModelShape,
    batch: int,
    new_tokens: int,
    *,
    head_positions: int,
    head_rows: int,
    attended: int | None = None,
    lora: Lora | None = None,
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
    """
    tokens = batch * new_tokens
    lora = lora or Lora()
    linears = shape.linear_layers()
    flops = {name: shape.layers * _product(tokens, *sizes) for name, sizes in linears.items()}
    attention = _attention_product(shape, batch, new_tokens, attended or new_tokens)
    flops["scores"] = flops["attention_values"] = shape.layers * attention
    for name in lora.targets:
        updated = _product(tokens, lora.rank, sum(linears[name]))
        flops[f"lora.{name}"] = lora.n_layers(shape) * updated
    flops["lm_head"] = _product(head_positions, shape.hidden, head_rows)
    return _items(flops, "forward")


def packed_call(
    shape: ModelShape, tokens: int, wanted: int, *, pairs: int, last_pairs: int
) -> list[Item]:
    """One call of the native decoder, which pads nothing.

    In the last layer all tokens leave their keys and values, and only the wanted ones go on.

    Args:
        tokens: new tokens of all rows; wanted: of them those that go through the head.
        pairs, last_pairs: products of a head's query with a position, in each layer but the last,
            and in the last.
    """
    before = shape.layers - 1
    flops = {}
    for name, sizes in shape.linear_layers().items():
        in_last = tokens if name in KEPT_LINEARS else wanted
        flops[name] = _product(before * tokens + in_last, *sizes)
    attention = _product(before * pairs + last_pairs, shape.head_dim, 1)
    flops["scores"] = flops["attention_values"] = attention
    flops["lm_head"] = _product(wanted, shape.hidden, shape.alphabet_rows)
    return _items(flops, "forward")


def training_step(
    shape: ModelShape, batch: int, seq_len: int, *, lora: Lora | None = None, head: Head
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
    tokens = batch * seq_len
    ahead = forward_call(
        shape, batch, seq_len, head_positions=tokens, head_rows=head.rows, lora=lora
    )
    linears = shape.linear_layers()
    square = _attention_product(shape, batch, seq_len, seq_len)
    inputs: dict[str, int] = defaultdict(int)
    weights: dict[str, int] = defaultdict(int)

    def linear(name: str, layer: int, x: bool) -> bool:
        """Add a linear layer's products; x: its input needs a gradient. Its output may need one."""
        n_in, n_out = linears[name]
        if x:
            inputs[name] += _product(tokens, n_in, n_out)
        if not lora.on(name, layer):
            return x
        into_a = _product(tokens, n_in, lora.rank)
        into_b = _product(tokens, lora.rank, n_out)
        weights[f"lora.{name}"] += into_a + into_b
        # the gradient of x A^T is needed for A's; that of x only if something below is trained
        inputs[f"lora.{name}"] += into_b + (into_a if x else 0)
        return True

    x = False  # whether a layer's input needs a gradient, as autograd follows it
    for layer in range(shape.layers):
        q, k, v = (linear(name, layer, x) for name in ("q_proj", "k_proj", "v_proj"))
        inputs["scores"] += (q + k) * square
        inputs["attention_values"] += ((q or k) + v) * square
        x = linear("o_proj", layer, q or k or v) or x
        gate, up = (linear(name, layer, x) for name in ("gate_proj", "up_proj"))
        x = linear("down_proj", layer, gate or up) or x
    if x:
        inputs["lm_head"] = _product(tokens, shape.hidden, head.rows)
    weights["lm_head"] = _product(tokens, shape.hidden, head.trained_rows)
    return [*ahead, *_items(inputs, "backward_input"), *_items(weights, "backward_weight")]


def full_fine_tuning_step(shape: ModelShape, batch: int, seq_len: int) -> list[Item]:
    """The same step with every weight trained and no LoRA: each product is differentiated twice.

    The embedding's gradient is a sum over rows, not a product.
    """
    ahead = forward_call(
        shape, batch, seq_len, head_positions=batch * seq_len, head_rows=shape.vocab
    )
    items = list(ahead)
    for item in ahead:
        if item.name in ("scores", "attention_values"):
            items.append(Item(item.name, "backward_input", 2 * item.flops))
        else:
            items.append(Item(item.name, "backward_input", item.flops))
            items.append(Item(item.name, "backward_weight", item.flops))
    return items


def decode(
    shape: ModelShape, batch: int, context: int, new_tokens: int, lora: Lora | None = None
) -> list[Item]:
    """m tokens after a prefill of n, one a call, with a cache that is exactly full.

    The prefill's logits give the first token and the last one is not fed, so there are m-1 calls,
    which attend to n+1 … n+m-1 positions. What a forecast really ran is the sum of `forward_call`
    over its calls: blocks of cache, forced tokens and finished rows are in their shapes.
    """
    rows = shape.alphabet_rows

    def call(attended: int) -> list[Item]:
        return forward_call(
            shape, batch, 1, head_positions=batch, head_rows=rows, attended=attended, lora=lora
        )

    return calls_in_a_row(call, context + 1, new_tokens - 1)


def _product(m: int, n: int, p: int) -> int:
    return 2 * m * n * p


def _attention_product(shape: ModelShape, batch: int, queries: int, keys: int) -> int:
    # the full rectangle: neither a mask nor causality makes the products smaller
    return _product(batch * shape.heads * queries, shape.head_dim, keys)


def _items(flops: dict[str, int], phase: Phase) -> list[Item]:
    """Items in the order of the forward pass, without those that cost nothing."""
    names = [*LINEARS, "scores", "attention_values", *(f"lora.{n}" for n in LINEARS), "lm_head"]
    return [Item(name, phase, flops[name]) for name in names if flops.get(name)]
