"""Our attention against transformers' eager one and its definition, forwards and backwards."""

import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlora.model import attention
from lvlora.model.attention import BLOCK, causal_attention, grouped_attention


def pair(family: str, **changes):
    """The same random model with eager and with our attention."""
    models = []
    for kernel in ("eager", attention.register()):
        model = tiny_models.build(family, **changes).eval()
        model.set_attn_implementation(kernel)
        models.append(model)
    return models


CASES = [
    *(pytest.param(family, {}, id=family) for family in tiny_models.FAMILIES),
    pytest.param("qwen2", {"num_key_value_heads": 4}, id="qwen2-ungrouped"),
    pytest.param("qwen2", {"num_key_value_heads": 1}, id="qwen2-one-key-head"),
    pytest.param("gemma2", {"num_key_value_heads": 1, "sliding_window": 3}, id="gemma2-narrow"),
    pytest.param("llama", {"num_key_value_heads": 4}, id="llama-ungrouped"),
]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("family", "changes"), CASES)
def test_outputs_and_gradients_equal_eager(family, changes, padded):
    """With padding on the left a mask is passed on: the branch of grouped products."""
    ids = torch.randint(0, 15, (3, 40), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if padded:
        mask[1, :5] = 0
        mask[2, :11] = 0
    results = []
    for model in pair(family, **changes):
        logits = model(ids, attention_mask=mask if padded else None).logits[mask.bool()]
        torch.nn.functional.cross_entropy(logits[:-1], ids[mask.bool()][1:]).backward()
        results.append((logits.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (eager, eager_grads), (ours, our_grads) = results
    assert torch.allclose(ours, eager, atol=2e-4 * eager.std().item(), rtol=1e-4)
    assert our_grads.keys() == eager_grads.keys()
    for name, expected in eager_grads.items():
        assert torch.allclose(
            our_grads[name], expected, atol=1e-4 * expected.abs().max().item() + 1e-7
        ), name


def test_generate_of_transformers_works_with_it():
    ids = torch.randint(0, 15, (2, 9), generator=torch.Generator().manual_seed(2))
    outputs = [m.generate(ids, max_new_tokens=12, do_sample=False) for m in pair("gemma3")]
    assert torch.equal(*outputs)


def definition(query, key, value, scale, mask=None, softcap=None):
    group = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(group, 1) for t in (key, value))
    scores = scale * query @ key.transpose(2, 3)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return (scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("given", ["none", "bool", "additive"])
@pytest.mark.parametrize(("n_query", "n_key"), [(5, 5), (1, 7), (2, 7)])
def test_the_function_itself(heads, softcap, given, n_query, n_key):
    if given == "none" and softcap is None and 1 < n_query < n_key:
        pytest.skip("transformers gives a mask there: SDPA's causality counts from the first key")
    torch.manual_seed(0)
    query = torch.randn(3, heads[0], n_query, 8, requires_grad=True)
    key = torch.randn(3, heads[1], n_key, 8, requires_grad=True)
    value = torch.randn(3, heads[1], n_key, 8, requires_grad=True)
    causal = torch.ones(n_query, n_key, dtype=torch.bool).tril(n_key - n_query)
    mask = causal.expand(3, 1, n_query, n_key).clone()
    if given != "none":
        mask[1, :, 1:, 0] = False  # the first query keeps its only key
        mask[2, :, :, 1] = False
    argument = {
        "none": None,
        "bool": mask,
        "additive": torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min),
    }[given]
    out, weights = grouped_attention(
        torch.nn.Module(), query, key, value, argument, scaling=0.4, softcap=softcap
    )
    double = (t.double() for t in (query, key, value))
    expected = definition(*double, 0.4, mask, softcap)
    assert weights is None
    assert out.shape == (3, n_query, heads[0], 8)
    assert torch.allclose(out.double(), expected, atol=1e-5)
    ours = torch.autograd.grad(out.sum(), (query, key, value))
    theirs = torch.autograd.grad(expected.sum(), (query, key, value))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 4, 8) for _ in range(3))
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool).tril()
    module = torch.nn.Module()
    plain, _ = grouped_attention(module, query, key, value, mask)
    dropped = [
        grouped_attention(module, query, key, value, mask, dropout=0.3)[0] for _ in range(2000)
    ]
    assert not torch.equal(dropped[0], dropped[1])
    assert (torch.stack(dropped).mean(0) - plain).abs().max() < 0.15


def tensors(batch, heads, kv_heads, length, dim, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, length, n, dim) for n in (heads, kv_heads, kv_heads)]
    # as transformers gives them: heads before positions, by a transposed view
    return [
        torch.randn(s, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
        for s in shapes
    ]


@given(
    batch=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    length=st.sampled_from([1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 37]),
    dim=st.sampled_from([1, 4, 8]),
)
def test_values_and_gradients_are_the_definitions(batch, kv_heads, group, length, dim):
    given_ = tensors(batch, kv_heads * group, kv_heads, length, dim)
    out, expected = causal_attention(*given_, 0.7), definition(*given_, 0.7)
    assert torch.allclose(out, expected, atol=1e-10)
    direction = torch.randn(out.shape, dtype=out.dtype)
    for ours, theirs in zip(
        torch.autograd.grad(out, given_, direction),
        torch.autograd.grad(expected, given_, direction),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1)])
def test_only_the_gradients_that_are_needed(needed):
    given_ = tensors(2, 4, 2, 150, 8)
    every = torch.autograd.grad(causal_attention(*given_, 0.3).sum(), given_)
    for i, tensor in enumerate(given_):
        tensor.requires_grad_(i in needed)
    wanted = [given_[i] for i in needed]
    some = torch.autograd.grad(causal_attention(*given_, 0.3).sum(), wanted)
    for i, gradient in zip(needed, some, strict=True):
        assert torch.equal(gradient, every[i])


def test_in_bfloat16_it_is_as_exact_as_the_eager_product():
    exact = tensors(2, 4, 2, 200, 16)
    low = [t.detach().bfloat16().requires_grad_() for t in exact]
    direction = torch.randn(2, 200, 4, 16, generator=torch.Generator().manual_seed(1))

    def gradients(function, given_):
        out = function(*given_, 0.25)
        return [out, *torch.autograd.grad(out, given_, direction.to(out.dtype))]

    truth = gradients(definition, exact)
    ours = gradients(causal_attention, low)
    eager = gradients(definition, low)
    for right, result, other in zip(truth, ours, eager, strict=True):
        error = (result.double() - right).norm() / right.norm()
        assert error < 1.5 * (other.double() - right).norm() / right.norm()


def test_nothing_is_kept_where_nothing_is_differentiated():
    given_ = tensors(1, 2, 1, 140, 4)
    with torch.no_grad():
        out = causal_attention(*given_, 0.5)
    assert torch.equal(out, causal_attention(*given_, 0.5))
    _, weights = torch.ops.lvlora.causal_attention(*(t.detach() for t in given_), 0.5, False)
    assert weights.numel() == 0


def test_what_is_kept_is_little_more_than_half_of_the_square():
    given_ = [t.detach() for t in tensors(1, 2, 1, 8 * BLOCK, 4)]
    _, weights = torch.ops.lvlora.causal_attention(*given_, 0.5, True)
    assert weights.numel() / (2 * (8 * BLOCK) ** 2) == (8 + 1) / 16


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (3, 3), (2, 1), (1, 1)])
def test_the_operators_are_well_formed(batch, heads, kv_heads):
    """Fake tensors, strides, aliasing: PyTorch's own check of an operator; compilers rely on it."""
    query, key, value = given_ = tensors(batch, heads, kv_heads, 130, 8, torch.float32)
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(
        torch.ops.lvlora.causal_attention.default, (*given_, 0.3, True), test_utils=checks
    )
    out, weights = (t.detach() for t in torch.ops.lvlora.causal_attention(*given_, 0.3, True))
    saved = (query.detach(), key.detach(), value.detach(), weights)
    for needs in ([True, True, True], [True, False, True], [False, True, False]):
        torch.library.opcheck(
            torch.ops.lvlora.causal_attention_backward.default,
            (torch.ones_like(out), *saved, 0.3, needs),
            test_utils=checks[:2],
        )
