"""benchmarks/bound.py: the calls that a forecast needs are those that are made, and no more."""

import json
import os
import subprocess
import sys

import programs
import pytest
import torch
from decoding_oracle import decoder_for, prompts_of

from lvlora.flops import executed
from lvlora.flops.item import total
from lvlora.flops.shape import ModelShape
from lvlora.forecast.plan import row_bytes
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.trace import Call as MadeCall
from lvlora.forecast.trace import PackedCall, Trace
from lvlora.text.alphabet import SYMBOLS
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar
from lvlora.text.spelling import spelling

bound = programs.load("benchmarks/bound.py")


def fed(text: str, codec: Codec) -> list[tuple[int, int]]:
    return bound.fed(spelling(Grammar(codec)), [SYMBOLS.index(symbol) for symbol in text])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        # "1" and the point that was guessed; "2"; "3" and the forced separator; …
        ("1.23,4.56;", [(2, 2), (1, 1), (2, 1), (2, 2), (1, 1)]),
        # behind 0 the point is forced: one choice is made after both
        ("0.23,4.56;", [(2, 1), (1, 1), (2, 1), (2, 2), (1, 1)]),
        # another digit is chosen where the point was guessed
        ("12.34,5.67;", [(1, 1), (2, 2), (1, 1), (2, 1), (2, 2), (1, 1)]),
    ],
)
def test_forced_tokens_ride_along(text, calls):
    assert fed(text, Codec(2, 2)) == calls


@pytest.mark.parametrize("kind", ["qwen2", "llama", "triples", "pairs", "whole", "native qwen2"])
@pytest.mark.parametrize("number_format", ["point", "digits"])
def test_as_many_calls_are_needed_as_the_decoder_makes(tiny_base, kind, number_format):
    base = tiny_base(kind)
    prompts = prompts_of(Codec(2, 2, number_format), [3, 5, 4])
    trace = Trace()
    sampling = Sampling(samples=2, temperature=1.5, seed=3)
    texts = decoder_for(base).decode(prompts, 4, sampling, trace=trace)
    alphabet = base.alphabet
    read = [len(alphabet.beginning) + alphabet.count(p.text) for p in prompts]
    futures = [
        bound.Future(
            i, read[i], bound.fed(spelling(p.grammar, alphabet.tokens), alphabet.spell(text))
        )
        for i, p in enumerate(prompts)
        for text in texts[i]
    ]
    task = [bound.reading(read), *bound.needed(futures)]
    assert read == trace.histories
    assert len(task) == len(trace.calls)
    for one, call in zip(task, trace.calls, strict=True):
        as_made = bound.made(base.shape, call, reads=call is trace.calls[0])
        # what the native decoder reads of its pages is not told
        told = len(one) - isinstance(call, PackedCall)
        assert all(least <= most for least, most in zip(one[:told], as_made[:told], strict=True))
    # all tokens but those that nothing is chosen after
    written = sum(n for _, n in trace.futures)
    assert 0 < written - sum(call.tokens for call in task[1:]) <= 3 * len(futures)


def test_samples_share_what_was_read_once():
    futures = [
        bound.Future(0, 100, [(2, 1), (3, 1)]),
        bound.Future(0, 100, [(1, 1)]),
        bound.Future(1, 50, [(1, 1), (2, 2)]),
    ]
    first, second = bound.needed(futures)
    assert first == bound.Call(
        tokens=4, outputs=3, logits=3, attended=101 + 102 + 101 + 51, cached=150
    )
    assert second == bound.Call(
        tokens=5, outputs=3, logits=3, attended=103 + 104 + 105 + 52 + 53, cached=150 + 2 + 1
    )
    assert bound.reading([3, 2]) == bound.Call(5, 2, 2, 1 + 2 + 3 + 1 + 2, 0)


def shape(**sizes: int) -> ModelShape:
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 64,
        **sizes,
    }
    return ModelShape.from_config(config)


@pytest.mark.parametrize("call", [MadeCall(3, 2, 128, 6), MadeCall(4, 7, 7, 4)])
def test_a_call_that_was_made_has_the_price_of_the_ledger(call):
    one = shape()
    priced = executed.forward_call(
        one,
        call.rows,
        call.width,
        head_positions=call.head_rows,
        head_rows=one.alphabet_rows,
        attended=call.attended,
    )
    assert sum(bound.flops(one, bound.made(one, call, reads=False))) == total(priced)


def test_a_packed_call_has_the_price_of_the_ledger_but_for_the_pages_of_its_last_layer():
    one = shape()
    call = PackedCall(tokens=10, wanted=4, pairs=10 * 4 * 64, last_pairs=4 * 4 * 64)
    priced = executed.packed_call(
        one, 10, 4, pairs=call.pairs, last_pairs=call.last_pairs, head_rows=one.alphabet_rows
    )
    assert sum(bound.flops(one, bound.made(one, call, reads=False))) == total(priced)


def test_the_last_layer_goes_on_from_few_positions():
    """Against the products written out: nothing but keys and values of those without a choice."""
    one = shape()
    call = bound.Call(tokens=10, outputs=2, logits=2, attended=500, cached=90)
    keys_values = 2 * 32 * 16
    others = 2 * 32 * 32 + 3 * 32 * 48
    weights = 10 * 3 * keys_values + (10 * 2 + 2) * others + 2 * 15 * 32
    assert bound.flops(one, call) == (2 * weights, 4 * 32 * 500 * 22 // 10)


def test_weights_and_cache_are_read_once(tiny_base):
    base = tiny_base("qwen2", torch.bfloat16)
    call = bound.Call(tokens=1, outputs=1, logits=1, attended=126, cached=125)
    weights, cache = bound.n_bytes(base.shape, call, 2)
    layers = base.module.get_decoder().layers
    linear = sum(p.numel() for p in layers.parameters() if p.dim() == 2)
    assert weights == 2 * (linear + base.shape.alphabet_rows * base.shape.hidden)
    assert cache == row_bytes(base, 125) * 125 // 128


def test_rates_rise_with_the_rows():
    machine = bound.Machine({1: 10.0, 32: 100.0, 64: 90.0, 128: 200.0}, 1.0, 2)
    assert [machine.rate(n) for n in (1, 32, 64, 96, 128, 4096)] == [10, 100, 100, 150, 200, 200]
    assert machine.rate(16) == pytest.approx(10 + 90 * 15 / 31)
    assert machine.full_rate == 200


def test_the_bound_is_the_longer_of_products_and_memory():
    one = shape()
    task = [bound.reading([20]), *bound.needed([bound.Future(0, 20, [(1, 1)] * 3)])]
    made = [bound.made(one, MadeCall(2, 1, 128, 2), reads=False)] * 4
    products = [sum(bound.flops(one, call)) for call in task]
    memory = [sum(bound.n_bytes(one, call, 4)) for call in task]
    slow_products = bound.bound(one, bound.Machine({1: 1.0, 20: 2.0}, 1e30, 4), task, made)
    assert slow_products["bound"] == pytest.approx(
        slow_products["reading"] + slow_products["calls"]
    )
    assert slow_products["reading"] == pytest.approx(products[0] / 2)
    weights = [bound.flops(one, call)[0] for call in task[1:]]
    attention = [bound.flops(one, call)[1] for call in task[1:]]
    assert slow_products["calls"] == pytest.approx(sum(weights) / 1 + sum(attention) / 2)
    assert slow_products["full_rate"] == pytest.approx(sum(products) / 2)
    assert slow_products["calls_memory"] == pytest.approx(0)
    slow_memory = bound.bound(one, bound.Machine({1: 1e30}, 3.0, 4), task, made)
    assert slow_memory["bound"] == pytest.approx(sum(memory) / 3)
    assert slow_memory["as_made"] == pytest.approx(
        sum(sum(bound.n_bytes(one, call, 4)) for call in made) / 3
    )
    # one binds in the products with weights, the other in attention: one after the other is longer
    mixed = bound.Seconds(products=3.0, attention=1.0, weights=2.0, cache=4.0)
    assert (mixed.at_least, mixed.in_turn) == (6.0, 7.0)


def test_fewer_series_are_scaled_to_all():
    bundled = programs.load("benchmarks/bundled.py")
    assert bundled.of_all(150.0, bundled.SERIES, 2.0) == 150.0
    assert bundled.of_all(12.0, 15, 2.0) == pytest.approx(102.0)


@pytest.mark.slow
def test_the_benchmark_forecasts_as_many_numbers_by_each(tiny_folder, tmp_path):
    out = tmp_path / "figures.json"
    words = "--series 2 --history 6 --horizon 2 --samples 3 --dtypes float32 --out".split()
    subprocess.run(
        [sys.executable, "benchmarks/decode.py", tiny_folder("whole"), *words, out],
        cwd=programs.ROOT,
        env={**os.environ, "PYTHONPATH": str(programs.ROOT)},
        check=True,
    )
    report = json.loads(out.read_text())
    ours, theirs = report["contenders"]["lvlora"], report["contenders"]["generate-static-float32"]
    assert theirs["tokens"] == 2 * 3 * ours["longest"]
    assert 2 * 3 * 2 <= ours["tokens"] <= theirs["tokens"]
    for one in (ours, theirs):
        assert one["share_of_bound"] == report["bound"]["bound"] / one["seconds"]
    assert report["bound"]["n_calls"] == report["bound"]["n_made"] == ours["calls"] - 1
    assert 0 < report["bound"]["bound"] <= report["bound"]["as_made"]
    assert all(rate > 0 for rate in report["machine"]["rates"].values())
