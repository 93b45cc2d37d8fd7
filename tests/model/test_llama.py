"""Our own Llama and Qwen2: transformers' numbers, to the last bit."""

import pytest
import tiny_models
import torch

from lvlora.model import llama, lora
from lvlora.model.cache import RowCache
from lvlora.model.devices import Placement
from lvlora.model.export import logits
from lvlora.model.head import cache_argument, decoder_of, embedding_of, head_of, is_tied
from lvlora.model.loading import load
from lvlora.model.lora import LoraPlan

KINDS = {
    "qwen2": ("qwen2", {}),
    "qwen2, a head of its own": ("qwen2", {"tie_word_embeddings": False}),
    "qwen2, one key/value head": ("qwen2", {"num_key_value_heads": 1}),
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, heads without groups": ("llama", {"num_key_value_heads": 4}),
    "llama, biases, wide heads, other angles": (
        "llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "head_dim": 24,
            "rms_norm_eps": 1e-3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
    ),
}


@pytest.fixture(params=KINDS, scope="module")
def folder(request, tmp_path_factory):
    family, changes = KINDS[request.param]
    return tiny_models.write(tmp_path_factory.mktemp("model"), family, **changes)


def both(folder, dtype=torch.float32):
    """The folder's model as our own and as transformers' modules."""
    placement = Placement(torch.device("cpu"), dtype, "for tests")
    source = tiny_models.source(folder)
    separate = load(source, placement)
    other = load(source, placement, through_transformers=True)
    assert isinstance(separate.module, llama.Llama)
    assert not isinstance(other.module, llama.Llama)
    return separate, other


def some_ids(*shape):
    return torch.randint(0, 15, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_the_same_hidden_states_and_logits(folder, dtype):
    separate, other = both(folder, dtype)
    ids = some_ids(3, 300)
    result = decoder_of(separate.module)(input_ids=ids, use_cache=False).last_hidden_state
    expected = decoder_of(other.module)(input_ids=ids, use_cache=False).last_hidden_state
    assert result.dtype == dtype
    assert torch.equal(result, expected)
    assert result.float().std() > 0.1
    assert torch.equal(logits(separate.module, ids[:1]), logits(other.module, ids[:1]))


@pytest.mark.parametrize("added", [False, True], ids=["a bool mask", "a mask to be added"])
@torch.no_grad()
def test_the_same_with_a_cache_whose_rows_have_their_own_lengths(folder, added):
    result = []
    for base in both(folder):
        decoder = decoder_of(base.module)
        cache, inputs = (
            RowCache(base.shape.layers, 50, torch.device("cpu")),
            cache_argument(decoder),
        )
        states = [decoder(input_ids=some_ids(3, 40), use_cache=True, **inputs(cache))]
        cache.began(torch.tensor([40, 7, 25]))
        for width in (3, 1, 90):
            positions, mask = cache.prepare(width)
            if added:
                mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
            states.append(
                decoder(
                    input_ids=some_ids(3, width),
                    attention_mask=mask,
                    position_ids=positions,
                    use_cache=True,
                    **inputs(cache),
                )
            )
            cache.keep(torch.tensor([1, width, 0]))
        result.append(torch.cat([s.last_hidden_state for s in states], dim=1))
    assert torch.equal(*result)


def test_the_same_gradients_of_the_same_updates(folder):
    result = []
    for base in both(folder):
        plan = LoraPlan(rank=3, alpha=6, targets=("all-linear",))
        names = lora.inject(base.module, plan, seed=1)
        layers = dict(lora.lora_layers(base.module))
        generator = torch.Generator().manual_seed(2)
        for layer in layers.values():
            layer.lora_b.data = torch.randn(layer.lora_b.shape, generator=generator) / 10
        hidden = decoder_of(base.module)(input_ids=some_ids(2, 150), use_cache=False)
        trained = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(hidden.last_hidden_state.square().sum(), trained.values())
        result.append((names, list(trained), gradients))
    (names, trained, gradients), (*other_names, other_gradients) = result
    assert [names, trained] == other_names
    assert len(gradients) == 2 * 7 * 2
    assert all(torch.equal(a, b) for a, b in zip(gradients, other_gradients, strict=True))


def test_the_same_names_weights_and_shape(folder):
    separate, other = both(folder)
    assert separate.shape == other.shape
    assert separate.alphabet == other.alphabet
    assert separate.sha256 == other.sha256
    assert separate.max_positions == other.max_positions
    ours, theirs = separate.module.state_dict(), other.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert is_tied(separate.module) == is_tied(other.module) == separate.shape.tied
    assert head_of(separate.module).weight.shape == embedding_of(separate.module).weight.shape
    assert not any(p.requires_grad for p in separate.module.parameters())
    assert not any(m.training for m in separate.module.modules())
