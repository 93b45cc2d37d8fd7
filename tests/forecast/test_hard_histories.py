"""Histories that break forecasters: each gives valid futures, the same in any company."""

import numpy as np
import pytest
import tiny_models
from decoding_oracle import Says, oracle
from grammars import walk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.data.dataset import Series
from lvlora.errors import NumericalError
from lvlora.forecast import plan
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.pricing import Trace
from lvlora.forecast.sampling import Sampling
from lvlora.text.codec import SYMBOLS, Codec
from lvlora.text.grammar import START, Grammar, spelling
from lvlora.text.scaling import Scale

DRAWN = Sampling(3, seed=2, temperature=1.5, views=1)
WAVE = 3 + 2 * np.sin(np.arange(9.0))[:, None]
HISTORIES = {
    "one step": np.array([[2.0, 5.0]]),
    "one value": np.array([[7.0]]),
    "constant": np.full((8, 2), 3.25),
    "zeros": np.zeros((8, 1)),
    "huge": 1e12 * WAVE,
    "tiny": 1e-12 * WAVE,
    "beyond the scale": np.concatenate([WAVE, 30 * WAVE]),
    "one variable": WAVE,
    "five variables": WAVE * np.array([1.0, 2.0, 3.0, 0.5, 1.5]),
    "signs": WAVE - 3,
    "all negative": -WAVE,
    "gaps": np.where(np.arange(18).reshape(9, 2) % 4 == 1, np.nan, np.hstack([WAVE, WAVE])),
    "a variable without a value": np.hstack([WAVE, np.full((9, 1), np.nan)]),
    "the last steps missing": np.where(np.arange(9)[:, None] > 5, np.nan, WAVE),
}


def _series(name):
    values = HISTORIES[name]
    return Series(name, np.arange(float(len(values))), values)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        *(
            pytest.param(name, None, marks=pytest.mark.slow if i % 2 else ())
            for i, name in enumerate(HISTORIES)
        ),
        *((n, 1.0) for n in ("beyond the scale", "signs")),
    ],
)
def test_futures_are_valid_and_their_own(tiny_base, monkeypatch, name, stored):
    history = _series(name)
    scale = None if stored is None else Scale((stored,), "dataset")
    output = LanguageModel(tiny_base(), decimals=1, scale=scale)
    (result,) = output.predict([history], 2, DRAWN)
    n_variables = history.values.shape[1]
    assert result.samples.shape == (3, 2, n_variables)
    assert np.isfinite(result.samples).all()
    ((reading,),) = output.readings([history], 2)
    if not reading.grammar.signed:
        assert (result.samples >= 0).all()
    limits = 10.0**reading.grammar.max_integer_digits * np.array(result.scale.divisors)
    assert (np.abs(result.samples) < limits).all()
    # beside others, in another order, one row at a time
    others = [_series(other) for other in HISTORIES if other != name]
    like = [s for s in others if s.values.shape[1] == n_variables]
    monkeypatch.setattr(plan, "MOST_ROWS", 1)
    (alone,) = output.predict([history], 2, DRAWN)
    monkeypatch.setattr(plan, "MOST_ROWS", 5)
    among = output.predict([*like, history], 2, DRAWN)
    for other in (alone, among[-1]):
        assert np.array_equal(other.samples, result.samples)
    # one series, its whole text anew for every symbol, no cache
    prompt = Prompt(name, reading.codec.encode(reading.numbers), reading.grammar)
    for sample in range(3):
        expected = reading.codec.decode(oracle(output.base, prompt, 2, DRAWN, sample))
        assert np.array_equal(reading.original(expected), result.samples[sample])


anything = st.one_of(
    st.floats(-50, 50, width=32),
    st.sampled_from([float("inf"), float("-inf"), float("nan"), 1e30, -1e30, 0.0]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 7), st.just(len(SYMBOLS))), elements=anything
    ),
    decimals=st.integers(0, 3),
    n_variables=st.integers(1, 5),
    signed=st.booleans(),
    digits=st.integers(1, 4),
    sampling=st.builds(
        Sampling,
        st.just(2),
        st.booleans(),
        st.floats(0.01, 10),
        st.floats(0.01, 1),
        st.integers(0, 2**32),
    ),
)
def test_no_logits_make_an_invalid_series(
    shared_base, through_torch, answers, decimals, n_variables, signed, digits, sampling
):
    codec = Codec(decimals, n_variables)
    grammar, trace = Grammar(codec, signed, digits), Trace()
    prompt = Prompt("s", codec.encode(np.ones((2, n_variables))), grammar)
    other = Prompt("another", "7;-7;", Grammar(Codec(0, 1), signed=True))
    decoder = Decoder(shared_base, Says(answers))
    try:
        texts, of_other = decoder.decode([prompt, other], 3, sampling, trace=trace)
    except NumericalError:
        assert not np.isfinite(answers).all()
        return
    assert len(texts) == len(of_other) == sampling.n_futures
    assert all(walk(other.grammar, text) == START for text in of_other)
    # what is reserved beforehand suffices, however many guesses are wrong
    ways = spelling(grammar), spelling(other.grammar)
    assert len(trace.calls) <= 3 * max(n_variables * ways[0].most_choices, ways[1].most_choices)
    assert max(c.width for c in trace.calls[1:]) <= max(w.widest for w in ways)
    for text in texts:
        assert walk(grammar, text) == START
        values = codec.decode(text)
        assert values.shape == (3, n_variables)
        assert (np.abs(values) < 10.0**digits).all()
        assert signed or (values >= 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_only_legal_symbols_count(shared_base, value):
    """What a model gives for a symbol that may not be written is nobody's business."""
    logits = np.random.default_rng(0).normal(size=(1, len(SYMBOLS)))
    grammar = Grammar(Codec(1, 1), max_integer_digits=2)
    prompt = Prompt("s", "1.0;", grammar)
    expected = Decoder(shared_base, Says(logits)).decode([prompt], 3, DRAWN)
    logits[0, [SYMBOLS.index("-"), SYMBOLS.index("?")]] = value
    assert Decoder(shared_base, Says(logits)).decode([prompt], 3, DRAWN) == expected
    logits[0, SYMBOLS.index("7")] = value
    with pytest.raises(NumericalError, match="series 's'"):
        Decoder(shared_base, Says(logits)).decode([prompt], 3, DRAWN)


@pytest.fixture(scope="module")
def shared_base(tiny_folder):
    return tiny_models.load_tiny(tiny_folder("qwen2"))
