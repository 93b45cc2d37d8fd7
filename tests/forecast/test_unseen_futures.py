"""Nothing that is to be forecast reaches a forecaster: other futures, the same forecasts."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scored import score_model, score_rival

from lvlora.data.splits import learnable
from lvlora.evaluation.protocol import Protocol, task
from lvlora.evaluation.scores import rivals_of
from lvlora.forecast.dataset_forecast import hold_out
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.rivals import (
    ContextParroting,
    LastValue,
    PooledQuantiles,
    SeasonalNaive,
    VectorAutoregression,
)
from lvlora.forecast.rivals.equations import BestEquations, EquationFit
from lvlora.forecast.sampling import Sampling
from lvlora.text.codec import Codec
from lvlora.text.scaling import of_dataset
from lvlora.text.windows import Windows
from lvlora.train.validation import ValidationPart

CONTEXT, HORIZON = 20, 4
DATA = tiny_runs.dataset(4, n_steps=CONTEXT + HORIZON)
QUICK = LastValue | SeasonalNaive | ContextParroting | VectorAutoregression | PooledQuantiles
"""Of a moment each; pooled quantiles learn from the series, too."""
ASKED = Protocol("all", CONTEXT, HORIZON)
DRAWN = Sampling(3, seed=1, views=2)


def with_futures(values):
    """The same data with other values after the context."""
    series = tuple(
        replace(s, values=np.concatenate([s.values[:CONTEXT], new]))
        for s, new in zip(DATA, values, strict=True)
    )
    return replace(DATA, series=series)


futures = st.lists(
    st.lists(
        st.lists(st.floats(-1e6, 1e6) | st.just(0.0), min_size=2, max_size=2),
        min_size=HORIZON,
        max_size=HORIZON,
    ),
    min_size=len(DATA),
    max_size=len(DATA),
)


@pytest.fixture(scope="module")
def forecasters(tiny_folder):
    """A model without a scale of its own, and one with a stored one."""
    import tiny_models

    base = tiny_models.load_tiny(tiny_folder("qwen2"))
    return LanguageModel(base, decimals=1), LanguageModel(base, decimals=1, scale=of_dataset(DATA))


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(futures=futures)
def test_the_model_forecasts_the_same_whatever_comes(forecasters, futures):
    """As evaluations and --holdout cut the series."""
    other = with_futures(np.array(futures))
    for forecaster in forecasters:
        seen = score_model(forecaster, task(DATA, ASKED), DRAWN, (0.1, 0.5, 0.9))
        again = score_model(forecaster, task(other, ASKED), DRAWN, (0.1, 0.5, 0.9))
        assert np.array_equal(seen.samples, again.samples)
        held, _ = hold_out(other, HORIZON, HORIZON)
        for history, first in zip(held, task(DATA, ASKED).histories, strict=True):
            assert np.array_equal(history.values, first.values)
            assert history.values.base is None  # no way to what comes next


@pytest.mark.parametrize("which", ["quick", pytest.param("all", marks=pytest.mark.slow)])
def test_rivals_forecast_the_same_whatever_comes(which):
    """Of data whose training part is scored, too: who learns from series learns from histories."""
    # large and negative ones; one set, because all rivals take their time
    futures = np.random.default_rng(0).normal(size=(len(DATA), HORIZON, 2)) * 1e3
    wholes = (DATA, with_futures(futures))
    tasks = [task(reference, ASKED) for reference in wholes]
    rivals = [rivals_of(one)[0] for one in tasks]
    names = [[r.name for r in ours] for ours in rivals]
    assert names[0] == names[1]
    assert "pooled quantiles" in names[0]
    for pair in zip(*rivals, strict=True):
        if isinstance(pair[0], EquationFit | BestEquations):
            continue  # below: it takes its time
        if which == "quick" and not isinstance(pair[0], QUICK):
            continue
        points = [
            score_rival(rival, one, reference, ()).point
            for rival, one, reference in zip(pair, tasks, wholes, strict=True)
        ]
        assert np.array_equal(*points)


def test_equations_are_fitted_to_the_history_alone():
    other = with_futures(np.random.default_rng(0).normal(size=(4, HORIZON, 2)) * 1e3)
    few = Protocol("all", CONTEXT, 2)
    points = []
    for data in (DATA, other):
        (one,) = (task(data.select(["s1"]), few).histories,)
        fits = [r for r in rivals_of(task(data, few))[0] if isinstance(r, EquationFit)]
        points.append([r.forecast(np.arange(CONTEXT + 2.0), one[0].values) for r in fits])
    assert len(points[0]) == 3
    assert np.array_equal(points[0], points[1])


def test_a_rival_that_learns_does_so_from_series_that_are_not_scored():
    """Half of the training part is scored: pooled quantiles learn from the other half, whole."""
    scored = DATA.select(["s0", "s1"])
    given_task = task(scored, ASKED)
    seen = learnable(DATA, given_task.histories)
    assert [len(s) for s in seen] == [CONTEXT, CONTEXT, CONTEXT + HORIZON, CONTEXT + HORIZON]
    pooled = PooledQuantiles()
    learnt = score_rival(pooled, given_task, DATA, ()).point
    last = np.stack([np.repeat(h.values[-1:], HORIZON, 0) for h in given_task.histories])
    assert not np.array_equal(learnt, last)


def test_validation_during_training_sees_histories(tiny_base):
    base = tiny_base()
    half = (CONTEXT + HORIZON) // 2

    def forecast(data):
        windows = Windows(
            data, of_dataset(DATA), Codec(1, 2), base.alphabet, seq_len=64, batch_size=2, seed=0
        )
        part = ValidationPart(windows, data)
        forecaster = LanguageModel(base, decimals=1, scale=part.scale)
        result = forecaster.predict(part.histories, part.horizon, Sampling(greedy=True))
        return np.stack([f.samples for f in result])

    rng = np.random.default_rng(3)
    series = tuple(
        replace(s, values=np.concatenate([s.values[:half], rng.normal(size=(half, 2)) * 50]))
        for s in DATA
    )
    assert np.array_equal(forecast(DATA), forecast(replace(DATA, series=series)))
