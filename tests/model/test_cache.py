"""The cache: rows of their own lengths, tokens taken back, buffers that grow."""

import pytest
import torch

from lvlora.model.cache import BLOCK, RowCache
from lvlora.model.head import cache_argument, config_of, decoder_of, sliding_window_of


def full(decoder, ids):
    return decoder(input_ids=ids[None], use_cache=False).last_hidden_state[0]


def step(base, cache, tokens):
    """One call with (rows, width) new tokens, as the decoder makes it."""
    positions, mask = cache.prepare(tokens.shape[1])
    window = sliding_window_of(base.module)
    if window is not None:
        near = (torch.arange(cache.capacity) > positions[:, :, None] - window)[:, None]
        mask = {"full_attention": mask, "sliding_attention": mask & near}
    return decoder_of(base.module)(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=positions,
        use_cache=True,
        **cache_argument(decoder_of(base.module))(cache),
    ).last_hidden_state


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gemma", "gemma2", "gemma3"])
@torch.no_grad()
def test_random_feeding_and_taking_back_equals_recomputing(tiny_base, family):
    """Rows advance by different counts, up to and past the end of a block."""
    base = tiny_base(family)
    decoder = decoder_of(base.module)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randint(0, 15, shape, generator=generator)

    lengths = torch.tensor([3, 40, BLOCK - 5, 17])
    rows = [draw(int(n)) for n in lengths]
    padded = torch.zeros(4, int(lengths.max()), dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    cache = RowCache(
        config_of(base.module).num_hidden_layers, int(lengths.max()), torch.device("cpu")
    )
    hidden = decoder(
        input_ids=padded, use_cache=True, **cache_argument(decoder)(cache)
    ).last_hidden_state
    cache.began(lengths)
    for i, row in enumerate(rows):
        assert torch.allclose(hidden[i, : len(row)], full(decoder, row), atol=1e-4)

    chosen = torch.tensor([2, 0, 0, 1, 3])
    cache.repeat(chosen)
    rows = [rows[i] for i in chosen]
    for _ in range(12):
        width = int(draw(1)) % 3 + 1
        tokens = draw(5, width)
        hidden = step(base, cache, tokens)
        for i, row in enumerate(rows):
            expected = full(decoder, torch.cat([row, tokens[i]]))[len(row) :]
            assert torch.allclose(hidden[i], expected, atol=1e-4), i
        saved = draw(5) % (width + 1)
        rows = [torch.cat([row, tokens[i, : saved[i]]]) for i, row in enumerate(rows)]
        cache.keep(saved)
        assert cache.lengths.tolist() == [len(row) for row in rows]
    assert cache.capacity == 2 * BLOCK
    assert {layer.keys.shape[2] for layer in cache.rows} == {cache.capacity}


@torch.no_grad()
def test_caches_are_put_one_behind_the_other(tiny_base):
    base = tiny_base("qwen2")
    decoder = decoder_of(base.module)
    ids = torch.randint(0, 15, (3, 9), generator=torch.Generator().manual_seed(1))
    caches = []
    for part in (ids[:1], ids[1:]):
        cache = RowCache(2, 9, torch.device("cpu"))
        decoder(input_ids=part, use_cache=True, **cache_argument(decoder)(cache))
        cache.began(torch.full((len(part),), 9))
        caches.append(cache)
    caches[0].append(caches[1])
    tokens = torch.tensor([[1], [2], [3]])
    hidden = step(base, caches[0], tokens)
    for i in range(3):
        expected = full(decoder, torch.cat([ids[i], tokens[i]]))[-1:]
        assert torch.allclose(hidden[i], expected, atol=1e-4)
