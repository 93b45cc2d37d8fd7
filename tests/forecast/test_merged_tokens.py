"""Models whose tokenizers merge symbols: decoding, likelihoods and prices stay exact."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_runs
from decoding_oracle import Says, costs_no_more, oracle
from grammars import walk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lvlora.data.dataset import Series
from lvlora.forecast import reading
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import negative_log_likelihood
from lvlora.forecast.pricing import Trace
from lvlora.forecast.sampling import Sampling
from lvlora.text.codec import SYMBOLS, Codec, TokenAlphabet
from lvlora.text.grammar import START, Grammar, spelling
from lvlora.text.scaling import Scale

KINDS = list(tiny_models.MERGING)


@pytest.fixture
def short(monkeypatch):
    """Grammars so small that every number can be listed: two integer digits."""
    plain = Grammar.for_history

    def short(codec, text, *, signed):
        long = plain(codec, text, signed=signed)
        return Grammar(codec, long.signed, max_integer_digits=2)

    monkeypatch.setattr(reading.Grammar, "for_history", short)


GRAMMARS = [
    Grammar(Codec(2, 2)),
    Grammar(Codec(0, 1), signed=True),
    Grammar(Codec(3, 5), max_integer_digits=1),
    Grammar(Codec(1, 1), signed=True, max_integer_digits=6),
    Grammar(Codec(2, 3, "digits"), signed=(True, False, True), max_integer_digits=4),
]
PIECES = st.text(alphabet="0123456789", min_size=2, max_size=4) | st.sampled_from(
    ["0.", "1.5", "-2", ".7", "3;", "0,", "?;", "0.25,", "10.0", "00", ".", *"0123456789"]
)
ENDS = [f"{digit}{end}" for digit in range(10) for end in ",;"]
TENTHS = [f".{digit}" for digit in range(9)]  # behind a point only a 9 is left


def _alphabet(several):
    several = [t for t in dict.fromkeys(several) if len(t) > 1]
    return TokenAlphabet(tuple(range(len(SYMBOLS) + len(several))), 1, (*SYMBOLS, *several))


alphabets = st.lists(PIECES, max_size=12).map(_alphabet)
any_order = settings(
    max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.mark.slow
@any_order
@given(alphabets, st.integers(0, 2**32), st.booleans())
@example(_alphabet(TENTHS), 0, False)
@example(_alphabet(ENDS), 0, False)
@example(_alphabet([*ENDS, *TENTHS]), 1, True)
def test_whatever_the_model_says_the_output_is_a_series_of_the_horizon(
    tiny_base, alphabet, seed, greedy
):
    base = tiny_base("pairs")
    base.alphabet = alphabet
    prompts = [
        Prompt(str(i), g.codec.encode(np.ones((2, g.codec.n_variables))), g)
        for i, g in enumerate(GRAMMARS)
    ]
    sampling, trace = Sampling(samples=3, greedy=greedy, seed=seed), Trace()
    says = Says.random(len(alphabet.tokens), seed)
    futures = Decoder(base, says).decode(prompts, 4, sampling, trace=trace)
    ways = {g: spelling(g, alphabet.tokens) for g in GRAMMARS}
    # what is reserved beforehand suffices, however many guesses are wrong
    most = max(4 * g.codec.n_variables * ways[g].most_choices for g in GRAMMARS)
    assert len(trace.calls) <= most
    assert max(c.width for c in trace.calls[1:]) <= max(w.widest for w in ways.values())
    written = iter(trace.futures)
    for prompt, texts in zip(prompts, futures, strict=True):
        codec = prompt.grammar.codec
        assert len(texts) == sampling.n_futures
        for text in texts:
            assert walk(prompt.grammar, text) == START
            assert codec.decode(text).shape == (4, codec.n_variables)
            longest = ways[prompt.grammar].longest_number * 4 * codec.n_variables
            assert next(written)[1] == alphabet.count(text) <= longest


def _histories(kind=0):
    """Of different lengths and sizes: their grammars differ at one scale."""
    data = list(tiny_runs.dataset(4, n_steps=12, seed=kind))
    sizes = [1.0, 7.0, 0.1, 800.0]
    return [
        Series(s.id, s.time, s.values * size - (size if i == 2 else 0)).steps(i, 12)
        for i, (s, size) in enumerate(zip(data, sizes, strict=True))
    ]


@pytest.mark.slow
@any_order
@given(alphabets, st.integers(0, 2**32))
@example(_alphabet([".2", ".5", "99.", "9.9"]), 0)
@example(_alphabet([*ENDS, *TENTHS]), 1)
def test_nothing_is_dearer_than_told(tiny_base, alphabet, seed):
    base = tiny_base("pairs")
    base.alphabet = alphabet
    base.shape = replace(base.shape, alphabet_rows=len(alphabet.tokens))
    base.max_positions = 140
    for n_pieces, horizon in enumerate((3, 24)):
        for form in ("point", "digits"):
            forecaster = LanguageModel(
                base,
                decimals=2 - n_pieces,
                number_format=form,
                scale=Scale((1.0, 1.0), "dataset"),
            )
            forecaster.decoder.head = Says.random(len(alphabet.tokens), seed)
            sampling = Sampling(samples=2, seed=seed, views=1 + n_pieces)
            costs_no_more(forecaster, _histories(seed % 5), horizon, sampling)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("decimals", "number_format"),
    [(0, "point"), (1, "point"), (1, "digits")],
)
def test_the_probabilities_of_all_numbers_are_one(tiny_base, short, kind, decimals, number_format):
    """Each number has one spelling, and none is left out."""
    forecaster = LanguageModel(tiny_base(kind), decimals=decimals, number_format=number_format)
    (history,) = tiny_runs.dataset(1, n_steps=6, n_variables=1)
    ((plan,),) = forecaster.readings([history], 1)
    unit = 10.0**-decimals * plan.scale.divisors[0]
    digits = 2 if number_format == "digits" else 2 + decimals
    values = np.arange(10**digits) * unit
    futures = [Series("x", np.array([9.0]), np.array([[value]])) for value in values]
    nll = negative_log_likelihood(forecaster, [history] * len(futures), futures)
    shares = unit * np.exp(-np.concatenate(nll)[:, 0])
    assert shares.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS[1:])]
)
def test_long_horizons_in_pieces(tiny_base, kind):
    """What fits is counted in tokens: a history with the same future as one of more symbols."""
    base = tiny_base(kind)
    base.max_positions = 40
    forecaster = LanguageModel(base, decimals=2)
    (series,) = tiny_runs.dataset(1, n_steps=70, n_variables=1)
    history, future = series.steps(0, 40), series.steps(40, 70)
    ((plan,),) = forecaster.readings([history], 30)
    assert 0 < plan.steps_at_once < 30
    assert base.alphabet.count(plan.codec.encode(plan.numbers)) <= plan.history_tokens
    sampling = Sampling(samples=2, seed=1, views=1)
    costs_no_more(forecaster, [history], 30, sampling)
    (drawn,) = forecaster.predict([history], 30, sampling)
    assert drawn.samples.shape == (2, 30, 1)
    # the first piece alone, by the oracle
    prompt = Prompt(series.id, plan.codec.encode(plan.numbers), plan.grammar)
    for sample in range(2):
        text = oracle(base, prompt, plan.steps_at_once, sampling, sample)
        first = plan.original(plan.codec.decode(text))
        assert np.allclose(drawn.samples[sample, : plan.steps_at_once], first)
    (nll,) = negative_log_likelihood(forecaster, [history], [future])
    assert np.isfinite(nll).all()
    shorter = history.steps(40 - len(plan.numbers), 40)
    alone = LanguageModel(base, decimals=2, scale=plan.scale)
    begin = future.steps(0, plan.steps_at_once)
    (by_itself,) = negative_log_likelihood(alone, [shorter], [begin])
    assert np.allclose(nll[: len(begin)], by_itself, atol=1e-3)


def test_more_steps_are_read_where_they_take_fewer_tokens(tiny_base):
    (history,) = tiny_runs.dataset(1, n_steps=400, n_variables=1)
    read = []
    for family in ("qwen2", "triples", "whole"):
        base = tiny_base(family)
        base.max_positions = 256
        ((plan,),) = LanguageModel(base, decimals=2).readings([history], 1)
        read.append(len(plan.numbers))
    assert read[0] < read[1] < read[2]
    assert read[2] > 240
