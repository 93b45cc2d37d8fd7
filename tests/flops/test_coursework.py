import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.flops import coursework
from lvlora.flops.answers import total
from lvlora.flops.catalogue import find_shape
from lvlora.flops.shape import LINEARS, Lora, ModelShape

QWEN = find_shape("qwen2.5-0.5b")


def test_generation_with_a_cache_is_433_times_cheaper():
    n = m = 500
    read = coursework.model_call(QWEN, 1, n, logit_rows=1)
    cached = total(read) + total(coursework.decode(QWEN, 1, n, m))
    recomputed = sum(total(coursework.model_call(QWEN, 1, n + i)) for i in range(1, m + 1))
    assert round(recomputed / cached) == 433
    assert round(150 * cached / 1e17 * 100, 3) == 0.146
    assert round(150 * recomputed / 1e17 * 100) == 63


@pytest.mark.parametrize(
    ("batch", "rank", "forward", "step"),
    [
        (1, 0, 564_111_472_880, 1_692_334_418_640),
        (1, 8, 564_837_939_440, 1_694_513_818_320),
        (4, 8, 2_259_351_757_040, 6_778_055_271_120),
    ],
)
def test_golden_numbers(batch, rank, forward, step):
    lora = Lora.of(rank, ("q_proj", "v_proj"))
    assert total(coursework.model_call(QWEN, batch, 512, lora=lora)) == forward
    items = coursework.training_step(QWEN, batch, 512, lora)
    assert total(items) == step
    assert total(items, "forward") == forward
    assert total(items, "backward") == 2 * forward


class Meter:
    """Counts elementary operations one by one, as a person would with the list of rules."""

    flops = 0

    def arithmetic(self, times=1):
        self.flops += times

    def exp(self, times=1):
        self.flops += 10 * times

    root = exp

    def product(self, m, n, p):
        for _ in range(m):
            self.flops += p * (n + (n - 1))

    def norm(self, rows, width):
        for _ in range(rows):
            self.arithmetic(width)  # squares
            self.arithmetic(width - 1)  # their sum
            self.arithmetic(2)  # mean, epsilon
            self.root()
            self.arithmetic()  # inverse
            self.arithmetic(2 * width)  # normalise, gain


def by_hand(shape, batch, new, attended, logit_rows, lora):
    """An independent calculator: loops over sequences, layers, heads and tokens."""
    meter = Meter()
    width = shape.heads * shape.head_dim
    for _ in range(batch):
        meter.arithmetic(new * shape.hidden)
        for layer in range(shape.layers):
            meter.norm(2 * new, shape.hidden)
            for name in LINEARS:
                n_in = {"o_proj": width, "down_proj": shape.intermediate}.get(name, shape.hidden)
                n_out = width if name[0] in "qkv" else shape.hidden
                n_out = shape.intermediate if name in ("gate_proj", "up_proj") else n_out
                meter.product(new, n_in, n_out)
                if shape.qkv_bias and name[0] in "qkv":
                    meter.arithmetic(new * n_out)
                has_lora = name in lora.targets and (lora.layers is None or layer in lora.layers)
                if lora.rank and has_lora:
                    meter.product(new, n_in, lora.rank)
                    meter.product(new, lora.rank, n_out)
                    meter.arithmetic(new * n_out)
                    meter.arithmetic(new * n_out)
            if shape.qk_norm:
                meter.norm(2 * new * shape.heads, shape.head_dim)
            for _head in range(shape.heads):
                meter.product(new, shape.head_dim, attended)
                for _row in range(new):
                    meter.arithmetic(attended)  # divided by sqrt(d)
                    meter.arithmetic(attended)  # mask
                    meter.exp(attended)
                    meter.arithmetic(attended - 1)
                    meter.arithmetic(attended)
                meter.product(new, attended, shape.head_dim)
            for _token in range(new):
                meter.arithmetic(shape.intermediate)  # negate
                meter.exp(shape.intermediate)
                meter.arithmetic(3 * shape.intermediate)
                meter.arithmetic(shape.intermediate)  # gate times up
                meter.arithmetic(2 * shape.hidden)  # two residuals
        meter.norm(new, shape.hidden)
        meter.product(logit_rows, shape.hidden, shape.vocab)
    for _ in range(shape.layers):
        meter.root()  # of the head size, once a layer however large the batch
    return meter.flops


def small_shapes():
    return st.builds(
        lambda heads, group, d, h, i, layers, vocab, bias, norm: ModelShape(
            "qwen2", h, i, layers, heads * group, heads, d, vocab, True, qkv_bias=bias, qk_norm=norm
        ),
        *(st.integers(1, most) for most in (3, 3, 9, 20, 20, 4, 40)),
        *(st.booleans(), st.booleans()),
    )


def loras():
    return st.builds(
        Lora.of,
        st.integers(0, 4),
        st.sets(st.sampled_from(LINEARS), min_size=1),
        st.none() | st.sets(st.integers(0, 3), min_size=1),
    )


@given(small_shapes(), st.integers(1, 3), st.integers(1, 6), loras())
def test_forward_equals_a_count_by_hand(shape, batch, seq, lora):
    expected = by_hand(shape, batch, seq, seq, seq, lora)
    assert total(coursework.model_call(shape, batch, seq, lora=lora)) == expected


@given(small_shapes(), st.integers(1, 3), st.integers(1, 6), st.integers(0, 5), loras())
def test_generation_equals_a_count_by_hand(shape, batch, context, new, lora):
    read = by_hand(shape, batch, context, context, 1, lora)
    assert total(coursework.model_call(shape, batch, context, logit_rows=1, lora=lora)) == read
    written = sum(by_hand(shape, batch, 1, context + i, 1, lora) for i in range(1, new + 1))
    assert total(coursework.decode(shape, batch, context, new, lora)) == written


@pytest.mark.parametrize("name", ["qwen2.5-1.5b", "smollm2-135m", "qwen3-0.6b", "tinyllama-1.1b"])
def test_known_models_equal_a_count_by_hand(name):
    shape = find_shape(name)
    lora = Lora.of(4, ("q_proj", "v_proj", "down_proj"))
    expected = by_hand(shape, 2, 33, 33, 33, lora)
    assert total(coursework.model_call(shape, 2, 33, lora=lora)) == expected
    written = sum(by_hand(shape, 1, 1, attended, 1, lora) for attended in (41, 42, 43))
    assert total(coursework.decode(shape, 1, 40, 3, lora)) == written


def test_what_gemma_adds():
    plain = ModelShape("llama", 8, 12, 2, 4, 2, 5, 11, True)
    b, s = 2, 3
    base = total(coursework.model_call(plain, b, s))

    def extra(**change):
        return total(coursework.model_call(dataclasses.replace(plain, **change), b, s)) - base

    assert extra(sandwich_norms=True) == 2 * 2 * b * s * (4 * 8 + 12)
    assert extra(unit_offset_norms=True) == 2 * 2 * 8 + 8 + 10 + b * s * 8
    assert extra(attention_softcap=True) == 2 * 16 * b * 4 * s * s
    assert extra(final_softcap=True) == 16 * b * s * 11
    # x^3 2, times 0.044715, plus x, times c, tanh 14, plus 1, 0.5 x, times: 22 against SiLU's 14
    assert extra(activation="gelu_tanh") == 2 * b * s * 12 * (22 - 14)
