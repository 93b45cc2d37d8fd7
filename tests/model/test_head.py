"""The restricted head: the alphabet's rows of the whole one, exactly."""

import pytest
import tiny_models
import torch

from lvlora.model.head import NumericHead, decoder_of, embedding_of, head_of, is_tied, untie_head
from lvlora.text.codec import SYMBOLS, TokenAlphabet

SHUFFLED = TokenAlphabet((33, 2, 38, 7, 19, 0, 25, 11, 30, 4, 39, 16, 22, 9, 28))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_logits_are_the_models_own_at_the_alphabet(family):
    model = tiny_models.build(family, vocab_size=40).eval()
    ids = torch.randint(0, 40, (2, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = decoder_of(model)(input_ids=ids).last_hidden_state
        ours = NumericHead(model, SHUFFLED)(hidden)
        reference = model(ids).logits
    assert ours.shape == (2, 11, len(SYMBOLS))
    assert torch.allclose(ours, reference[..., list(SHUFFLED.ids)], atol=1e-4)


def test_full_cross_entropy_is_the_restricted_one_minus_log_p_of_the_alphabet():
    model = tiny_models.build("qwen2", vocab_size=40).eval()
    ids = torch.tensor([list(SHUFFLED.ids)])
    with torch.no_grad():
        hidden = decoder_of(model)(input_ids=ids).last_hidden_state.double()
        model = model.double()
        restricted = NumericHead(model, SHUFFLED)(hidden)[0, :-1].double().log_softmax(-1)
        reference = head_of(model)(hidden)[0, :-1].log_softmax(-1)
    targets = torch.arange(1, 15)
    log_alphabet = reference[:, list(SHUFFLED.ids)].logsumexp(-1)
    remaining = reference.gather(1, ids[0, 1:, None])[:, 0]
    assert torch.allclose(
        remaining, restricted.gather(1, targets[:, None])[:, 0] + log_alphabet, atol=1e-5
    )


def test_with_bfloat16_weights_logits_are_float32():
    model = tiny_models.build("llama").bfloat16()
    head = NumericHead(model, TokenAlphabet(tuple(range(15))))
    assert head.weight.dtype == torch.bfloat16
    assert head(torch.randn(3, 32).bfloat16()).dtype == torch.float32


def test_a_trainable_head_is_float32_and_apart_from_the_model():
    model = tiny_models.build("qwen2").bfloat16()
    head = NumericHead(model, TokenAlphabet(tuple(range(15))), trainable=True)
    assert [n for n, _ in head.named_parameters()] == ["weight"]
    assert head.weight.dtype == torch.float32
    before = head_of(model).weight.clone()
    head(torch.randn(3, 32).bfloat16()).sum().backward()
    assert head.weight.grad.abs().sum() > 0
    with torch.no_grad():
        head.weight.add_(1)
    assert torch.equal(head_of(model).weight, before)
    assert list(NumericHead(model, TokenAlphabet(tuple(range(15)))).parameters()) == []


def test_a_bias_is_taken_along():
    model = tiny_models.build("llama", vocab_size=40)
    model.lm_head = torch.nn.Linear(32, 40)
    hidden = torch.randn(2, 32)
    assert torch.allclose(
        NumericHead(model, SHUFFLED)(hidden),
        model.lm_head(hidden)[:, list(SHUFFLED.ids)],
        atol=1e-5,
    )


def test_writing_back_unties_and_changes_these_rows_alone():
    model = tiny_models.build("qwen2", vocab_size=40)
    head = NumericHead(model, SHUFFLED, trainable=True)
    embedding = embedding_of(model).weight.clone()
    with torch.no_grad():
        head.weight.add_(1)
    assert is_tied(model)
    head.write_back(model)
    assert not is_tied(model)
    assert torch.equal(embedding_of(model).weight, embedding)
    changed = (head_of(model).weight != embedding).any(dim=1).nonzero()[:, 0].tolist()
    assert changed == sorted(SHUFFLED.ids)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_untying(family):
    model = tiny_models.build(family)
    ids = torch.arange(10)[None]
    before = model(ids).logits
    untie_head(model)
    assert torch.equal(model(ids).logits, before)
    assert not is_tied(model)
    assert model.config.tie_word_embeddings is False
    with torch.no_grad():
        head_of(model).weight.zero_()
    assert embedding_of(model).weight.abs().sum() > 0
    untied = head_of(model).weight
    untie_head(model)  # a second time changes nothing
    assert head_of(model).weight is untied
