"""Rivals against the libraries that their fields use, on simple systems."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import odeint

from lvlora.answers import Price
from lvlora.data.files import read_dataset
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.forecast.rivals import GaussianProcess, Nvar, Sindy, SMap, Statistical
from lvlora.forecast.rivals.algebra import counting, monomials, product, ridge, solved
from lvlora.forecast.rivals.futures import _WIDER, guarded, stream
from lvlora.forecast.rivals.packages import seasonal_pattern
from lvlora.forecast.rivals.sindy import Setting, sparse
from lvlora.forecast.rivals.standardising import Problem
from lvlora.settings.shared import InputSettings

ROOT = Path(__file__).parents[3]


def lotka_volterra(n=120, step=0.1):
    """x' = x - x y, y' = x y - y on a fine grid."""
    time = np.arange(n) * step

    def slopes(z, _time):
        return [z[0] - z[0] * z[1], z[0] * z[1] - z[1]]

    return time, odeint(slopes, [1.5, 0.7], time, rtol=1e-10, atol=1e-12)


def test_sindy_finds_the_equations_that_pysindy_finds() -> None:
    pysindy = pytest.importorskip("pysindy", reason="pip install pysindy")
    time, values = lotka_volterra()
    model = pysindy.SINDy(
        optimizer=pysindy.STLSQ(threshold=0.1, alpha=1e-8),
        feature_library=pysindy.PolynomialLibrary(degree=2),
    )
    model.fit(values, t=time)
    theirs = model.coefficients()  # (V, P) of 1, x, y, x^2, x y, y^2
    rival = Sindy(on_rates=False)
    terms = rival._integrals(problem_of(time, values), values, monomials(2, 2))
    ours = sparse(terms, np.diff(values, axis=0), np.array([1e-10]), np.array([0.1]))[0].T
    assert ours == pytest.approx(theirs, abs=0.02)  # theirs by differences
    truth = [[0, 1, 0, 0, -1, 0], [0, 0, -1, 0, 1, 0]]
    assert ours == pytest.approx(np.array(truth), abs=1e-3)


def problem_of(time, values):
    """Nothing is missing, and nothing known ahead."""
    whole = np.ones(values.shape, dtype=bool)
    return Problem(time, values, whole, np.empty((len(time), 0)))


def test_sindy_on_rates_finds_per_capita_rates() -> None:
    time, values = lotka_volterra()
    rival = Sindy(on_rates=True)
    logs = np.log(values)
    terms = rival._integrals(problem_of(time, logs), logs, monomials(2, 1))
    ours = sparse(terms, np.diff(logs, axis=0), np.array([1e-10]), np.array([0.1]))[0].T
    assert ours == pytest.approx(np.array([[1, 0, -1], [-1, 1, 0]]), abs=1e-4)
    setting = Setting(smooth=False, degree=1, ridge=1e-10, threshold=0.0)
    problem = problem_of(time, logs[:60])
    ahead = rival.continued(problem, [setting])[0]
    assert np.abs(ahead - logs[60:]).max() < 1e-3


def henon(n):
    path = [np.array([0.1, 0.3])]
    for _ in range(n - 1):
        x, y = path[-1]
        path.append(np.array([1 - 1.4 * x**2 + y, 0.3 * x]))
    return np.array(path)


def test_nvar_finds_a_quadratic_map() -> None:
    values = henon(60)
    ahead = Nvar().forecast(np.arange(55.0), values[:50])
    assert ahead == pytest.approx(values[50:55], abs=1e-4)


PYEDM = {
    # scripts/smap_oracle.py: pyEDM 2.5.7, SMap of columns "x y", embedded, E=2, knn=39
    # of the Henon map above: what x is one step after rows 41 to 45, from the first 40 rows
    0.0: [-0.1168169479, 0.3744320659, -0.0976505415, 0.5893549937, -0.0428116885],
    2.0: [-0.2823297067, 1.0671510636, -1.0165702441, -0.298307652, 0.3434494508],
}


@pytest.mark.parametrize("theta", PYEDM)
def test_s_map_makes_what_pyedm_makes(theta) -> None:
    values = henon(60)
    states, changes = values[:39], np.diff(values, axis=0)[:39]
    step = SMap().learnt(states, changes, [(theta, 1e-14)] * 5)
    ours = values[40:45] + step(values[40:45])
    assert ours[:, 0] == pytest.approx(PYEDM[theta], abs=1e-6)


@pytest.mark.parametrize("rival", [GaussianProcess(), SMap(), Nvar()])
def test_a_logistic_map_goes_on(rival) -> None:
    x = [0.3]
    for _ in range(89):
        x.append(3.7 * x[-1] * (1 - x[-1]))
    values = np.array(x)[:, None]
    ahead = rival.forecast(np.arange(83.0), values[:80])
    naive = np.abs(values[79] - values[80:83]).mean()
    assert np.abs(ahead - values[80:83]).mean() < 0.3 * naive


def test_ridge_is_scikit_learns() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    x /= np.sqrt(np.mean(x**2, axis=0))
    ours = ridge(np.hstack([np.ones((40, 1)), x]), y, np.array([0.1, 1.0]))
    for penalty, found in zip((0.1, 1.0), ours, strict=True):
        theirs = Ridge(alpha=40 * penalty).fit(x, y)
        assert found[1:].T == pytest.approx(theirs.coef_, abs=1e-4)


def test_flops_are_those_of_the_algebra() -> None:
    with counting() as tally:
        product(np.ones((3, 4)), np.ones((4, 5)))
        product(np.ones((7, 3, 4)), np.ones((7, 4, 5)))
    assert tally.price == Price(8 * 2 * 3 * 4 * 5, 8 * 3 * 5 * 7)
    with counting() as tally:
        solved(np.eye(2) * 2.0, np.ones((2, 1)))
    # elimination: one division, one product and one difference; then 1 + 1 and 2 + 1 + 1 … = 6
    assert tally.price == Price(3 + 6, 3 + 6)
    flops = Nvar().prediction(np.arange(30.0), henon(20)).flops
    assert flops is not None
    assert flops.executed > flops.coursework > 10_000


def test_a_singular_system_spoils_no_other() -> None:
    systems = np.stack([np.eye(2), np.zeros((2, 2))])
    found = solved(systems, np.ones((2, 2, 1)))
    assert found[0].tolist() == [[1], [1]]
    assert np.isnan(found[1]).all()


def test_futures_cover_about_what_they_say() -> None:
    data = simulate(SimulateSettings(n_series=24, seed=31, noise=0.1))
    inside = []
    for s in data:
        made = Nvar().prediction(s.time, s.values[:80], 40, s.id)
        low, high = np.quantile(made.samples, [0.1, 0.9], axis=0)
        inside.append(np.mean((s.values[80:] >= low) & (s.values[80:] <= high)))
    assert 0.6 < np.mean(inside) < 0.98


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ets", "AutoETS"),
        pytest.param("arima", "AutoARIMA", marks=pytest.mark.slow),
        pytest.param("ces", "AutoCES", marks=pytest.mark.slow),
    ],
)
def test_statistical_rivals_are_those_of_statsforecast(name, model):
    models = pytest.importorskip("statsforecast.models")
    values, rival = seasonal_growth(), Statistical(name)
    rival.season = 12
    made = rival.prediction(np.arange(84.0), values, 3, "a")
    direct = getattr(models, model)(season_length=12).forecast(np.log(values[:, 0]), 12, level=[80])
    assert made.point[:, 0] == pytest.approx(np.exp(direct["mean"]), rel=1e-9)
    check_futures(made, values, direct)


def test_theta_is_that_of_statsforecast_without_the_season_it_would_miss():
    models = pytest.importorskip("statsforecast.models")
    values, rival = seasonal_growth(), Statistical("theta")
    rival.season = "none"
    made = rival.prediction(np.arange(84.0), values, 3, "a")
    direct = models.DynamicOptimizedTheta().forecast(np.log(values[:, 0]), 12, level=[80])
    assert made.point[:, 0] == pytest.approx(np.exp(direct["mean"]), rel=1e-9)
    check_futures(made, values, direct)
    rival.season = 12
    pattern = seasonal_pattern(np.log(values[:, 0]), 12)
    without = np.log(values[:, 0]) - np.tile(pattern, 6)
    direct = models.DynamicOptimizedTheta().forecast(without, 12)
    ahead = rival.forecast(np.arange(84.0), values)[:, 0]
    assert ahead == pytest.approx(np.exp(direct["mean"] + pattern), rel=1e-9)


def test_a_seasonal_pattern_on_a_line_is_exact():
    pattern = np.array([3.0, -1, 0, -2])
    values = 5 + 0.3 * np.arange(26) + pattern[np.arange(26) % 4]
    assert seasonal_pattern(values, 4) == pytest.approx(pattern)
    odd = np.array([2.0, -3, 1])
    assert seasonal_pattern(odd[np.arange(11) % 3], 3) == pytest.approx(odd)


def test_theta_sees_a_season_in_a_short_example():
    """It was the last value: its own test takes a cycle of twelve months in four years for none."""
    data = read_dataset(ROOT / "examples" / "monthly.csv", InputSettings())
    series = next(iter(data))
    ahead = Statistical("theta").forecast(series.time, series.values[:42])
    assert np.ptp(ahead) > 0.2 * np.nanmedian(series.values)


def seasonal_growth():
    """(72, 1) positive, with a season of twelve that grows with the level."""
    rng, t = np.random.default_rng(5), np.arange(72)
    logs = 0.01 * t + 0.3 * np.sin(2 * np.pi * t / 12) + 0.05 * rng.normal(size=72)
    return np.exp(3 + logs)[:, None]


def check_futures(made, values, direct):
    """Futures follow the upper and lower 80 % interval, all drawn apart by one factor."""
    draws = stream("a").standard_normal((3, 1))
    ends = np.where(draws > 0, direct["hi-80"], direct["lo-80"])
    apart = np.abs(draws) * (ends - direct["mean"]) / stats.norm.ppf(0.9)
    factor = (np.log(made.samples[0, 0, 0]) - direct["mean"][0]) / apart[0, 0]
    assert 0.5 * _WIDER <= factor <= 4 * _WIDER
    paths = np.exp(direct["mean"] + factor * apart)[:, :, None]
    assert made.samples == pytest.approx(guarded(paths, values), rel=1e-6)
