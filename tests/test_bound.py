"""benchmarks/bound.py: the calls that a forecast needs are those that are made, and no more."""

import json
import os
import subprocess
import sys

import programs
import pytest
from decoding_oracle import decoder_for, prompts_of

from lvlora.flops import executed
from lvlora.flops.answers import total
from lvlora.flops.shape import ModelShape
from lvlora.forecast.pricing import Call as MadeCall
from lvlora.forecast.pricing import PackedCall, Trace
from lvlora.forecast.sampling import Sampling
from lvlora.text.codec import SYMBOLS, Codec
from lvlora.text.grammar import Grammar, spelling

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
        merged = bound.traced_call(base.shape, call, reads=call is trace.calls[0])
        # what the native decoder reads of its pages is not told
        n_known = len(one) - isinstance(call, PackedCall)
        assert all(
            least <= most for least, most in zip(one[:n_known], merged[:n_known], strict=True)
        )
    # all tokens but those that nothing is chosen after
    written = sum(n for _, n in trace.futures)
    assert 0 < written - sum(call.tokens for call in task[1:]) <= 3 * len(futures)


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
    assert sum(bound.flops(one, bound.traced_call(one, call, reads=False))) == total(priced)


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
    assert 0 < report["bound"]["bound"] <= report["bound"]["merged"]
    assert all(rate > 0 for rate in report["machine"]["rates"].values())
