import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlora.flops import executed
from lvlora.flops.answers import total
from lvlora.flops.catalogue import find_shape
from lvlora.flops.executed import Head
from lvlora.flops.shape import LINEARS, Lora, ModelShape
from lvlora.model.catalogue import BUNDLED
from lvlora.text.codec import SYMBOLS
from lvlora.train.measurement import build_model, count, generation, put_lora, train_step

ROWS = len(SYMBOLS)
QV = ("q_proj", "v_proj")
TINY = ModelShape("qwen2", 32, 48, 3, 4, 2, 8, 101, True, qkv_bias=True)


SHAPES = {
    "tiny": TINY,
    "untied": dataclasses.replace(TINY, model_type="llama", qkv_bias=False, tied=False),
    "bundled": dataclasses.replace(
        ModelShape.from_file(BUNDLED / "config.json"), layers=2, alphabet_rows=ROWS
    ),
    **{
        name: dataclasses.replace(find_shape(name), layers=2)
        for name in (
            *("qwen2.5-0.5b", "qwen2.5-1.5b", "smollm2-135m", "qwen3-0.6b"),
            *("gemma-2b", "gemma-2-2b", "gemma-3-270m"),
        )
    },
}
HEADS = [
    *(("numeric", "none"), ("full", "none"), ("numeric", "numeric")),
    *(("full", "full"), ("numeric", "full")),
]
EVERY_KERNEL = ("tiny", "untied", "gemma-3-270m")
FEWER_HEADS = [HEADS[0], HEADS[3]]
"""Where the model is not tiny: what a head costs depends on its shape and on nothing behind it."""


def price(shape, batch, seq, lora, loss="numeric", train_head="none"):
    head = Head.of(shape, loss, train_head)
    items = executed.training_step(shape, batch, seq, lora=lora, head=head)
    backward = total(items, "backward_input", "backward_weight")
    return total(items, "forward"), backward


def call(shape, n_tokens, lora=None, *, head_positions=2, head_rows=ROWS, attended=None):
    return executed.forward_call(
        shape,
        2,
        n_tokens,
        head_positions=head_positions,
        head_rows=head_rows,
        attended=attended,
        lora=lora,
    )


# transformers has no SDPA for Gemma 2's soft-capped scores
@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        pytest.param(k, n, marks=[pytest.mark.slow] if k and n not in EVERY_KERNEL else [])
        for k in ("", "eager", "sdpa")
        for n in SHAPES
        if (k, n) != ("sdpa", "gemma-2-2b")
    ],
)
def test_a_training_step_equals_the_counter(kernel, name):
    shape, lora = SHAPES[name], Lora.of(8, QV)
    small = name in ("tiny", "untied")
    for loss, train_head in HEADS[1:2] if kernel else HEADS if small else FEWER_HEADS:
        counted = train_step(
            build_model(shape, kernel=kernel), 2, 24, lora=lora, loss=loss, train_head=train_head
        )
        assert price(shape, 2, 24, lora, loss, train_head) == counted


@pytest.mark.parametrize(
    "targets", [*[(name,) for name in LINEARS], QV, ("k_proj", "o_proj"), ("all-linear",)]
)
@pytest.mark.parametrize(
    "layers",
    [None, (1,), (0, 2), *(pytest.param(n, marks=pytest.mark.slow) for n in ((0,), (2,)))],
)
def test_only_what_autograd_needs_is_charged(targets, layers):
    lora = Lora.of(3, targets, layers)
    counted = train_step(build_model(TINY), 2, 7, lora=lora, train_head="numeric")
    assert price(TINY, 2, 7, lora, train_head="numeric") == counted


@pytest.mark.parametrize(("loss", "train_head"), HEADS)
def test_without_lora_only_the_head_is_trained(loss, train_head):
    counted = train_step(build_model(TINY), 2, 7, lora=Lora(), loss=loss, train_head=train_head)
    assert price(TINY, 2, 7, Lora(), loss, train_head) == counted


@pytest.mark.parametrize("name", ["tiny", "untied", "gemma-3-270m"])
@pytest.mark.parametrize("kernel", ["", "eager"])
def test_full_fine_tuning_equals_the_counter(name, kernel):
    shape = SHAPES[name]
    model = build_model(shape, kernel=kernel).train()
    ids = torch.zeros(2, 9, dtype=torch.long, device="meta")
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool, device="meta")
    measured = count(lambda: model(input_ids=ids, attention_mask=mask).logits.sum().backward())
    items = executed.full_fine_tuning_step(shape, 2, 9)
    assert total(items) == measured
    assert total(items) == 3 * total(items, "forward")


@pytest.mark.parametrize("name", SHAPES)
def test_prefill_decoding_and_jump_forward_equal_the_counter(name):
    shape = SHAPES[name]
    for lora in (Lora(), Lora.of(4, QV, (1,)))[0 if name == "tiny" else 1 :]:
        model = build_model(shape)
        put_lora(model, lora)
        widths = (1, 2, 3, 100, 1)
        counts, attended = generation(model, 2, 40, widths)
        assert counts[0] == total(call(shape, 40, lora))
        for width, keys, counted in zip(widths, attended, counts[1:], strict=True):
            items = call(shape, width, lora, head_positions=2 * width, attended=keys)
            assert total(items) == counted


def test_a_head_of_all_rows_in_generation():
    counts, _ = generation(build_model(TINY), 2, 40, (), alphabet_rows=TINY.vocab)
    assert counts[0] == total(call(TINY, 40, head_rows=TINY.vocab))


@pytest.mark.parametrize(("targets", "layers"), [(QV, 3), (("v_proj",), 3), (("o_proj",), 2)])
@pytest.mark.parametrize("name", ["tiny", "untied"])
def test_the_fused_cpu_kernel_runs_five_products_backward(name, targets, layers):
    """In each layer whose attention is differentiated; the definition has those needed."""
    # fake tensors choose kernels as real ones on the CPU do, without data
    from torch._subclasses.fake_tensor import FakeTensorMode

    shape, lora = SHAPES[name], Lora.of(2, targets)
    with FakeTensorMode():
        model = build_model(shape, torch.device("cpu"), "sdpa")
        put_lora(model.train().requires_grad_(False), lora)
        ids = torch.zeros(2, 9, dtype=torch.long)
        out = []
        forward = count(lambda: out.append(model(input_ids=ids, use_cache=False).logits))
        backward = count(lambda: out[0].sum().backward())
    items = executed.training_step(shape, 2, 9, lora=lora, head=Head(shape.vocab))
    assert forward == total(items, "forward")
    attention = [i for i in items if i.name in ("scores", "attention_values")]
    needed = total(attention, "backward_input")
    one = total(attention, "forward") // (2 * shape.layers)
    assert backward - (total(items) - forward - needed) == 5 * layers * one > needed


def test_the_fused_kernel_on_real_tensors():
    q, k, v = (torch.randn(2, heads, 16, 8, requires_grad=True) for heads in (4, 2, 2))
    out, one = [], 2 * 2 * 4 * 16 * 16 * 8
    attend = torch.nn.functional.scaled_dot_product_attention
    forward = count(lambda: out.append(attend(q, k, v, is_causal=True, enable_gqa=True)))
    assert forward == 2 * one
    assert count(lambda: out[0].sum().backward()) == 5 * one


def test_the_seeds_step_is_about_3_tflop():
    shape = find_shape("qwen2.5-0.5b")
    forward, backward = price(shape, 4, 512, Lora.of(8, QV))
    assert (forward, backward) == (1_558_121_545_728, 1_644_364_824_576)
    full = total(executed.full_fine_tuning_step(shape, 4, 512))
    # the 6N rule charges LoRA for weight gradients that are never computed
    assert 1.4 < full / sum(price(shape, 4, 512, Lora.of(8, QV), "full")) < 1.6


def small_shapes():
    return st.builds(
        lambda kv, group, d, h, i, layers, vocab: ModelShape(
            "qwen2", h, i, layers, kv * group, kv, d, vocab, True
        ),
        *(st.integers(1, most) for most in (3, 3, 9, 20, 20, 4)),
        st.integers(ROWS, 40),
    )


loras = st.builds(
    Lora.of,
    st.integers(0, 4),
    st.sets(st.sampled_from(LINEARS), min_size=1),
    st.none() | st.sets(st.integers(0, 3), min_size=1),
)


@given(small_shapes(), st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), loras)
def test_linear_in_the_batch(shape, batch, seq, times, lora):
    one = sum(price(shape, batch, seq, lora))
    assert sum(price(shape, batch * times, seq, lora)) == times * one


@given(small_shapes(), st.integers(1, 9), st.integers(1, 4))
def test_nothing_below_the_lowest_trained_layer_is_differentiated(shape, seq, rank):
    shape = dataclasses.replace(shape, layers=4)
    backwards = [price(shape, 1, seq, Lora.of(rank, QV, (layer,)))[1] for layer in range(4)]
    assert backwards == sorted(backwards, reverse=True)
    assert len(set(backwards)) == 4


@given(small_shapes(), st.integers(1, 9), st.integers(1, 9), loras)
def test_decoding_is_its_calls_and_reading_further(shape, context, new, lora):
    items = executed.decode(shape, 2, context, new, lora)
    calls = [call(shape, 1, lora, attended=context + i) for i in range(1, new)]
    assert total(items) == sum(map(total, calls))
    longer, shorter = (
        {item.name: item.flops for item in call(shape, n, lora)}
        for n in (context + new - 1, context)
    )
    for item in items:
        if item.name == "lm_head":
            assert item.flops == (new - 1) * longer["lm_head"]
        elif item.name in ("scores", "attention_values"):
            # a rectangle with its corner cut off against the rectangle
            assert item.flops <= longer[item.name] - shorter[item.name]
        else:
            assert item.flops == longer[item.name] - shorter[item.name]
