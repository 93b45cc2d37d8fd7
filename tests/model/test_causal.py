"""Blocked causal attention against its definition, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlora.model.causal import BLOCK, causal_attention


def tensors(batch, heads, kv_heads, length, dim, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, length, n, dim) for n in (heads, kv_heads, kv_heads)]
    # as transformers gives them: heads before positions, by a transposed view
    return [
        torch.randn(s, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
        for s in shapes
    ]


def definition(query, key, value, scale):
    group = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(group, 1) for t in (key, value))
    scores = scale * query @ key.transpose(2, 3)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(future, float("-inf")).softmax(-1) @ value).transpose(1, 2)


@settings(max_examples=25)
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
    for right, found, other in zip(truth, ours, eager, strict=True):
        error = (found.double() - right).norm() / right.norm()
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
