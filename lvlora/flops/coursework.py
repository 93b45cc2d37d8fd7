"""The coursework convention: every elementary operation of a textbook transformer, priced by rule.

What this program really runs is in `executed`. Each formula is derived in docs/flops.md.
"""

from __future__ import annotations

from lvlora.flops.answers import Item, calls_in_a_row
from lvlora.flops.shape import Lora, ModelShape

# prices of one elementary operation; add, subtract, negate, multiply, divide, invert cost 1
_EXP = 10
_SQRT = 10
_TANH = 4 + _EXP  # 1 - 2 / (exp(2y) + 1): multiply, exp, add, divide, subtract
_SILU = 4 + _EXP  # x * 1 / (1 + exp(-x)): negate, exp, add, invert, multiply
_GELU_TANH = 8 + _TANH  # 0.5 x (1 + tanh(c (x + 0.044715 x^3)))
_SOFTCAP = 2 + _TANH  # cap * tanh(x / cap)
_BACKWARD = 2  # a backward pass costs this many forward passes


def matrix_product(m: int, n: int, p: int) -> int:
    """(m x n)(n x p): m·p dot products of n multiplications and n-1 additions."""
    return m * p * (2 * n - 1)


def softmax(rows: int, n: int) -> int:
    """Rows of n values: n exponentials, n-1 additions, n divisions, so 12n-1 a row."""
    return rows * ((_EXP + 2) * n - 1)


def rms_norm(rows: int, width: int) -> int:
    """4·width + 12 a row: squares, mean, epsilon, square root, inverse, scale and gain."""
    return rows * (4 * width + 2 + _SQRT)


def lora_update(tokens: int, n_in: int, n_out: int, rank: int) -> int:
    """x A^T, (x A^T) B^T, times alpha/r, added to the layer's output."""
    scale_and_add = 2 * tokens * n_out
    return matrix_product(tokens, n_in, rank) + matrix_product(tokens, rank, n_out) + scale_and_add


def linear_layers(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """(in, out) of the linear layers with grouped-query attention read as multi-head attention."""
    plain = dict(shape.linear_layers())
    plain["k_proj"] = plain["v_proj"] = plain["q_proj"]
    return plain


def model_call(
    shape: ModelShape,
    batch: int,
    new_tokens: int,
    *,
    attended: int | None = None,
    logit_rows: int | None = None,
    lora: Lora | None = None,
) -> list[Item]:
    """One run of the model over new tokens, itemised.

    Args:
        batch: B sequences.
        new_tokens: S tokens of each sequence that are fed in.
        attended: positions each of them attends to, cached ones included; default S. The full
            S x attended rectangle is paid, with no saving for causality.
        logit_rows: positions of each sequence that get logits; default S, after a prefill 1.
        lora: the updates that are applied.

    Returns:
        One item per operation, summed over the layers.
    """
    lora = lora or Lora()
    b, s, h, d = batch, new_tokens, shape.hidden, shape.head_dim
    k = s if attended is None else attended
    t = b * s
    rows = b * (s if logit_rows is None else logit_rows)
    score_rows = b * shape.heads * s
    scores = score_rows * k
    linears = linear_layers(shape)

    n_norms = 4 if shape.sandwich_norms else 2
    act = _SILU if shape.activation == "silu" else _GELU_TANH
    gemma = shape.unit_offset_norms

    layer = {
        "norms": n_norms * rms_norm(t, h),
        **{name: matrix_product(t, n_in, n_out) for name, (n_in, n_out) in linears.items()},
        "biases": sum(t * n_out for name, (_, n_out) in linears.items() if shape.has_bias(name)),
        "qk_norms": 2 * rms_norm(t * shape.heads, d) if shape.qk_norm else 0,
        "scores": score_rows * matrix_product(1, d, k),
        # one square root of the head size a layer, one division a score
        "score_scaling": _SQRT + scores,
        "attention_softcap": _SOFTCAP * scores if shape.attention_softcap else 0,
        "mask": scores,
        "softmax": softmax(score_rows, k),
        "attention_values": score_rows * matrix_product(1, k, d),
        "activation": t * shape.intermediate * act,
        "gate_product": t * shape.intermediate,
        "residuals": 2 * t * h,
        # Gemma's norms multiply by 1 + weight, formed once a norm
        "norm_offsets": gemma * (n_norms * h + 2 * d * shape.qk_norm),
    }
    n_lora = lora.n_layers(shape)
    costs = {
        "positions": t * h,
        "embedding_scaling": gemma * (_SQRT + t * h),
        **{name: shape.layers * flops for name, flops in layer.items()},
        **{f"lora.{x}": n_lora * lora_update(t, *linears[x], lora.rank) for x in lora.targets},
        "final_norm": rms_norm(t, h) + gemma * h,
        "lm_head": matrix_product(rows, h, shape.vocab),
        "final_softcap": shape.final_softcap * _SOFTCAP * rows * shape.vocab,
    }
    return [Item(name, "forward", flops) for name, flops in costs.items() if flops]


def training_step(
    shape: ModelShape, batch: int, seq_len: int, lora: Lora | None = None
) -> list[Item]:
    """Forward and backward over B sequences of S tokens, with logits everywhere.

    Backward is twice forward; loss and optimiser are free.
    """
    ahead = model_call(shape, batch, seq_len, lora=lora)
    return ahead + [Item(item.name, "backward", _BACKWARD * item.flops) for item in ahead]


def decode(
    shape: ModelShape, batch: int, context: int, new_tokens: int, lora: Lora | None = None
) -> list[Item]:
    """m new tokens after a context of n: token i runs alone and attends to n + i positions."""

    def step(attended: int) -> list[Item]:
        return model_call(shape, batch, 1, attended=attended, lora=lora)

    return calls_in_a_row(step, context + 1, new_tokens)
