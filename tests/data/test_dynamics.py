"""Measures of dynamics against the definitions of the packages and papers they come from."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal
from scipy.ndimage import gaussian_filter1d

from lvlora.data.dynamics import (
    amplitude_errors,
    phase_errors,
    spectrum_distances,
    state_divergences,
    valid_steps,
)
from lvlora.data.metrics import dynamics_errors

Array = NDArray[np.float64]


def waves(n: int = 6, horizon: int = 50, n_variables: int = 2, seed: int = 0) -> Array:
    """(n, H, V) noisy oscillations that stay positive."""
    rng = np.random.default_rng(seed)
    steps = np.arange(horizon)[None, :, None]
    period = rng.uniform(9, 16, (n, 1, 1))
    phase = rng.uniform(0, 6, (n, 1, n_variables))
    noise = rng.normal(0, 0.1, (n, horizon, n_variables))
    values: Array = 3 + 2 * np.sin(2 * np.pi * steps / period + phase) + noise
    return values


def dysts_smape(x: Array, y: Array) -> float:
    """`dysts.metrics.smape` of dysts 0.96, whose scale is 0 … 100."""
    return float(0.5 * 200 * np.mean(np.abs(x - y) / (np.abs(x) + np.abs(y) + 1e-10)))


def growing() -> tuple[Array, Array]:
    """Forecasts that drift off ever faster."""
    rng = np.random.default_rng(11)
    truth = 3 + 2 * np.sin(np.arange(50) / 3)[None, :, None] + rng.random((6, 1, 3))
    speed = np.array([0, 0.5, 1, 2, 4, 8.0])[:, None, None]
    drift = np.linspace(0, 1, 50)[None, :, None] * speed
    return truth, truth + drift * rng.normal(0, 1, (6, 1, 3))


def test_valid_steps_are_those_before_dysts_smape_exceeds_30() -> None:
    truth, point = growing()
    expected = []
    for y, f in zip(truth, point, strict=True):
        beyond = [h for h in range(50) if dysts_smape(y[h], f[h]) > 30]
        expected.append(beyond[0] if beyond else 50)
    # what dysts 0.96 itself gives for these arrays
    assert expected == [50, 50, 31, 30, 14, 30]
    assert valid_steps(truth, point).tolist() == expected


def test_valid_steps_look_at_what_is_known() -> None:
    truth, point = np.full((3, 4, 2), 2.0), np.full((3, 4, 2), 2.0)
    point[:, 2, 0] = 200.0
    truth[1, 2, 0] = np.nan  # only the other variable counts there
    truth[2] = np.nan
    assert valid_steps(truth, point).tolist()[:2] == [2, 4]
    assert math.isnan(valid_steps(truth, point)[2])
    assert valid_steps(np.zeros((1, 3, 1)), np.zeros((1, 3, 1))).tolist() == [3]


def test_the_amplitude_is_the_variability_ratio_of_the_kling_gupta_efficiency() -> None:
    truth = waves()
    point = 1.3 * truth[:, :, ::-1]
    expected = np.abs(point.std(axis=1) / truth.std(axis=1) - 1)
    assert amplitude_errors(truth, point) == pytest.approx(expected, abs=1e-9)
    truth[0, 3:9, 1] = np.nan
    saved = ~np.isnan(truth[0, :, 1])
    ratio = point[0, saved, 1].std() / truth[0, saved, 1].std()
    assert amplitude_errors(truth, point)[0, 1] == pytest.approx(abs(ratio - 1), abs=1e-9)


@pytest.mark.parametrize("period", [10, 25])
def test_the_phase_is_that_of_scipys_cross_spectrum(period: int) -> None:
    """Where the period divides the horizon: `scipy.signal.csd` of one segment, no window."""
    truth, point = waves(seed=1), waves(seed=2)
    _, cross = signal.csd(truth, point, window="boxcar", nperseg=50, axis=1, detrend="constant")
    expected = np.abs(np.angle(cross[:, 50 // period])) / (2 * np.pi)
    result = phase_errors(truth, point, np.full(6, float(period)))
    assert result == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("horizon", [20, 50])
def test_a_shift_in_time_is_the_phase(horizon: int) -> None:
    """Any period, any mean and amplitude, and gaps: a sine that comes 3 steps late."""
    steps, period = np.arange(horizon), 17.3
    truth = 5 + np.sin(2 * np.pi * steps / period)[None, :, None]
    point = 1 + 4 * np.sin(2 * np.pi * (steps - 3) / period)[None, :, None]
    truth[0, [2, 3, 9], 0] = np.nan
    assert phase_errors(truth, point, np.array([period])) == pytest.approx(3 / period, abs=1e-9)
    assert phase_errors(truth, 10 - truth, np.array([period])) == pytest.approx(0.5, abs=1e-9)


def test_a_phase_needs_a_period_of_which_half_is_seen() -> None:
    truth = waves(n=4, horizon=20)
    result = phase_errors(truth, truth[::-1].copy(), np.array([np.nan, 41.0, 40.0, 2.0]))
    assert np.isnan(result).all(axis=1).tolist() == [True, True, False, True]


def dsr_spectrum_error(x: Array, y: Array) -> float:
    """D_H as in the evaluation code of dynamical systems reconstruction (GTF-ConvSSM, ALRNN)."""
    distances = []
    for v in range(x.shape[1]):
        spectra = []
        for column in (x[:, v], y[:, v]):
            z = (column - column.mean()) / column.std()
            power = np.abs(np.fft.rfft(z)) ** 2 * 2 / len(z)
            smooth = gaussian_filter1d(power, 1.0)
            spectra.append(smooth / smooth.sum())
        distances.append(np.sqrt(1 - np.sum(np.sqrt(spectra[0] * spectra[1]))))
    return float(np.mean(distances))


@pytest.mark.parametrize("horizon", [20, 50])
@pytest.mark.parametrize("n_variables", [1, 2, 8])
def test_spectra_are_compared_as_published(horizon: int, n_variables: int) -> None:
    truth, point = waves(3, horizon, n_variables, 3), waves(3, horizon, n_variables, 4)
    expected = [dsr_spectrum_error(p, y) for p, y in zip(point, truth, strict=True)]
    result = spectrum_distances(truth, point).mean(axis=1)
    assert result == pytest.approx(np.array(expected), abs=1e-6)


def test_a_spectrum_needs_the_whole_truth() -> None:
    truth, point = waves(), waves(seed=1)
    truth[1, 4, 0] = np.nan
    point[1, 4, 0] = np.inf  # not looked at
    truth[2, :, 1] = 0.1
    undefined = np.isnan(spectrum_distances(truth, point))
    assert np.argwhere(undefined).tolist() == [[1, 0], [2, 1]]


def visits(x: Array, y: Array, bins: int = 30) -> Array:
    """How often x is in each part of the box of y that DynaMix-julia's "default" binning has."""
    margin = 0.1 * y.std(axis=0, ddof=1)
    edges = [
        np.linspace(low, high, bins + 1)
        for low, high in zip(y.min(axis=0) - margin, y.max(axis=0) + margin, strict=True)
    ]
    return np.histogramdd(x, edges)[0].ravel()


def dsr_state_divergence(x: Array, y: Array, alpha: float = 1e-5) -> float:
    """D_stsp(y || x) as there, over whole histograms; x is the forecast."""
    p, q = ((h + alpha) / (h.sum() + alpha * h.size) for h in (visits(y, y), visits(x, y)))
    return float(np.sum(p * np.log(p / q)))


@pytest.mark.parametrize("horizon", [20, 50])
@pytest.mark.parametrize("n_variables", [1, 2, 3])
def test_states_are_compared_as_published(horizon: int, n_variables: int) -> None:
    truth = waves(4, horizon, n_variables, 5)
    off = waves(4, horizon, n_variables, 6) - 3
    point = truth + np.array([0, 0.02, 0.1, 0.3])[:, None, None] * off
    assert all(visits(p, y).sum() for p, y in zip(point, truth, strict=True))
    expected = [dsr_state_divergence(p, y) for p, y in zip(point, truth, strict=True)]
    assert expected[0] == 0 < max(expected)
    assert state_divergences(truth, point) == pytest.approx(np.array(expected), abs=1e-6)


def test_states_where_something_is_missing_or_far_away() -> None:
    truth, point = waves(), waves(seed=7)
    truth[1, 5, 0] = np.nan  # that step is left out of both
    saved = np.arange(50) != 5
    truth[2, 1:] = np.nan
    truth[3, :, 1] = 4.0
    point[4] += 1000.0
    result = state_divergences(truth, point)
    assert result[1] == pytest.approx(
        dsr_state_divergence(point[1, saved], truth[1, saved]), abs=1e-6
    )
    assert np.isnan(result).tolist() == [False, False, True, True, False, False]
    # as one whose 50 visits are all to parts where the truth never is
    assert not visits(point[4], truth[4]).any()
    p = (visits(truth[4], truth[4]) + 1e-5) / (50 + 1e-5 * 900)
    assert result[4] == pytest.approx(np.sum(p * np.log(p * (50 + 1e-5 * 900) / 1e-5)), abs=1e-6)
    assert np.isnan(state_divergences(waves(n_variables=4), waves(n_variables=4))).all()


def test_what_stands_still_counts() -> None:
    """Nothing is left out to make a score look better."""
    truth = waves()
    still = np.full_like(truth, 0.1)
    errors, _ = dynamics_errors(truth, still, np.full(6, 12.0))
    assert errors.amplitude_error == pytest.approx(1)
    assert errors.phase_error == 0.25
    assert errors.spectrum_distance == 1
    assert errors.valid_steps == 0


def test_the_truth_itself_is_perfect() -> None:
    truth = waves()
    errors, valid_by_step = dynamics_errors(truth, truth.copy(), np.full(6, 10.0))
    assert list(errors.model_dump().values()) == pytest.approx([50, 5, 0, 0, 0, 0])
    assert valid_by_step.tolist() == [1.0] * 50


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e99])
def test_extreme_numbers_are_numbers(scale: float) -> None:
    """The same at any scale that numbers have room for; without a warning at any."""
    truth, point = waves(seed=1), waves(seed=2)
    plain, plainly_valid = dynamics_errors(truth, point, np.full(6, 12.0))
    errors, valid_by_step = dynamics_errors(truth * scale, point * scale, np.full(6, 12.0))
    json.dumps(errors.model_dump(), allow_nan=False)
    if scale > 1e-307:
        assert valid_by_step.tolist() == plainly_valid.tolist()
        assert errors.model_dump() == pytest.approx(plain.model_dump(), rel=1e-6)


def test_nothing_known_is_nothing_defined() -> None:
    unknown = np.full((2, 5, 2), np.nan)
    errors, valid_by_step = dynamics_errors(unknown, np.ones((2, 5, 2)), None)
    assert set(errors.model_dump().values()) == {None}
    assert np.isnan(valid_by_step).tolist() == [True] * 5


def test_shares_by_step_and_periods() -> None:
    truth, point = growing()
    periods = np.array([10.0, np.nan, 31, 15, 14, 30])
    errors, valid_by_step = dynamics_errors(truth, point, periods)
    assert errors.valid_steps == pytest.approx(np.mean([50, 50, 31, 30, 14, 30]))
    assert errors.valid_periods == pytest.approx(np.mean([5, 1, 2, 1, 1]))
    assert valid_by_step[13] == 1
    assert valid_by_step[14] == pytest.approx(5 / 6)
    assert valid_by_step[-1] == pytest.approx(2 / 6)
