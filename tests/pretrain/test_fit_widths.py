"""The fit of a model's widths, and the series that it is fitted and tested on."""

from itertools import islice

import calibration_series
import numpy as np
import pytest
from fit_widths import Example, fit

from lvlora.data.dataset import Series
from lvlora.data.metrics import crps_from_samples, inside_interval
from lvlora.forecast.forecaster import Forecast


def examples(seed: int, n: int) -> list[Example]:
    """Smooth histories whose futures are drawn three times too wide, rough ones at 0.4."""
    rng, results = np.random.default_rng(seed), []
    for i in range(n):
        smooth = i % 2 == 0
        time = np.arange(60.0)
        wave = np.sin(time / 5)[:, None]
        history = 3 + (wave if smooth else rng.normal(0, 1, (60, 1)))
        truth = 3 + 0.3 * rng.normal(0, 1, (10, 1))
        drawn = 3 + 0.3 * (3 if smooth else 0.4) * rng.normal(0, 1, (20, 10, 1))
        forecast = Forecast(
            str(i), np.arange(10.0), drawn, None, 60, history=Series(str(i), time, history)
        )
        results.append(Example("smooth" if smooth else "rough", truth, forecast))
    return results


def test_one_rule_mends_what_is_too_wide_and_what_is_too_narrow() -> None:
    fitted = fit(examples(1, 160), seed=7)
    assert fitted.facts == {"series": {"smooth": 80, "rough": 80}, "seed": 7}
    new = examples(2, 200)
    for group, before in (("smooth", 0.99), ("rough", 0.45)):
        of_group = [e for e in new if e.group == group]
        truth = np.stack([e.truth for e in of_group])
        plain = np.stack([e.forecast.samples for e in of_group])
        moved = np.stack([fitted.apply(e.forecast).samples for e in of_group])
        for level in (0.5, 0.8):
            assert inside_interval(truth, moved, level).mean() == pytest.approx(level, abs=0.05)
        assert inside_interval(truth, plain, 0.8).mean() == pytest.approx(before, abs=0.03)
        assert crps_from_samples(truth, moved).mean() < crps_from_samples(truth, plain).mean()


def test_missing_truths_are_left_out() -> None:
    complete = examples(3, 40)
    gappy = []
    for e in complete:
        truth = e.truth.copy()
        truth[::2] = np.nan
        gappy.append(Example(e.group, truth, e.forecast))
    nothing = Example("rough", np.full((10, 1), np.nan), complete[1].forecast)
    of_gappy = fit(gappy).constant
    assert fit([*gappy, nothing]).constant == pytest.approx(of_gappy, abs=0.05)
    assert of_gappy != fit(complete).constant


def test_what_repeats_is_drawn_to_its_last_cycle_where_the_model_lost_it() -> None:
    def some(seed: int) -> list[Example]:
        rng, results = np.random.default_rng(seed), []
        for i in range(80):
            complete = 3 + np.sin(
                2 * np.pi * np.arange(70) / rng.integers(5, 12) + rng.uniform(0, 6)
            )
            lost = i % 2
            centre, spread = (np.full(10, 3.0), 0.8) if lost else (complete[60:], 0.05)
            drawn = centre[:, None] + spread * rng.normal(0, 1, (20, 10, 1))
            history = Series(str(i), np.arange(60.0), complete[:60, None])
            forecast = Forecast(str(i), np.arange(10.0), drawn, None, 60, history=history)
            results.append(Example("lost" if lost else "foretold", complete[60:, None], forecast))
        return results

    fitted = fit(some(1))
    errors: dict[str, list[list[float]]] = {"lost": [], "foretold": []}
    for e in some(2):
        medians = e.forecast.median, fitted.apply(e.forecast).median
        errors[e.group].append([float(np.abs(m - e.truth).mean()) for m in medians])
    before, after = np.mean(errors["lost"], axis=0)
    assert after < 0.5 * before
    before, after = np.mean(errors["foretold"], axis=0)
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("group", calibration_series.GROUPS)
def test_what_is_fitted_on_is_noted_as_the_mixture_notes_it(group) -> None:
    results = list(calibration_series._of_mixture(group, 30))
    assert len(results) > 20
    for known in results:
        assert np.isfinite(known.history.values).any(axis=0).all()
        assert known.future.shape[0] in calibration_series.HORIZONS
    again = list(islice(calibration_series._of_mixture(group, 30), 4))
    np.testing.assert_array_equal(again[3].history.values, results[3].history.values)


def test_batches_are_of_one_shape_and_hold_all() -> None:
    known = list(calibration_series._of_mixture("noisy", 40))
    results = list(calibration_series.batches(known, 8))
    assert sorted(i for batch in results for i in batch) == list(range(len(known)))
    for batch in results:
        assert len(batch) <= 8
        assert len({known[i].alike for i in batch}) == 1


def test_measured_series_of_one_source_are_in_one_half() -> None:
    names = ("Measles in Ohio", "datasets Nile", "DAAG measles", "Polio in Ohio", "fpp2 oil")
    assert [calibration_series.half_of(name) for name in names] == [1, 1, 0, 0, 0]
    assert calibration_series.half_of("hares and lynxes") == 1
