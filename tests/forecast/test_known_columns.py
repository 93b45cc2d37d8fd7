"""Columns whose future is known: given to the model at every step, never chosen, never scored."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_runs
from decoding_oracle import equals_oracle, nll_by_hand

from lvlora.data.known import with_known
from lvlora.errors import DataError
from lvlora.forecast.decoding import Prompt
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import negative_log_likelihood
from lvlora.forecast.sampling import Sampling
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar, spelling


def _series(n=2, n_known=1, n_steps=12, ahead=4):
    """Waves of two variables, after columns that are known for further steps."""
    data = tiny_runs.dataset(n, n_steps=n_steps + ahead, n_variables=2 + n_known)
    gone = [
        replace(s, values=np.where(np.arange(len(s))[:, None] < n_steps, s.values, np.nan))
        for s in data
    ]
    for before, after in zip(data, gone, strict=True):
        after.values[:, :n_known] = before.values[:, :n_known]
    named = with_known(replace(data, series=tuple(gone)), data.variables[:n_known])
    return list(named), [s.values[n_steps:, n_known:] for s in data]


@pytest.mark.parametrize(
    ("decimals", "number_format", "options", "family"),
    [
        (2, "point", {}, "qwen2"),
        (2, "digits", {}, "native qwen2"),
        (0, "point", {"signed": True}, "native qwen2"),
        pytest.param(0, "digits", {"max_integer_digits": 4}, "qwen2", marks=pytest.mark.slow),
        (1, "digits", {"max_integer_digits": 2}, "native qwen2"),
    ],
)
def test_equals_the_oracle(tiny_base, decimals, number_format, options, family):
    """Known numbers behind the choice before them, behind guesses of a step's end as well."""
    base, greedy = tiny_base(family), family == "qwen2"
    codec = Codec(decimals, 2, number_format)
    rng = np.random.default_rng(3)
    grammar = Grammar(codec, **options)
    prompts = []
    for i, n in enumerate([2, 5]):
        past = Codec(decimals, 4, number_format).encode(rng.gamma(2.0, 3.0, (n, 4)))
        known = ["".join(codec.number(v) + "," for v in step) for step in rng.normal(0, 30, (4, 2))]
        prompts.append(Prompt(f"series {i}", past + known[0], grammar, beginnings=tuple(known[1:])))
    sampling = Sampling(samples=3, temperature=3.0, seed=1, greedy=greedy)
    futures, trace = equals_oracle(base, prompts, 4, sampling)
    for prompt, texts in zip(prompts, futures, strict=True):
        assert all(inputs in text for text in texts for inputs in prompt.beginnings)
    ways = spelling(grammar)
    inputs = max(len(g) for p in prompts for g in p.beginnings)
    assert len(trace.calls) - 1 <= 4 * 2 * ways.most_choices
    assert max(c.tokens for c in trace.calls[1:]) <= 6 * (ways.widest + inputs)


@pytest.mark.parametrize("n_known", [1, 2])
def test_a_forecast_depends_on_what_is_known_and_gives_the_variables_alone(
    tiny_base, n_known, unbounded
):
    forecaster = LanguageModel(tiny_base(), decimals=1)
    histories, _ = _series(n_known=n_known)
    assert [h.values.shape for h in histories] == [(12, 2)] * 2
    assert histories[0].known.shape == (16, n_known)
    result = forecaster.predict(histories, 4, Sampling(samples=4, views=2))
    assert result[0].samples.shape == (4, 4, 2)
    assert result[0].time.tolist() == [12, 13, 14, 15]
    assert len(result[0].scale.divisors) == 2
    other = [replace(h, known=h.known + 20 * (np.arange(16) >= 13)[:, None]) for h in histories]
    changed = forecaster.predict(other, 4, Sampling(samples=4, views=2))
    # the first step's are the same, the others' are not: nor are the draws after it
    assert np.array_equal(result[0].samples[:, 0], changed[0].samples[:, 0])
    assert not np.array_equal(result[0].samples, changed[0].samples)


def test_the_text_has_known_columns_first_at_a_scale_of_their_own(tiny_base):
    (history, _), _ = _series()
    plan = LanguageModel(tiny_base(), decimals=1)
    ((reading,),) = plan.readings([history], 4)
    ((without,),) = plan.readings([replace(history, known=None)], 4)
    assert reading.scale.divisors[1:] == without.scale.divisors
    times = reading.scale.divisors[0]
    ((warm,),) = plan.readings([replace(history, known=1000 * history.known)], 4)
    assert warm.scale.divisors == (pytest.approx(1000 * times), *without.scale.divisors)
    assert warm.codec.encode(warm.numbers) == reading.codec.encode(reading.numbers)
    assert np.allclose(reading.known_ahead[:, 0] * times, history.known[12:, 0])
    assert reading.grammar == without.grammar


def test_a_horizon_in_pieces_has_its_known_values_in_each(tiny_base):
    base = tiny_base()
    histories, _ = _series(1, ahead=8)
    histories = [replace(history, values=history.values[:, :1]) for history in histories]
    ((reference,),) = LanguageModel(base, decimals=1).readings(histories, 8)
    base.max_positions = 60
    forecaster = LanguageModel(base, decimals=1)
    ((reading,),) = forecaster.readings(histories, 8)
    assert reading.steps_at_once < 8
    fed = []
    decode = forecaster.decoder.decode

    def watched(prompts, *args, **options):
        fed.extend(prompts)
        return decode(prompts, *args, **options)

    forecaster.decoder.decode = watched
    forecaster.predict(histories, 8, Sampling(samples=1))
    inputs = [text for p in fed for text in (p.text.rpartition(";")[2], *p.beginnings)]
    assert inputs == reference.known_texts()


def test_the_likelihood_is_of_the_variables_given_what_is_known(tiny_base):
    forecaster = LanguageModel(tiny_base(), decimals=1)
    (history, *_), (truth, *_) = _series()
    future = replace(history, values=truth, time=history.ahead, known=None, ahead=None)
    (nll,) = negative_log_likelihood(forecaster, [history], [future])
    expected = nll_by_hand(forecaster, history, future)
    assert np.allclose(nll, expected, atol=2e-3)


def test_what_is_not_known_is_said(tiny_base):
    forecaster = LanguageModel(tiny_base(), decimals=1)
    (history, _), _ = _series()
    with pytest.raises(DataError, match="known for 4 steps after the last, and 5 are"):
        forecaster.predict([history], 5, Sampling(samples=1))
    gone = history.known.copy()
    gone[13] = np.nan
    with pytest.raises(DataError, match="column 1 has no value at 13"):
        forecaster.predict([replace(history, known=gone)], 4, Sampling(samples=1))
