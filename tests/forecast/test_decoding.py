"""The decoder against the plainest oracle, and under everything a model might say."""

import functools
import gc
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from decoding_oracle import Says, decoder_for, equals_oracle, prompts_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.forecast import continuation, decoding
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.pricing import Trace
from lvlora.forecast.sampling import Sampling, choose
from lvlora.model.cache import RowCache
from lvlora.model.native.engine import Engine
from lvlora.text.codec import INDEX, SYMBOLS, Codec
from lvlora.text.grammar import START, Grammar, spelling

GREEDY = Sampling(greedy=True)
MERGING = [*tiny_models.MERGING, "native triples", "native whole"]
"""Tokens of several symbols."""
SLOW_MERGING = [pytest.param(kind, marks=pytest.mark.slow) for kind in MERGING]


@pytest.mark.parametrize(
    "family",
    [
        *("qwen2", "gemma3", "native llama", "native triples"),
        *(
            pytest.param(family, marks=pytest.mark.slow)
            for family in ("llama", "qwen3", "gemma", "gemma2", "native qwen2", *MERGING[:-2])
        ),
    ],
)
@pytest.mark.parametrize("greedy", [True, False])
def test_equals_the_oracle(tiny_base, family, greedy):
    """Mixed lengths in one batch, some beyond Gemma's window of 16."""
    base = tiny_base(family)
    prompts = prompts_of(Codec(2, 2), [1, 3, 7, 2])
    sampling = Sampling(samples=2, greedy=greedy, temperature=1.5, seed=5)
    _, trace = equals_oracle(base, prompts, 3, sampling)
    assert trace.taken_back > 0 or family in MERGING  # guesses were wrong now and then


@pytest.mark.parametrize("family", ["qwen2", "native qwen2", "native llama", *SLOW_MERGING])
def test_other_grammars_in_one_batch_equal_the_oracle(tiny_base, family):
    base = tiny_base(family)
    prompts = [
        *prompts_of(Codec(2, 2), [3]),
        *prompts_of(Codec(0, 1), [9]),
        *prompts_of(Codec(0, 3), [2, 5], signed=True),
        *prompts_of(Codec(1, 5), [2], signed=True, max_integer_digits=4),
        *prompts_of(Codec(1, 3, "digits"), [5], signed=True),
        *prompts_of(Codec(3, 1, "digits"), [2], max_integer_digits=3),
    ]
    equals_oracle(base, prompts, 2, Sampling(samples=2, temperature=3.0, seed=1))


@pytest.mark.parametrize("family", ["gemma3", "native qwen2", *SLOW_MERGING])
def test_a_cache_that_grows_and_prefills_in_parts_equal_the_oracle(tiny_base, monkeypatch, family):
    base = tiny_base(family)
    monkeypatch.setattr(continuation, "PREFILL_TOKENS", 150)
    prompts = prompts_of(Codec(2, 2), [12, 5, 11, 1])  # 120 tokens: the block of 128 is passed
    equals_oracle(base, prompts, 6, GREEDY)


@pytest.mark.parametrize("family", ["qwen2", "native qwen2"])
def test_an_empty_history_needs_a_start_token(tiny_base, family):
    base = tiny_base(family)
    prompt = Prompt("x", "", Grammar(Codec(2, 2)))
    equals_oracle(base, [prompt], 2, GREEDY)
    base.alphabet = replace(base.alphabet, start=None)
    equals_oracle(base, prompts_of(Codec(2, 2), [4]), 3, GREEDY)
    with pytest.raises(ValueError, match="history"):
        decoder_for(base).decode([prompt], 2, GREEDY)


def test_nothing_to_do(tiny_base):
    decoder = decoder_for(tiny_base())
    assert decoder.decode([], 5, GREEDY) == []
    (prompt,) = prompts_of(Codec(2, 2), [4])
    assert decoder.decode([prompt], 0, GREEDY) == [[""]]


@pytest.mark.parametrize(
    "family", ["qwen2", pytest.param("gemma3", marks=pytest.mark.slow), "native qwen2"]
)
def test_samples_depend_neither_on_batches_nor_on_other_series(tiny_base, family):
    base = tiny_base(family)
    prompts = prompts_of(Codec(2, 2), [6, 2, 9])
    sampling = Sampling(samples=5, seed=11)
    decoder = decoder_for(base)
    together = decoder.decode(prompts, 4, sampling)
    assert len({t for texts in together for t in texts}) > 10
    assert decoder.decode(prompts, 4, sampling, max_rows=4) == together
    assert decoder.decode(prompts[::-1], 4, sampling) == together[::-1]
    assert decoder.decode(prompts[1:2], 4, sampling) == together[1:2]
    some = [replace(prompt, samples=(1, 3)) for prompt in prompts]
    assert decoder.decode(some, 4, sampling) == [texts[1:4:2] for texts in together]
    # a shorter horizon is the beginning of a longer one
    shorter = decoder.decode(prompts, 2, sampling)
    assert all(
        long.startswith(short)
        for longs, shorts in zip(together, shorter, strict=True)
        for long, short in zip(longs, shorts, strict=True)
    )
    assert decoder.decode(prompts, 4, replace(sampling, seed=12)) != together


@pytest.mark.parametrize("family", ["qwen2", "native qwen2", *SLOW_MERGING])
def test_guessing_ahead_changes_no_draw(tiny_base, monkeypatch, family):
    """The point is guessed, or nothing: the same futures."""
    base = tiny_base(family)
    prompts = prompts_of(Codec(2, 2), [6, 2, 9]) + prompts_of(Codec(0, 2), [5], 1, signed=True)
    sampling = Sampling(samples=4, temperature=2.0, seed=3)
    pointed, plain = Trace(), Trace()
    futures = decoder_for(base).decode(prompts, 5, sampling, trace=pointed)

    def without(grammar, tokens):
        ways = spelling(grammar, tokens)
        return replace(ways, guess=np.full_like(ways.guess, -1))

    monkeypatch.setattr(decoding, "spelling", functools.cache(without))
    assert decoder_for(base).decode(prompts, 5, sampling, trace=plain) == futures
    assert plain.taken_back == 0
    assert pointed.taken_back > 0 or family in MERGING
    assert len(pointed.calls) <= len(plain.calls)


def test_right_guesses_save_calls(tiny_base):
    """d.dd, with the point guessed and the comma forced: three calls a number."""
    prompt = Prompt("x", "2.22;" * 4, Grammar(Codec(2, 1)))
    trace = Trace()
    decoder = Decoder(tiny_base("qwen2"), _prefers(".2"))
    assert decoder.decode([prompt], 5, Sampling(samples=1, seed=2), trace=trace) == [["2.22;" * 5]]
    # the prefill gives the first symbol, and nothing follows the last
    assert len(trace.calls) == 5 * 3
    assert trace.taken_back == 0


def _prefers(symbols):
    """A head that always says the first of these symbols that is legal."""
    return Says([[1e9 * (1 + symbols[::-1].find(symbol)) for symbol in SYMBOLS]])


def test_numbers_end_beyond_the_scale(tiny_base):
    grammars = [
        Grammar(Codec(2, 2)),
        Grammar(Codec(0, 1), signed=True),
        Grammar(Codec(3, 5), max_integer_digits=1),
    ]
    prompts = [Prompt(str(i), "", grammar) for i, grammar in enumerate(grammars)]
    futures = Decoder(tiny_base("qwen2"), _prefers("9")).decode(prompts, 4, GREEDY)
    expected = "999.99,999.99;", "999;", "9.999,9.999,9.999,9.999,9.999;"
    assert futures == [[4 * step] for step in expected]


@pytest.mark.parametrize("native", [False, True])
def test_the_trace_says_what_was_run(tiny_base, monkeypatch, native):
    """PyTorch pads rows; of the native decoder only what is chosen from is wanted."""
    if not native:
        monkeypatch.setattr(Engine, "of", lambda *_: None)
    prompts = prompts_of(Codec(2, 2), [3, 8])
    trace = Trace()
    decoder = decoder_for(tiny_base("native qwen2" if native else "qwen2"))
    futures = decoder.decode(prompts, 4, Sampling(samples=3, temperature=1.5, seed=5), trace=trace)
    lengths = [len(p.text) + 1 for p in prompts]
    assert trace.histories == lengths
    assert trace.futures == [
        (n, len(t)) for n, texts in zip(lengths, futures, strict=True) for t in texts
    ]
    choices = n_fed = 0
    for prompt, texts in zip(prompts, futures, strict=True):
        ways = spelling(prompt.grammar)
        for text in texts:
            state, since = START, 0
            for symbol in text:
                if ways.forced[state] < 0:  # what follows the last choice is not fed
                    choices, n_fed, since = choices + 1, n_fed + since, 0
                since += 1
                state = int(ways.transitions[state, INDEX[symbol]])
    prefill, *steps = trace.calls
    # one look a choice, the first of a row at the history, and one behind each wrong guess
    n_wanted = choices - 6 + trace.taken_back
    if native:
        assert (prefill.tokens, prefill.wanted) == (sum(lengths), 2)
        assert sum(c.wanted for c in steps) == n_wanted
        assert sum(c.tokens for c in steps) == n_fed + trace.taken_back
    else:
        assert (prefill.rows, prefill.width, prefill.head_rows) == (2, max(lengths), 2)
        assert all(c.rows == 6 for c in steps)
        assert sum(c.head_rows for c in steps) == n_wanted
    # forced symbols and right guesses cost no calls of their own
    assert len(steps) < max(len(t) for texts in futures for t in texts)


def test_the_models_own_settings_of_generation_are_never_used(tiny_base):
    base = tiny_base("qwen2", through_transformers=True)
    prompts = prompts_of(Codec(2, 2), [5])
    before = decoder_for(base).decode(prompts, 5, GREEDY)
    base.module.generation_config.repetition_penalty = 50.0
    base.module.generation_config.temperature = 0.01
    assert decoder_for(base).decode(prompts, 5, GREEDY) == before


finite_logits = hnp.arrays(np.float64, (4, 15), elements=st.floats(-50, 50))


@given(finite_logits, st.integers(0, 2**32), st.floats(0.1, 5), st.floats(0.05, 1))
@example(np.array([[43.0] + [-46.0] * 14] + [[-46.0] * 15] * 3), 0, 0.125, 1.0)
def test_a_choice_is_legal_and_within_the_nucleus(logits, seed, temperature, top_p):
    rng = np.random.default_rng(seed)
    legal = rng.random((4, 15)) < 0.3
    legal[np.arange(4), rng.integers(0, 15, 4)] = True
    draws = rng.random(4)
    draws[0], draws[1] = 0.0, 1 - 2.0**-53
    sampling = Sampling(temperature=temperature, top_p=top_p)
    chosen = choose(logits, legal, sampling, draws)
    assert legal[np.arange(4), chosen].all()
    greedy = choose(logits, legal, GREEDY, draws)
    assert (logits[np.arange(4), greedy] == np.where(legal, logits, -np.inf).max(1)).all()
    for row in range(4):
        of_legal = np.where(legal[row], logits[row], -np.inf)
        p = np.exp((of_legal - of_legal.max()) / temperature)
        p /= p.sum()
        likelier = p[p > p[chosen[row]] * (1 + 1e-9)].sum()
        assert likelier < top_p + 1e-9


@settings(max_examples=20)
@given(st.floats(0.2, 3), st.sampled_from([1.0, 0.9, 0.6]))
def test_choices_have_the_probabilities_of_the_definition(temperature, top_p):
    logits = np.array([[1.0, 0.0, 2.0, -1.0, 3.0]])
    legal = np.array([[True, True, True, True, False]])
    p = np.where(legal[0], np.exp(logits[0] / temperature), 0)
    p /= p.sum()
    order = np.argsort(-p)
    saved, total = np.zeros(5), 0.0
    for i in order:  # the smallest set that reaches top_p (Holtzman et al. 2020)
        if total < top_p and p[i] > 0:
            saved[i] = p[i]
        total += p[i]
    saved /= saved.sum()
    draws = (np.arange(20_000) + 0.5) / 20_000
    n = len(draws)
    chosen = choose(
        np.repeat(logits, n, 0),
        np.repeat(legal, n, 0),
        Sampling(temperature=temperature, top_p=top_p),
        draws,
    )
    result = np.bincount(chosen, minlength=5) / n
    assert np.abs(result - saved).max() < 2e-4


def test_a_cache_is_gone_with_its_decoding(tiny_base, through_torch):
    """Not when Python next looks for circles of references: many take gigabytes each."""
    decoder = decoder_for(tiny_base())
    gc.collect()
    gc.disable()
    try:
        prompt = Prompt("x", "1.00;2.00;", Grammar.for_history(Codec(2, 1), "1.00;2.00;"))
        decoder.decode([prompt], 3, Sampling(samples=2, seed=0))
        assert not any(type(o) is RowCache for o in gc.get_objects())
    finally:
        gc.enable()
