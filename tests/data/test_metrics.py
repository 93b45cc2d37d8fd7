"""Metrics against sklearn, Nixtla, scoringrules, and the packages and papers of dynamics."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import signal
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error

from lvlora.data.answers import METRICS, DynamicsErrors, Errors
from lvlora.data.metrics import (
    amplitude_errors,
    central_levels,
    crps_from_samples,
    dynamics_errors,
    inside_interval,
    naive_scale,
    of_samples,
    phase_errors,
    scale_spread,
    score,
    series_errors,
    spectrum_distances,
    state_divergences,
    symmetric_percentage_errors,
    valid_steps,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.random((4, 6, 2))
POINT = RNG.random((4, 6, 2))
HISTORY = [RNG.random((9, 2)) for _ in range(4)]


def test_errors_agree_with_sklearn():
    scores = score(TRUTH, POINT, history=HISTORY)
    flat = TRUTH.ravel(), POINT.ravel()
    assert scores.mae == pytest.approx(mean_absolute_error(*flat))
    assert scores.mse == pytest.approx(mean_squared_error(*flat))
    assert scores.rmse == pytest.approx(root_mean_squared_error(*flat))
    assert scores.crps == scores.mae
    for v in range(2):
        column = TRUTH[:, :, v].ravel(), POINT[:, :, v].ravel()
        assert scores.per_variable["mae"][v] == pytest.approx(mean_absolute_error(*column))
        assert scores.per_variable["rmse"][v] == pytest.approx(root_mean_squared_error(*column))
    for h in range(6):
        column = TRUTH[:, h].ravel(), POINT[:, h].ravel()
        assert scores.per_step["mse"][h] == pytest.approx(mean_squared_error(*column))
    each = [mean_absolute_error(t.ravel(), p.ravel()) for t, p in zip(TRUTH, POINT, strict=True)]
    assert series_errors(TRUTH, POINT, HISTORY)[0] == pytest.approx(each)
    assert scores.median_series_mae == pytest.approx(np.median(each))
    assert np.array(scores.mae_by_step) == pytest.approx(np.abs(TRUTH - POINT).mean(axis=0))
    assert scores.smape == pytest.approx(symmetric_percentage_errors(TRUTH, POINT).mean())
    assert scores.n_values == 48


def test_smape_by_hand():
    errors = symmetric_percentage_errors(np.array([1.0, 0, 2, -1]), np.array([3.0, 0, 0, 1]))
    assert errors.tolist() == [100, 0, 200, 200]


@pytest.mark.parametrize("season", [1, 4])
def test_mase_is_nixtlas_with_the_same_season(season):
    losses = pytest.importorskip("utilsforecast.losses")
    history, truth, point = RNG.random((3, 20)), RNG.random((3, 5)), RNG.random((3, 5))
    _, series_mase = series_errors(
        truth[..., None],
        point[..., None],
        list(history[..., None]),
        np.full((3, 1), np.nan if season == 1 else season + 0.3),
    )

    def long(**columns):
        n = len(next(iter(columns.values()))[0])
        facts = {"unique_id": np.repeat(list("abc"), n), "ds": np.tile(np.arange(n), 3)}
        return pd.DataFrame({**facts, **{k: v.ravel() for k, v in columns.items()}})

    theirs = losses.mase(long(y=truth, us=point), ["us"], season, long(y=history))
    assert series_mase == pytest.approx(theirs["us"].to_numpy())


def test_a_season_longer_than_the_history_scales_by_steps_of_one():
    history = HISTORY[0]
    scale = naive_scale(history, np.array([9.0, 3.0]))
    assert scale[0] == naive_scale(history)[0]
    assert scale[1] == pytest.approx(np.abs(history[3:, 1] - history[:-3, 1]).mean())


def test_naive_scale_skips_gaps_and_is_undefined_for_constants():
    history = np.array([[1.0, 5, np.nan, 7], [np.nan, 5, np.nan, 7.5], [2, 5, 1, 7], [5, 5, 2, 7]])
    scale = naive_scale(history)
    assert scale[0] == 3
    assert np.isnan(scale[1])
    assert scale[2] == 1
    assert scale[3] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert np.isnan(naive_scale(np.ones((1, 2)))).all()


def test_a_constant_history_is_left_out_of_mase_and_only_there():
    history = [np.ones((5, 2)), HISTORY[1]]
    scores = score(TRUTH[:2], POINT[:2], history=history)
    alone = score(TRUTH[1:2], POINT[1:2], history=HISTORY[1:2])
    assert scores.mase == pytest.approx(alone.mase)
    assert scores.n_values == 24
    nothing = score(TRUTH[:1], POINT[:1], history=history[:1])
    assert nothing.mase is None


def test_missing_truth_is_left_out():
    truth = TRUTH.copy()
    truth[0, 1, 1] = truth[2] = np.nan
    samples = RNG.random((4, 5, 6, 2))
    point = POINT.copy()
    point[2] = np.nan  # nobody knows what would have been right
    scores = score(truth, point, history=HISTORY, samples=samples)
    known = ~np.isnan(truth)
    assert scores.mae == pytest.approx(np.abs(truth - point)[known].mean())
    assert np.isnan(series_errors(truth, point, HISTORY)[0][2])
    assert np.isfinite(scores.median_series_mae)
    assert scores.n_values == known.sum() == 35
    assert np.isfinite(scores.crps)
    nothing = score(np.full_like(truth, np.nan), point, history=HISTORY)
    assert nothing.mae is None


def test_crps_of_few_samples_by_hand():
    """Samples 0 and 2, truth 3: (3 + 1) / 2 - 2 * 2 / (2 * 2) = 1."""
    truth = np.array([[[3.0]]])
    samples = np.array([0.0, 2.0]).reshape(1, 2, 1, 1)
    assert crps_from_samples(truth, samples).item() == pytest.approx(1.0)
    assert crps_from_samples(truth, samples[:, :1]).item() == 3.0


def test_fair_crps_does_not_depend_on_the_number_of_samples():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(20_000, 1, 1))
    few, many = (
        crps_from_samples(truth, rng.normal(size=(20_000, s, 1, 1))).mean() for s in (2, 20)
    )
    assert few == pytest.approx(many, abs=0.02)
    assert many == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)


def test_coverage_of_central_intervals():
    samples = np.linspace(0, 1, 101).reshape(1, 101, 1, 1).repeat(5, axis=2)
    truth = np.array([0.05, 0.11, 0.5, 0.9, np.nan]).reshape(1, 5, 1)
    inside = inside_interval(truth, samples, 0.8).ravel()
    assert inside[:4].tolist() == [0, 1, 1, 1]
    assert np.isnan(inside[4])
    scores = score(
        truth, truth, history=[np.array([[1.0], [2]])], samples=samples, quantiles=(0.1, 0.9, 0.25)
    )
    assert scores.coverage == {"0.8": 0.75}
    # of 9 draws an interval of 80 % is their range; of a quantile function it is what it says
    few = np.linspace(0, 1, 9).reshape(1, 9, 1, 1).repeat(5, axis=2)
    assert inside_interval(truth, few, 0.8).ravel()[:4].tolist() == [1, 1, 1, 1]


def test_central_levels_pair_up():
    assert central_levels((0.9, 0.1, 0.5, 0.05, 0.25, 0.75)) == (0.8, 0.5)
    assert central_levels((0.1, 0.5)) == ()


def test_a_forecast_that_is_not_finite_is_not_scored():
    point = POINT.copy()
    point[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        score(TRUTH, point, history=HISTORY)
    samples = np.full((4, 3, 6, 2), np.nan)
    with pytest.raises(ValueError, match="not finite"):
        score(TRUTH, POINT, history=HISTORY, samples=samples)


@pytest.mark.parametrize(
    ("truth", "point", "n_histories", "samples"),
    [
        (TRUTH, POINT[:, :5], 4, None),
        (TRUTH[0], POINT[0], 4, None),
        (TRUTH, POINT, 3, None),
        (TRUTH, POINT, 4, POINT),
        (TRUTH, POINT, 4, POINT[:, None, :3]),
    ],
)
def test_shapes_that_do_not_fit(truth, point, n_histories, samples):
    with pytest.raises(ValueError, match="fit"):
        score(truth, point, history=HISTORY[:n_histories], samples=samples)


@given(hnp.arrays(float, (2, 3, 2), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
def test_scores_are_plain_json_and_zero_for_the_truth(truth):
    point = np.nan_to_num(truth)
    scores = score(truth, point, history=[point[0], point[1]], samples=point[:, None])
    plain = json.loads(json.dumps(scores.model_dump(), allow_nan=False))
    assert plain["mae"] in (0, None)
    assert len(scores.per_step["rmse"]) == 3


def test_crps_is_that_of_scoringrules():
    """On an independent library, where it is installed."""
    rules = pytest.importorskip("scoringrules")
    truth, samples = RNG.random((3, 5, 2)), RNG.random((3, 9, 5, 2))
    last = np.moveaxis(samples, 1, -1)
    expected = rules.crps_ensemble(truth, last, estimator="fair")
    assert crps_from_samples(truth, samples) == pytest.approx(expected)


def test_the_spread_of_scales_leaves_out_the_few_that_hardly_move():
    rising = [np.arange(5.0)[:, None] * np.array([1.0, 10.0]) for _ in range(50)]
    assert scale_spread(rising) == pytest.approx(10)
    rising[7] = rising[7] * 1e-9
    assert scale_spread(rising) == pytest.approx(10)
    assert math.isnan(scale_spread([np.ones((5, 2))]))
    far = [np.arange(5.0)[:, None] * s for s in (1e99, 5e-324)]
    assert math.isfinite(scale_spread(far))


def test_every_metric_says_how_people_read_it():
    """One that is added without a name would be missing in tables, and unnamed on axes."""
    shapes = (Errors, DynamicsErrors)
    assert list(METRICS) == [name for shape in shapes for name in shape.model_fields]
    assert METRICS["phase_error"].axis == "phase error (periods)"
    assert METRICS["smape"].head_with_unit == "sMAPE, %"
    assert [name for name, metric in METRICS.items() if metric.more_is_better] == [
        "valid_steps",
        "valid_periods",
    ]
    heads = [metric.head for metric in METRICS.values()]
    assert len(set(heads)) == len(heads)


@pytest.mark.parametrize("n_samples", [9, 19, 20, 50])
@pytest.mark.parametrize("level", [0.5, 0.8])
def test_an_interval_holds_as_many_truths_as_it_says(n_samples: int, level: float) -> None:
    rng = np.random.default_rng(n_samples)
    drawn = rng.standard_normal((n_samples + 1, 40_000))
    low, high = of_samples(drawn[1:], [(1 - level) / 2, (1 + level) / 2])
    assert np.mean((drawn[0] >= low) & (drawn[0] <= high)) == pytest.approx(level, abs=0.01)


def test_they_are_order_statistics_between_the_least_and_the_largest() -> None:
    nineteen = np.random.default_rng(1).permutation(19.0 + np.arange(19))
    assert of_samples(nineteen, 0.1) == 19 + 1  # the second of 19: 20 * 0.1
    assert of_samples(nineteen, 0.125) == 19 + 1.5
    assert of_samples(nineteen, [0.001, 0.04, 0.999]).tolist() == [19, 19, 37]
    assert of_samples(np.array([4.0]), 0.9) == 4


@pytest.mark.parametrize("n_samples", [1, 2, 7, 20])
def test_the_median_is_the_median(n_samples: int) -> None:
    drawn = np.random.default_rng(2).standard_normal((n_samples, 50))
    median = np.median(drawn, axis=0)
    np.testing.assert_array_equal(of_samples(drawn, 0.5), median)
    np.testing.assert_array_equal(of_samples(drawn, (0.25, 0.5))[1], median)


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
