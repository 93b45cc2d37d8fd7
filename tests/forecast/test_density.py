"""The digit tree against enumeration, against sampling and against the likelihood."""

from itertools import product

import numpy as np
import pytest
import tiny_models
import tiny_runs
import torch
from grammars import legal, walk

from lvlora.answers import NOTHING
from lvlora.data.dataset import Series
from lvlora.forecast import density, reading
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import negative_log_likelihood
from lvlora.forecast.sampling import Sampling
from lvlora.text.alphabet import INDEX
from lvlora.text.grammar import START, Grammar
from lvlora.train.measurement import count


@pytest.fixture
def forecaster(tiny_base):
    return LanguageModel(tiny_base(), decimals=1)


@pytest.fixture
def one_digit(monkeypatch):
    """A grammar so small that every number can be listed: one integer digit."""
    plain = Grammar.for_history

    def short(codec, text, *, signed):
        long = plain(codec, text, signed=signed)
        return Grammar(codec, long.signed, max_integer_digits=1)

    monkeypatch.setattr(reading.Grammar, "for_history", short)


def _history(n_variables=2, seed=0, signed=False):
    (series,) = tiny_runs.dataset(1, n_steps=8, n_variables=n_variables, seed=seed)
    values = series.values - (3 if signed else 0)
    return Series(series.id, series.time, values)


def _probability(forecaster, grammar, history, text, state):
    """Of a text after another: one call of the whole model a symbol, no cache."""
    base = forecaster.base
    total = 1.0
    for symbol in text:
        ids = torch.tensor([[base.alphabet.start, *base.alphabet.encode(history)]])
        with torch.no_grad():
            logits = base.module(ids).logits[0, -1, list(base.alphabet.ids)].double().numpy()
        weights = np.where(legal(grammar)[state], np.exp(logits - logits.max()), 0)
        total *= weights[INDEX[symbol]] / weights.sum()
        state = int(grammar.transitions[state, INDEX[symbol]])
        history += symbol
    return total


def test_equals_enumeration(forecaster, one_digit):
    """Each of the 100 numbers that one integer digit and one decimal can write."""
    history = _history()
    ((plan,),) = forecaster.readings([history], 1)
    text = plan.codec.encode(plan.numbers)
    prey, predator = density.next_step(forecaster, [history], threshold=1e-12, calls=10**6)[0]
    state = START
    for found, divisor in zip((prey, predator), plan.scale.divisors, strict=True):
        assert len(found.values) == 100
        assert found.width == pytest.approx(0.1 * divisor)
        assert found.remainder < 1e-9
        for a, b in product(range(10), range(10)):
            number = f"{a}.{b}"
            expected = _probability(forecaster, plan.grammar, text, number, state)
            place = int(np.abs(found.values - float(number) * divisor).argmin())
            assert found.values[place] == pytest.approx(float(number) * divisor)
            assert found.probabilities[place] == pytest.approx(expected, rel=1e-3, abs=1e-9)
        if found is prey:  # the second is conditional on the most probable first
            likeliest = f"{found.mode / divisor:.1f},"
            text, state = text + likeliest, walk(plan.grammar, likeliest, state)
    assert (prey.condition, predator.condition) == ((), (prey.mode,))


@pytest.mark.usefixtures("unbounded")
def test_digits_are_hundredths(tiny_base):
    """Without a point the same values are on the grid, and sampling agrees with their shares."""
    forecaster = LanguageModel(tiny_base(), decimals=1, number_format="digits")
    history = _history(1)
    ((found,),) = density.next_step(forecaster, [history], threshold=1e-4, calls=10**6)
    divisor = forecaster.readings([history], 1)[0][0].scale.divisors[0]
    units = found.values / divisor * 10
    assert np.allclose(units, np.round(units))
    assert found.width == pytest.approx(0.1 * divisor)
    n = 400
    (drawn,) = forecaster.predict([history], 1, Sampling(n, seed=4, views=1))
    samples = drawn.samples[:, 0, 0]
    best = found.probabilities.argmax()
    share = np.isclose(samples, found.values[best]).mean()
    spread = np.sqrt(found.probabilities[best] / n)
    assert abs(share - found.probabilities[best]) < 5 * spread
    nll = negative_log_likelihood(
        forecaster, [history], [Series("s", np.array([99.0]), found.values[best : best + 1, None])]
    )
    expected = -np.log(found.probabilities[best] / found.width)
    assert nll[0][0, 0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("threshold", [0.3, 1e-2, 1e-4])
@pytest.mark.parametrize(("n_variables", "signed"), [(1, False), (2, True)])
def test_what_is_not_listed_is_stated(forecaster, threshold, n_variables, signed):
    history = _history(n_variables, signed=signed)
    exact = density.next_step(forecaster, [history], threshold=1e-12, calls=10**6)[0]
    for found, full in zip(
        density.next_step(forecaster, [history], threshold=threshold, calls=10**6)[0],
        exact,
        strict=True,
    ):
        assert found.probabilities.sum() + found.remainder == pytest.approx(1, abs=1e-9)
        assert full.remainder < 1e-6
        assert (np.diff(found.values) > 0).all()
        assert found.densities.sum() * found.width + found.remainder == pytest.approx(1, abs=1e-9)
        if found.condition == full.condition:
            listed = np.isin(full.values, found.values)
            assert np.allclose(full.probabilities[listed], found.probabilities, atol=1e-7)
            # whatever holds the threshold is listed
            assert (full.probabilities[~listed] < threshold).all()


@pytest.mark.usefixtures("unbounded")
def test_agrees_with_sampling(forecaster):
    """Of 3,000 drawn steps; the second variable among the steps with the likeliest first."""
    history = _history()
    prey, predator = density.next_step(forecaster, [history], threshold=1e-6, calls=10**6)[0]
    n = 3000
    (drawn,) = forecaster.predict([history], 1, Sampling(n, seed=4, views=1))
    samples = drawn.samples[:, 0]

    def distance(found, values):
        """Between cumulative distributions, times the root of the number of draws."""
        points = found.values + found.width / 2
        exact = np.cumsum(found.probabilities)
        empirical = np.searchsorted(np.sort(values), points) / len(values)
        return np.abs(exact - empirical).max() * np.sqrt(len(values))

    assert distance(prey, samples[:, 0]) < 1.63  # Kolmogorov: 1 % of draws are farther
    like = np.isclose(samples[:, 0], prey.mode)
    assert like.sum() > 30
    assert distance(predator, samples[like, 1]) < 1.63
    assert distance(predator, samples[:, 1] + 3 * predator.width) > 1.63  # and it can tell


def test_agrees_with_the_likelihood(forecaster):
    """exp(-NLL) of a truth is its density."""
    history = _history(n_variables=1)
    (found,) = density.next_step(forecaster, [history], threshold=1e-8, calls=10**6)[0]
    for place in (0, len(found.values) // 2, int(found.probabilities.argmax())):
        truth = Series(history.id, np.array([99.0]), found.values[[place]][None])
        (nll,) = negative_log_likelihood(forecaster, [history], [truth])
        assert np.exp(-nll[0, 0]) == pytest.approx(found.densities[place], rel=1e-3)


def test_the_split_by_memory_changes_nothing(tiny_base):
    histories = [_history(), _history(seed=3)]
    whole = density.next_step(LanguageModel(tiny_base(), decimals=1), histories, threshold=1e-3)
    parts = density.next_step(
        LanguageModel(tiny_base(), decimals=1, max_rows=3), histories, threshold=1e-3
    )
    for ours, theirs in zip(whole, parts, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert np.array_equal(one.values, other.values)
            assert np.allclose(one.probabilities, other.probabilities, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("threshold", "decimals", "number_format"),
    [(1e-2, 2, "point"), (1e-3, 0, "point"), (1e-3, 1, "point"), (1e-2, 1, "digits")],
)
@pytest.mark.parametrize(
    "family", ["gemma2", *(pytest.param(k, marks=pytest.mark.slow) for k in tiny_models.MERGING)]
)
def test_the_price_is_counted_and_bounded_and_the_rest_is_stated(
    tiny_base, through_torch, family, threshold, decimals, number_format, signed
):
    forecaster = LanguageModel(tiny_base(family), decimals=decimals, number_format=number_format)
    history, every = _history(signed=signed), []
    most = density.at_most(forecaster, [history], threshold=threshold)
    counted = count(
        lambda: every.extend(density.next_step(forecaster, [history], threshold=threshold))
    )
    for one in every[0]:
        assert one.probabilities.sum() + one.remainder == pytest.approx(1, abs=1e-9)
    spent = forecaster.usage.price
    assert spent.executed == counted > 0
    assert NOTHING.coursework < spent.coursework <= most.coursework
    assert spent.executed <= most.executed


def test_statistics_of_a_density():
    found = density.Density(
        "s", 1.0, 0, (), np.array([1.0, 2.0, 3.0]), np.array([0.2, 0.5, 0.2]), 0.1, 0.0, 0.1
    )
    assert found.mode == 2
    assert found.mean == pytest.approx(2)
    assert [found.quantile(q) for q in (0.05, 0.5, 0.99)] == [1, 2, 3]
    assert found.densities.tolist() == pytest.approx([2, 5, 2])


def test_the_most_probable_come_first_and_the_calls_are_bounded(tiny_base, through_torch):
    """Fewer calls list a part of what more list, and say what is left."""
    history = _history(n_variables=1)
    exact, before = None, 2.0
    for calls in (10**6, 64, 8, 1):
        forecaster = LanguageModel(tiny_base(), decimals=1)
        most = density.at_most(forecaster, [history], threshold=1e-9, calls=calls)
        (found,) = density.next_step(forecaster, [history], threshold=1e-9, calls=calls)[0]
        rows = sum(call.rows for call in forecaster.usage.trace.calls[1:])
        assert rows <= calls * density.BRANCHES
        assert forecaster.usage.price.executed <= most.executed
        assert forecaster.usage.price.coursework <= most.coursework
        assert found.probabilities.sum() + found.remainder == pytest.approx(1, abs=1e-9)
        assert found.cut <= found.remainder + 1e-12
        if exact is None:
            assert found.cut == 0
            exact = dict(zip(found.values.tolist(), found.probabilities.tolist(), strict=True))
        else:
            for value, probability in zip(found.values, found.probabilities, strict=True):
                assert exact[float(value)] == pytest.approx(float(probability), abs=1e-6)
        listed = float(found.probabilities.sum())
        assert listed <= before + 1e-9
        before = listed
    assert found.cut > 0
