"""No history, however odd, makes a rival fail, warn or forecast what is not finite."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.forecast.rivals import default_rivals

_SLOW = (" fit", "equations", "gaussian", "refitted", "arima")


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


def _named(name: str) -> object:
    is_slow = any(part in name for part in _SLOW)
    return pytest.param(name, marks=pytest.mark.slow) if is_slow else name


@pytest.mark.parametrize("name", [_named(rival.name) for rival in default_rivals()])
def test_any_history(name) -> None:
    rival = next(rival for rival in default_rivals() if rival.name == name)
    if rival.refusal(Dataset((), ("prey", "predator"))):
        pytest.skip(f"{name} needs pip install 'lvlora[rivals]'")

    @settings(
        max_examples=settings.default.max_examples // 4,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(series())
    def holds(case):
        time, history = case
        n_ahead, n_variables = len(time) - len(history), history.shape[1]
        whole = np.concatenate([history, np.repeat(history[-1:], n_ahead, axis=0)])
        data = Dataset((Series("a", time, whole),) * 3, tuple(map(str, range(n_variables))))
        rival.fit(data, n_ahead)
        made = rival.prediction(time, history, 3, "a")
        assert made.point.shape == (n_ahead, n_variables)
        assert made.samples.shape == (3, n_ahead, n_variables)
        assert np.isfinite(made.point).all()
        assert np.isfinite(made.samples).all()

    holds()
