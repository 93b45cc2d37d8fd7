"""The compiled decoder against PyTorch, and against itself in any other division of the work."""

import copy
import gc
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlora.flops.shape import LINEARS, ModelShape
from lvlora.model import lora
from lvlora.model.cache import RowCache
from lvlora.model.head import NumericHead
from lvlora.model.llama import Llama
from lvlora.model.native import building
from lvlora.model.native.engine import PAGE, Engine, Row, in_pages
from lvlora.text.codec import TokenAlphabet

VOCABULARY = 40
ALPHABET = TokenAlphabet(tuple(range(20, 35)), 1)
DTYPES = [torch.float32, torch.bfloat16]
SIZES = {
    # (query heads, key/value heads, head dim)
    "1:1": (2, 2, 32),
    "3:1": (3, 1, 64),
    "4:2": (4, 2, 16),
    "5 vectors": (2, 1, 80),
}


def _model(sizes="4:2", *, biases=True, dtype=torch.float32, seed=0, **updates):
    """A Llama or, with biases, a Qwen2 of random weights, low-rank updates in it if asked for."""
    heads, kv_heads, dim = SIZES[sizes]
    shape = ModelShape(
        *("qwen2" if biases else "llama", 64, 96, 3, heads, kv_heads, dim, VOCABULARY, False),
        qkv_bias=biases,
        rope_theta=100.0,
    )
    model = Llama(shape, {"tie_word_embeddings": False})
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(0, 1.0 if "embed" in name else 0.1)
    model.requires_grad_(False).to(dtype)
    if updates:
        lora.inject(model, lora.LoraPlan(**updates))
        for _, layer in lora.lora_layers(model):
            layer.lora_b.data.normal_(0, 0.1)
    return model.eval()


def _head(model):
    return NumericHead(model, ALPHABET)


def _opened(model):
    engine = Engine.of(model, _head(model))
    if engine is None:
        assert building.library(model.model.norm.weight.dtype) is None
        pytest.skip("no compiled decoder on this machine")
    return engine


def _ids(n, seed=0):
    return np.random.default_rng([n, seed]).integers(0, VOCABULARY, n)


def _feed(engine, rows, want=None):
    """Logits after the wanted tokens of the rows, or after all."""
    n = sum(len(row.ids) for row in rows)
    engine.prepare(rows, np.arange(n) if want is None else np.array(want))
    return engine.run()


def _alone(engine, ids):
    """Logits after every token of a sequence in a segment of its own."""
    segment = engine.segment()
    try:
        return _feed(engine, [Row(-1, segment, ids)])
    finally:
        engine.cut(segment, 0)


@torch.no_grad()
def _by_torch(model, ids):
    """Logits (tokens, 15), and keys and values of each layer (2, kv heads, tokens, head dim)."""
    cache = RowCache(3, len(ids), torch.device("cpu"))
    hidden = model.model(torch.tensor(np.array(ids))[None], cache=cache).last_hidden_state
    saved = [torch.stack([a.keys[0], a.values[0]])[:, :, : len(ids)] for a in cache.rows]
    return _head(model)(hidden)[0].numpy(), [one.float().numpy() for one in saved]


UPDATES = [
    {},
    {"rank": 1, "targets": ("q_proj", "down_proj")},
    {"rank": 3, "targets": ("all-linear",)},
    {"rank": 8, "targets": ("k_proj", "v_proj", "up_proj"), "layers": (0, 2)},
    {"rank": 33, "targets": ("v_proj", "o_proj", "gate_proj"), "layers": (2,), "rslora": True},
    {"rank": 8, "targets": ("all-linear",), "rank_pattern": {"gate_proj": 33, "v_proj": 1}},
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("updates", UPDATES, ids=lambda u: f"rank {u.get('rank', 'none')}")
def test_equals_pytorch(sizes, updates):
    model = _model(sizes, biases=sizes != "1:1", **updates)
    engine, ids = _opened(model), _ids(75)
    segment = engine.segment()
    result = _feed(engine, [Row(-1, segment, ids)])
    expected, saved = _by_torch(model, ids)
    assert result.dtype == np.float32
    assert np.abs(result - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    for layer, one in enumerate(saved):
        assert np.abs(np.stack(engine.cached(segment, layer)) - one).max() <= 1e-5


@pytest.fixture
def emulated_tiles(monkeypatch):
    """The decoder multiplies in AMX tiles, which plain C computes."""
    library = building.library
    monkeypatch.setattr(building, "library", lambda dtype: library(dtype, "-DEMULATED_TILES"))


@pytest.mark.parametrize("tiles", [False, True], ids=["vectors", "tiles"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("updates", UPDATES[::2], ids=lambda u: f"rank {u.get('rank', 'none')}")
def test_bfloat16_is_as_near_to_float32_as_pytorchs(sizes, updates, tiles, request):
    if tiles:
        request.getfixturevalue("emulated_tiles")
    model = _model(sizes, biases=sizes != "1:1", dtype=torch.bfloat16, **updates)
    ids = _ids(75)
    result = _alone(_opened(model), ids)
    exact, _ = _by_torch(copy.deepcopy(model).float(), ids)
    theirs, _ = _by_torch(model, ids)
    ours = np.sqrt(np.mean((result - exact) ** 2))
    assert 0 < ours < 1.5 * np.sqrt(np.mean((theirs - exact) ** 2))


def test_a_narrower_embedding_gives_the_numbers_of_a_wide_one():
    """As of a bfloat16 file in float32: rows are widened when their tokens are first fed."""
    model = _model()
    model.model.embed_tokens.bfloat16()
    wide = copy.deepcopy(model).float()
    engine, other = _opened(model), _opened(wide)
    for ids in (_ids(20), _ids(30, seed=1)):
        assert np.array_equal(_alone(engine, ids), _alone(other, ids))


def test_a_head_that_was_trained_is_used():
    model = _model()
    head = NumericHead(model, ALPHABET, trainable=True)
    with torch.no_grad():
        head.weight.normal_()
    head.bias = torch.arange(15.0)
    engine = Engine.of(model, head)
    if engine is None:
        pytest.skip("no compiled decoder on this machine")
    ids = _ids(9)
    with torch.no_grad():
        expected = head(model.model(torch.from_numpy(ids)[None]).last_hidden_state)[0]
    assert np.allclose(_alone(engine, ids), expected, atol=1e-5)


def test_more_positions_than_there_were_angles_for():
    model = _model()
    engine, ids = _opened(model), _ids(1100)
    segment = engine.segment()
    begun = _feed(engine, [Row(-1, segment, ids[:1000])])
    result = np.concatenate([begun, _feed(engine, [Row(-1, segment, ids[1000:])])])
    assert np.abs(result - _by_torch(model, ids)[0]).max() < 1e-4


LENGTHS = [1, 31, 32, 33, 64, 65, 7]


@pytest.fixture(params=["float32", "bfloat16", "tiles"])
def lasting(request):
    """A model and its engine; one multiplies in emulated AMX tiles."""
    dtype = torch.float32 if request.param == "float32" else torch.bfloat16
    if request.param == "tiles":
        request.getfixturevalue("emulated_tiles")
    model = _model("3:1", dtype=dtype, rank=3, targets=("all-linear",))
    return model, _opened(model)


def test_the_same_bits_whatever_is_computed_beside_and_wanted(lasting):
    _, engine = lasting
    texts = [_ids(n) for n in LENGTHS]
    alone = [_alone(engine, ids) for ids in texts]
    for order in (range(len(texts)), reversed(range(len(texts))), (3, 1, 5)):
        which = list(order)
        rows = [Row(-1, engine.segment(), texts[i]) for i in which]
        together = _feed(engine, rows)
        assert np.array_equal(together, np.concatenate([alone[i] for i in which]))
    expected = np.concatenate(alone)
    for want in ([len(expected) - 1], [0, 1, 40], np.cumsum(LENGTHS) - 1):
        rows = [Row(-1, engine.segment(), ids) for ids in texts]
        assert np.array_equal(_feed(engine, rows, want), expected[want])


@pytest.mark.parametrize("sizes", [[1] * 70, [31, 1, 1, 37], [32, 38], [33, 33, 4], [69, 1]])
def test_the_same_bits_at_once_and_in_pieces(lasting, sizes):
    _, engine = lasting
    ids, segment = _ids(70), engine.segment()
    at = np.cumsum(sizes) - sizes
    pieces = [
        _feed(engine, [Row(-1, segment, ids[a : a + n])]) for a, n in zip(at, sizes, strict=True)
    ]
    assert np.array_equal(np.concatenate(pieces), _alone(engine, ids))


def test_the_same_bits_by_any_number_of_threads(lasting, monkeypatch):
    model, engine = lasting
    texts = [_ids(n) for n in LENGTHS]
    expected = np.concatenate([_alone(engine, ids) for ids in texts])
    for n_threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        other = _opened(model)
        for _ in range(3):
            rows = [Row(-1, other.segment(), ids) for ids in texts]
            assert np.array_equal(_feed(other, rows), expected)
        other.close()


@pytest.mark.parametrize("history", [1, 31, 32, 33, 50])
def test_a_shared_history_is_as_good_as_ones_own(lasting, history):
    """The same numbers but for rounding, and the same bits however many share it."""
    model, engine = lasting
    ids = _ids(history)
    shared, other = engine.segment(), engine.segment()
    _feed(engine, [Row(-1, shared, ids), Row(-1, other, ids[::-1])])
    ends = [_ids(n, seed=1) for n in (3, 1, 40, 2, 2)]
    alone = [_feed(engine, [Row(shared, engine.segment(), end)]) for end in ends]
    rows = [Row(shared, engine.segment(), end) for end in ends]
    rows.append(Row(other, engine.segment(), ends[0]))
    assert np.array_equal(_feed(engine, rows)[:-3], np.concatenate(alone))
    for row, result, end in zip(rows, alone, ends, strict=False):
        reference = _alone(engine, np.concatenate([ids, end]))[history:]
        near = 1e-5 if model.model.norm.weight.dtype == torch.float32 else 0.1
        assert np.abs(result - reference).max() < near
        assert engine.length(row.target) == len(end)
    assert engine.length(shared) == history


@pytest.mark.parametrize("keep", [0, 1, 30, 31, 32, 33, 39])
def test_what_is_cut_is_forgotten(lasting, keep):
    _, engine = lasting
    ids, others, segment = _ids(40), _ids(40, seed=2), engine.segment()
    _feed(engine, [Row(-1, segment, ids)])
    engine.cut(segment, keep)
    assert engine.length(segment) == keep
    engine.cut(segment, 100)  # longer than it is: nothing to cut
    result = _feed(engine, [Row(-1, segment, others[: 40 - keep])])
    expected = _alone(engine, np.concatenate([ids[:keep], others[: 40 - keep]]))
    assert np.array_equal(result, expected[keep:])


def test_the_memory_of_emptied_segments_is_used_again(lasting):
    _, engine = lasting
    ids = _ids(70)
    expected = _alone(engine, ids)
    segments = [engine.segment() for _ in range(4)]
    for _ in range(3):
        rows = [Row(-1, s, ids) for s in segments]
        assert np.array_equal(_feed(engine, rows), np.concatenate([expected] * 4))
        for segment in segments:
            engine.cut(segment, 0)


def test_a_segment_that_was_never_fed_holds_nothing(lasting):
    _, engine = lasting
    segments = [engine.segment() for _ in range(50)]
    keys, values = engine.cached(segments[-1], 0)
    assert keys.shape == values.shape == (1, 0, 64)
    # nothing before it either: as if there were no history
    ids = _ids(5)
    result = _feed(engine, [Row(segments[40], segments[1], ids)])
    assert np.array_equal(result, _alone(engine, ids))


@pytest.mark.parametrize("expected", [0, 1, 32, 40, 300])
def test_the_same_bits_whatever_length_was_expected(lasting, expected):
    """Three rows grow beside each other, and in turns out of their memory."""
    _, engine = lasting
    texts = [_ids(150, seed) for seed in range(3)]
    alone = [_alone(engine, ids) for ids in texts]
    rows = [engine.segment(expected) for _ in texts]
    for begin in range(0, 150, 25):
        pieces = [ids[begin : begin + 25] for ids in texts]
        result = _feed(engine, [Row(-1, s, p) for s, p in zip(rows, pieces, strict=True)])
        assert np.array_equal(result, np.concatenate([one[begin : begin + 25] for one in alone]))


def test_a_call_that_was_prepared_and_never_run_leaves_nothing(lasting):
    _, engine = lasting
    ids = _ids(90)
    expected = _alone(engine, ids)
    one, other = engine.segment(), engine.segment()
    _feed(engine, [Row(-1, one, ids[:40])])
    engine.prepare([Row(-1, one, ids), Row(-1, other, ids)], np.array([0]))
    engine.cut(one, 40)
    engine.cut(other, 0)
    result = _feed(engine, [Row(-1, other, ids), Row(-1, one, ids[40:])])
    assert np.array_equal(result, np.concatenate([expected, expected[40:]]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_stays_in_its_row(value, dtype):
    """A token whose embedding is broken, beside rows without it and before them in memory."""
    model = _model(dtype=dtype)
    sound = _opened(model)
    broken = copy.deepcopy(model)
    broken.model.embed_tokens.weight[7] = value
    engine = _opened(broken)
    ids = _ids(60)
    ids[ids == 7] = 8
    bad = np.concatenate([ids[:20], [7], ids[:20]])
    expected = _alone(sound, ids)
    for _ in range(2):
        rows = [Row(-1, engine.segment(), x) for x in (bad, ids, bad)]
        result = _feed(engine, rows)
        assert np.isnan(result[20:41]).all()
        assert np.isnan(result[-21:]).all()
        assert np.array_equal(result[41:101], expected)
        for row in rows:  # the next ones get their pages
            engine.cut(row.target, 0)
        assert np.array_equal(_alone(engine, ids), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize(
    "name", ["model.embed_tokens", "model.layers.1.mlp.down_proj", "model.norm", "lm_head"]
)
def test_a_broken_model_gives_nan_or_infinity(name, value):
    """As in PyTorch, hidden states that are lost to a norm are no hidden states."""
    model = _model()
    model.get_submodule(name).weight[:] = value
    result = _alone(_opened(model), _ids(5))
    if (name, value) in [("model.norm", 1e30), ("lm_head", 1e30)]:
        assert np.isfinite(result).all()  # large, and no more
    else:
        assert not np.isfinite(result).any()


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800001, 0x7FFFFFFF, -0x400000, -1])
def test_every_nan_stays_one(bits):
    """CUDA's has all bits of the mantissa, a processor's one."""
    model = _model("3:1")
    bias = model.model.layers[1].self_attn.k_proj.bias
    bias[:] = torch.tensor([bits], dtype=torch.int32).view(torch.float32)
    assert np.isnan(_alone(_opened(model), _ids(40))).all()


def test_what_it_cannot_honour_is_left_to_pytorch(tiny_base):
    def of(model, head=None):
        return Engine.of(model, head or _head(model))

    if of(_model()) is None:
        pytest.skip("no compiled decoder on this machine")
    assert of(_model(dtype=torch.float16)) is None
    assert of(_model(dtype=torch.float64)) is None
    for family, how in (("native qwen2", {"through_transformers": True}), ("gemma2", {})):
        base = tiny_base(family, **how)
        assert of(base.module, NumericHead(base.module, base.alphabet)) is None
    ours = tiny_base("native qwen2")
    assert of(ours.module, NumericHead(ours.module, ours.alphabet)) is not None

    class Other(NumericHead):
        """One that may say what it likes."""

    model = _model()
    assert of(model, Other(model, ALPHABET)) is None
    capped = _head(model)
    capped.softcap = 5.0
    assert of(model, capped) is None
    mixed = _model()
    mixed.model.layers[1].mlp.up_proj.to(torch.float16)
    assert of(mixed) is None
    turned = _model()
    projection = turned.model.layers[0].self_attn.o_proj
    projection.weight.data = projection.weight.data.t().contiguous().t()
    assert of(turned) is None
    foreign = _model()
    foreign.model.layers[0].mlp.up_proj = torch.nn.Identity()
    assert of(foreign) is None


@pytest.mark.parametrize("change", [{"hidden": 36}, {"intermediate": 98}, {"head_dim": 6}])
def test_sizes_that_are_no_whole_vectors_are_left_to_pytorch(change):
    reference = ModelShape("llama", 64, 96, 2, 4, 2, 16, VOCABULARY, False)
    model = Llama(replace(reference, **change), {}).requires_grad_(False)
    assert Engine.of(model, _head(model)) is None


def test_updates_with_dropout_are_left_to_pytorch_while_they_train():
    model = _model(rank=2, targets=("q_proj",), dropout=0.5)
    opened = _opened(model)
    assert np.abs(_alone(opened, _ids(9)) - _by_torch(model, _ids(9))[0]).max() < 1e-5
    model.train()
    assert Engine.of(model, _head(model)) is None


def test_a_second_engine_has_the_updates_as_they_are_then():
    model = _model(rank=2, targets=LINEARS)
    first, ids = _opened(model), _ids(9)
    before = _alone(first, ids)
    for _, layer in lora.lora_layers(model):
        layer.lora_b.data.zero_()
    assert np.array_equal(_alone(first, ids), before)
    plain = _alone(_opened(model), ids)
    assert np.abs(plain - before).max() > 0.01
    assert np.abs(plain - _by_torch(model, ids)[0]).max() < 1e-5


def _reckoned(lanes, heads, kv_heads, asking):
    """(query head, position) pairs.

    Args:
        asking: (shared segment, its length, own segment, position in it) of each asking token.
    """
    at_once = max(1, 12 * lanes // PAGE)  # queries of a key/value head that share a page
    pairs = begin = 0
    while begin < len(asking):
        shared, length, separate, _ = asking[begin]
        alike = [a for a in asking[begin:] if (a[0] == shared if shared >= 0 else a[2] == separate)]
        queries = [a for a in alike for _ in range(heads // kv_heads)]
        for first in range(0, len(queries), at_once):
            group = queries[first : first + at_once]
            pairs += kv_heads * len(group) * in_pages(length)
            for segment in {a[2] for a in group}:
                places = [a[3] + 1 for a in group if a[2] == segment]
                pairs += kv_heads * len(places) * in_pages(max(places))
        begin += len(alike)
    return pairs


@pytest.mark.parametrize("sizes", SIZES)
def test_pairs_are_those_of_whole_pages(sizes):
    model = _model(sizes)
    engine = _opened(model)
    lanes = building.library(torch.float32).vector_lanes()
    a, b = engine.segment(), engine.segment()
    rng = np.random.default_rng(1)
    separate = [engine.segment() for _ in range(6)]
    calls = [[(-1, a, 70), (-1, b, 32)]]
    for _ in range(4):
        taken = [
            (s, separate[i], int(rng.integers(1, 30))) for s, i in ((a, 0), (a, 1), (a, 2), (b, 3))
        ]
        calls.append([*taken, (-1, separate[4], 40), (-1, separate[5], 1)])
    for call in calls:
        rows = [Row(shared, segment, _ids(n)) for shared, segment, n in call]
        tokens = [
            (s, engine.length(s) if s >= 0 else 0, segment, engine.length(segment) + j)
            for s, segment, n in call
            for j in range(n)
        ]
        want = np.flatnonzero(rng.random(len(tokens)) < 0.3)
        pairs = engine.prepare(rows, want)
        heads, kv_heads, _ = SIZES[sizes]
        assert pairs.each == _reckoned(lanes, heads, kv_heads, tokens)
        assert pairs.last == _reckoned(lanes, heads, kv_heads, [tokens[i] for i in want])
        # at least what the definition multiplies
        assert pairs.each >= heads * sum(length + place + 1 for _, length, _, place in tokens)
        engine.run()


@given(st.data())
def test_any_sequence_of_calls_equals_pytorch(data):
    model = _ANY.setdefault("model", _model("4:2", rank=3, targets=("all-linear",)))
    engine = _opened(model)
    histories: dict[int, list[int]] = {}
    rows: dict[int, tuple[int, list[int]]] = {}
    tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)
    for _ in range(data.draw(st.integers(1, 6))):
        todo = data.draw(st.sampled_from(["read", "go on", "go on", "cut"]))
        if todo == "read":
            segment, ids = engine.segment(), data.draw(tokens)
            result = _feed(engine, [Row(-1, segment, ids)], [len(ids) - 1])
            histories[segment] = ids
            assert np.abs(result - _by_torch(model, ids)[0][-1:]).max() < 2e-5
        elif todo == "go on":
            for shared in [-1, *histories]:
                for _ in range(data.draw(st.integers(0, 2))):
                    rows[engine.segment(data.draw(st.integers(0, 90)))] = shared, []
            going = [r for r in rows if data.draw(st.booleans())]
            # those that share a history stand together
            going.sort(key=lambda r: (rows[r][0], data.draw(st.integers(0, 9))))
            fed = {r: data.draw(tokens) for r in going}
            if not fed:
                continue
            result = _feed(engine, [Row(rows[r][0], r, ids) for r, ids in fed.items()])
            for r, ids in fed.items():
                shared, before = rows[r]
                rows[r] = shared, before + ids
                reference = histories.get(shared, []) + before + ids
                expected, saved = _by_torch(model, reference)
                mine, result = result[: len(ids)], result[len(ids) :]
                assert np.abs(mine - expected[-len(ids) :]).max() < 2e-5
                separate = np.stack(engine.cached(r, 2))
                assert (
                    np.abs(separate - saved[2][:, :, len(histories.get(shared, [])) :]).max() < 2e-5
                )
        elif rows:
            r = data.draw(st.sampled_from(sorted(rows)))
            shared, before = rows[r]
            keep = data.draw(st.integers(0, len(before)))
            engine.cut(r, keep)
            rows[r] = shared, before[:keep]


_ANY: dict[str, Llama] = {}


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is told elsewhere")
@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_no_memory_and_no_thread_stays(how, monkeypatch):
    model = _model()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    ids = _ids(40)

    def once():
        engine = _opened(model)
        _feed(engine, [Row(-1, engine.segment(), ids)], [39])
        if how == "closed":
            engine.close()
            engine.close()  # a second time does nothing

    def resident():
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    for _ in range(20):
        once()
    before, threads = resident(), len(os.listdir("/proc/self/task"))
    for _ in range(100):
        once()
    # some 0.2 MB a time
    assert resident() - before < 10e6
    assert len(os.listdir("/proc/self/task")) == threads
