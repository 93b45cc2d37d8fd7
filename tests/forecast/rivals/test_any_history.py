"""No history, however odd, makes a rival fail, warn or forecast what is out of bounds."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.data.gaps import complete
from lvlora.forecast.rivals import default_rivals

NAMES = [rival.name for rival in default_rivals()]
RNG = np.random.default_rng(0)
SLOW = (" fit", "pooled", "equations", "gaussian", "refitted", "arima", "ces", "fracast")


def wave(n, period, phase=0.0):
    return 2 + np.cos(2 * np.pi * (np.arange(n) - phase) / period)


HISTORIES = {
    "two waves": np.column_stack([wave(40, 15), wave(40, 15, 3)]),
    "one variable": wave(40, 15)[:, None],
    "three variables": np.column_stack([wave(40, 15), wave(40, 9), wave(40, 7)]),
    "signed": np.column_stack([wave(40, 15) - 2, wave(40, 9) - 3]),
    "with zeros": np.maximum(np.column_stack([wave(40, 15) - 2, wave(40, 9)]), 0),
    "constant": np.full((30, 2), 3.0),
    "all zero": np.zeros((30, 2)),
    "two steps": np.array([[1.0, 2], [2, 1]]),
    "three steps": np.array([[1.0, 2], [2, 1], [3, 3]]),
    "five steps": RNG.random((5, 2)),
    "noise": RNG.lognormal(size=(25, 2)),
    "explosion": np.exp(np.column_stack([np.arange(50.0), 0.5 * np.arange(50.0)])),
    "collapse": np.exp(-np.column_stack([np.arange(25.0), 2 * np.arange(25.0)])),
    "huge": 1e100 * np.column_stack([wave(40, 15), wave(40, 9)]) / 3,
    "huge and signed": 1e100 * (np.column_stack([wave(40, 15), wave(40, 9)]) - 2),
    "up to 1e300": 10.0 ** np.round(300 * np.column_stack([wave(40, 15) - 2, wave(40, 9) - 2])),
    "signed 1e300": 1e300 * (np.column_stack([wave(40, 15), wave(40, 9)]) - 2),
    "eight variables": np.column_stack([wave(24, p) for p in (5, 6, 7, 8, 9, 10, 11, 12)]),
    "tiny": 5e-324 * np.round(10 * np.column_stack([wave(40, 15), wave(40, 9)])),
    "a jump": np.repeat(np.array([[1.0, 1], [100, 1]]), 20, axis=0),
    "gaps": np.where(RNG.random((40, 2)) < 0.3, np.nan, np.column_stack([wave(40, 15)] * 2)),
    "a variable that is missing": np.column_stack([wave(40, 15), np.full(40, np.nan)]),
    "all missing": np.full((20, 2), np.nan),
}
AT_ONCE = ("two steps", "all missing", "gaps", "up to 1e300", "with zeros", "constant", "tiny")
"""Tried on each run, the first two with fits that take seconds, too; the others are slow tests."""


def is_slow(name: str) -> bool:
    return any(part in name for part in SLOW)


def marked(*values: str, slow: bool) -> object:
    return pytest.param(*values, marks=[pytest.mark.slow] if slow else [])


def fitted(name, time, history):
    """A rival that has learnt from data like a history."""
    rival = next(rival for rival in default_rivals() if rival.name == name)
    if rival.package and rival.refusal(Dataset((), ("prey", "predator"))):
        pytest.skip(f"{name} needs pip install 'lvlora[rivals]'")
    n_ahead, names = len(time) - len(history), ("v",) * history.shape[1]
    reference = np.concatenate([history, np.resize(history, (n_ahead, history.shape[1]))])
    rival.fit(Dataset((Series("a", time, reference),) * 3, names), n_ahead)
    return rival


def check(name, time, history):
    """The contract: shapes, finite numbers within the guard, and a history that stays as it is."""
    before = history.copy()
    forecast = fitted(name, time, history).prediction(time, history, 3, "a")
    assert np.array_equal(history, before, equal_nan=True)
    assert forecast.point.shape == (len(time) - len(history), history.shape[1])
    assert forecast.samples.shape == (3, *forecast.point.shape)
    known = complete(time, history)
    low, high = known.min(axis=0), known.max(axis=0)
    slack = 1e-9 * np.abs(known).max(axis=0)
    for future in (forecast.point, *forecast.samples):
        assert np.isfinite(future).all()
        assert np.all(future / 2 <= high - low / 2 + slack)  # halves: twice 1e308 is infinite
        assert np.all(future / 2 >= low - high / 2 - slack)
        if (known >= 0).all():
            assert (future >= 0).all()
    return forecast


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        marked(name, kind, slow=kind not in AT_ONCE[: 2 if is_slow(name) else None])
        for name in NAMES
        for kind in HISTORIES
    ],
)
def test_odd_histories(name, kind):
    """And draws depend on the series' name alone, the point on nobody's draws."""
    history = HISTORIES[kind][: 20 if " fit" in name else None]
    time = np.cumsum(np.random.default_rng(1).uniform(0.5, 1.5, len(history) + 12))
    forecast = check(name, time, history)
    if kind == "gaps":
        rival = fitted(name, time, history)
        np.testing.assert_array_equal(rival.forecast(time, history), forecast.point)
        again = rival.prediction(time, history, 3, "a")
        np.testing.assert_array_equal(again.samples, forecast.samples)


@st.composite
def series(draw):
    """Times of history and horizon, and a history: any size, sign, gap and step."""
    n_known, n_ahead = draw(st.integers(2, 30)), draw(st.integers(1, 12))
    n_variables = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["wave", "noise", "constant", "walk", "powers"]))
    t = np.arange(n_known)[:, None]
    values = {
        "wave": 2 + np.cos(t / rng.uniform(0.5, 5, n_variables)),
        "noise": rng.lognormal(0, draw(st.sampled_from([0.1, 3.0])), (n_known, n_variables)),
        "constant": np.ones((n_known, n_variables)) * rng.uniform(-1, 1, n_variables),
        "walk": np.cumsum(rng.normal(size=(n_known, n_variables)), axis=0),
        "powers": 10.0 ** rng.uniform(-300, 0, (n_known, n_variables)),
    }[kind]
    values = values * 10.0 ** draw(st.integers(-300, 299)) + draw(st.sampled_from([0.0, -1.0]))
    if draw(st.booleans()):
        values[rng.random(values.shape) < 0.2] = 0.0
    if draw(st.booleans()):
        values[rng.random(values.shape) < draw(st.sampled_from([0.2, 0.9]))] = np.nan
    steps = np.ones(n_known + n_ahead)
    if draw(st.booleans()):
        steps = rng.lognormal(0, draw(st.sampled_from([0.2, 2.0])), len(steps))
    time = np.cumsum(steps) * 10.0 ** draw(st.integers(-3, 6))
    return time, values


@pytest.mark.parametrize("name", [marked(name, slow=is_slow(name)) for name in NAMES])
def test_any_history(name) -> None:
    @settings(
        max_examples=settings.default.max_examples // 4,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(series())
    def holds(case):
        check(name, *case)

    holds()
