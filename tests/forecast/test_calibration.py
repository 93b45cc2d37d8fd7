"""Conformal offsets: the order statistic, the coverage, the pooling, the file."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlora import durable
from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.forecast.calibration import facts as calibration_facts
from lvlora.forecast.calibration import files as calibration_files
from lvlora.forecast.calibration.offsets import (
    ENOUGH,
    Calibration,
    calibrate,
    nested,
    offset,
    share_inside,
    units_of,
)
from lvlora.forecast.calibration.rule import FEATURES, Rule
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import Series
from lvlora.text.scaling import Scale

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def _history(spread=1.0, level=0.0, n_variables=2):
    """Ten steps whose standard deviation is ``spread``."""
    values = level + spread * np.tile([[-1.0], [1.0]], (5, n_variables))
    return Series("s", np.arange(10.0), values)


def _forecast(samples, divisor=1.0, name="s"):
    n_steps, n_variables = samples.shape[1:]
    return Forecast(
        name, np.arange(n_steps) + 1.0, samples, Scale((divisor,) * n_variables, "history"), 10
    )


def test_the_offset_is_the_order_statistic_of_the_definition():
    scores = np.array([3.0, 1.0, 9.0, 2.0, 5.0, 4.0, 8.0, 7.0, 6.0])
    # n = 9: ceil(10 * 0.8) = 8th smallest
    assert offset(scores, 0.8) == 8
    assert offset(scores, 0.5) == 5
    assert offset(scores, 0.9) == 9
    with pytest.raises(DataError, match="9 known truths are too few") as caught:
        offset(scores, 0.95)
    assert "19 at least" in caught.value.hint
    assert offset(np.arange(4.0), 0.8) == 3  # the fewest that do


@settings(max_examples=25)
@given(st.integers(4, 40), st.sampled_from([0.5, 0.8]), st.integers(0, 2**32))
def test_one_more_exchangeable_score_is_covered(n, level, seed):
    """Exactly: of all n + 1 scores, each in turn left out, at least that share is covered."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_cauchy(n + 1), 1)  # with ties
    covered = [scores[i] <= offset(np.delete(scores, i), level) for i in range(n + 1)]
    assert np.mean(covered) >= level - 1e-9


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_intervals_cover_what_they_say(spread):
    """Samples too narrow, right, and too wide by a factor; errors that grow with the step."""
    rng = np.random.default_rng(3)
    n, n_samples, n_steps = 400, 20, 6
    size = np.linspace(1, 4, n_steps)[:, None] * np.array([1.0, 5.0])
    units = rng.choice([0.1, 1.0, 50.0], n)[:, None] * np.ones(2)
    centre = 100 * units[:, None, :] * np.ones((n, n_steps, 2))
    unit = size * units[:, None, :]
    truth = centre + unit * rng.standard_normal((n, n_steps, 2))
    samples = centre[:, None] + spread * unit[:, None] * rng.standard_normal(
        (n, n_samples, n_steps, 2)
    )
    half = n // 2
    made = calibrate(truth[:half], samples[:half], units[:half], QUANTILES)
    assert set(made.offsets) == {0.5, 0.8}
    new = [_forecast(s) for s in samples[half:]]
    calibrated = [
        made.apply(f, _history(u[0], 100 * u[0]), QUANTILES)
        for f, u in zip(new, units[half:], strict=True)
    ]
    for level, ends in ((0.5, (0.25, 0.75)), (0.8, (0.1, 0.9))):
        before = share_inside(truth[half:], new, ends)
        after = share_inside(truth[half:], calibrated, ends)
        assert abs(after - level) < 0.03, (level, before, after)
        if spread != 1.0:
            assert abs(before - level) > 0.1
        # each variable and step by itself, too
        inside = np.stack(
            [
                (t >= f.quantile(ends[0])) & (t <= f.quantile(ends[1]))
                for t, f in zip(truth[half:], calibrated, strict=True)
            ]
        ).mean(axis=0)
        assert np.abs(inside - level).max() < 0.15


def test_medians_samples_and_means_stay():
    rng = np.random.default_rng(0)
    plain = _forecast(rng.gamma(2, size=(20, 3, 2)))
    made = Calibration({0.8: np.full((3, 3), 2.0), 0.5: np.full((3, 3), -9.0)})
    found = made.apply(plain, _history(level=3.0), QUANTILES)
    assert np.array_equal(found.median, plain.median)
    assert np.array_equal(found.mean, plain.mean)
    assert np.array_equal(found.quantile(0.5), plain.median)
    assert np.allclose(found.quantile(0.9), plain.quantile(0.9) + 2)
    assert (found.quantile(0.1) == np.maximum(plain.quantile(0.1) - 2, 0)).all()
    # a negative offset shrinks an interval to its median at most
    assert np.array_equal(found.quantile(0.25), plain.median)
    ordered = [found.quantile(q) for q in QUANTILES]
    assert all((a <= b).all() for a, b in pairwise(ordered))


def test_wider_intervals_hold_narrower_ones():
    median = np.zeros(2)
    narrow, wide = (np.array([-3.0, 1.0]), np.array([3.0, 2.0])), (-np.ones(2), np.ones(2))
    first, second = nested([narrow, wide], median)
    assert first[0].tolist() == [-3, 0]  # extended to the median
    assert second[0].tolist() == [-3, -1]
    assert second[1].tolist() == [3, 2]


def test_steps_with_few_scores_take_their_neighbours():
    n_steps = 9
    truth = np.zeros((15, n_steps, 1)) + 10.0 * np.arange(n_steps)[:, None]
    samples = np.zeros((15, 2, n_steps, 1))
    rows = calibrate(truth, samples, np.ones((15, 1)), (0.1, 0.9)).offsets[0.8]
    # 15 a step and 45 with the neighbours: ceil(46 * 0.8) = 37th of 45, the following step's
    assert 3 * 15 >= ENOUGH > 2 * 15
    assert rows[0, 4] == 50
    enough = calibrate(
        np.repeat(truth, 3, 0), np.repeat(samples, 3, 0), np.ones((45, 1)), (0.1, 0.9)
    )
    assert enough.offsets[0.8][0, 4] == 40


def test_missing_truths_are_left_out_and_other_numbers_of_variables_served():
    rng = np.random.default_rng(1)
    truth, samples = rng.normal(size=(60, 3, 2)), rng.normal(size=(60, 9, 3, 2))
    gaps = truth.copy()
    gaps[::3] = np.nan
    some = calibrate(
        truth[np.arange(60) % 3 > 0], samples[np.arange(60) % 3 > 0], np.ones((40, 2)), (0.1, 0.9)
    )
    assert np.array_equal(
        calibrate(gaps, samples, np.ones((60, 2)), (0.1, 0.9)).offsets[0.8], some.offsets[0.8]
    )
    three = _forecast(rng.normal(size=(9, 2, 3)))
    found = some.apply(three, _history(n_variables=3), (0.1, 0.9))
    expected = three.quantile(0.9) + some.offsets[0.8][-1, :2, None]
    assert np.allclose(found.quantile(0.9), expected)


def test_the_unit_is_the_spread_of_what_was_read():
    values = np.array([[9.0, 5.0], [1.0, 5.0], [3.0, np.nan], [1.0, 5.0], [3.0, np.nan]])
    history = Series("s", np.arange(5.0), values)
    plain = Forecast("s", np.ones(1), np.zeros((2, 1, 2)), Scale((2.0, 2.0), "history"), 4)
    assert units_of(history, plain).tolist() == [1.0, 0.02]
    unknown = Series("s", np.arange(2.0), np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert units_of(unknown, plain).tolist() == [1.0, 0.02]


def test_what_was_not_calibrated_is_refused():
    made = Calibration({0.8: np.zeros((3, 5))})
    plain = _forecast(np.zeros((4, 6, 2)))
    with pytest.raises(SettingsError, match="6 steps, and the calibration is for 5"):
        made.apply(plain, _history(), (0.1, 0.9))
    with pytest.raises(SettingsError, match=r"no offset for intervals of 0\.9; .* for 0\.8") as e:
        made.check((0.05, 0.95), 3)
    assert "0.1,0.5,0.9" in e.value.hint
    # one end alone is the end of an interval, too
    assert set(made.apply(_forecast(np.zeros((4, 5, 2))), _history(), (0.1,)).calibrated) == {0.1}
    with pytest.raises(SettingsError, match="no interval to calibrate"):
        calibrate(np.zeros((9, 2, 1)), np.zeros((9, 5, 2, 1)), np.ones((9, 1)), (0.5, 0.9))
    with pytest.raises(SettingsError, match="at least two samples"):
        calibrate(np.zeros((9, 2, 1)), np.zeros((9, 1, 2, 1)), np.ones((9, 1)), (0.1, 0.9))


NAMES = ("prey", "predator")


def test_it_serves_what_it_was_made_for_and_nothing_else(tiny_base):
    forecaster, sampling = LanguageModel(tiny_base(), decimals=1), Sampling(samples=9, views=2)
    units = np.array([[1.0, 20.0], [2.0, 50.0], [1.5, 30.0]])
    facts = calibration_facts.describe(
        forecaster, sampling, source="past.csv", variables=NAMES, units=units, context=8, horizon=3
    )
    made = Calibration({0.8: np.zeros((3, 3))}, json.loads(json.dumps(facts)))
    assert calibration_facts.origin(made.facts) == (
        "Intervals calibrated by 3 series of past.csv (3 steps from 8), 9 samples each."
    )
    assert facts["spread"] == [[1.0, 2.0], [20.0, 50.0]]
    wave = np.sin(np.arange(20.0))[:, None] * np.sqrt(2)

    def like(*spreads):
        return [Series("s", np.arange(20.0), wave * spreads)]

    calibration_facts.check_form(made, forecaster)
    calibration_facts.check_data(made, NAMES, like(0.15, 400.0))
    for spreads in ((0.05, 30.0), (1.0, 900.0)):
        with pytest.raises(DataError, match=r"varies by .* here .* past\.csv"):
            calibration_facts.check_data(made, NAMES, like(*spreads))
    with pytest.raises(DataError, match=r"prey, predator \(3 series of past\.csv\), not on hare"):
        calibration_facts.check_data(made, ["hare", "lynx"], like(1.0, 30.0))
    assert calibration_facts.other_sampling(made, sampling) == ""
    assert "samples 9" in calibration_facts.other_sampling(made, Sampling(samples=5, views=2))
    rule = Rule(0.5, dict.fromkeys(FEATURES, 0.0), dict.fromkeys(FEATURES, (0.0, 1.0)))
    widened = LanguageModel(forecaster.base, forecaster.head, decimals=1, widths=Widths(rule))
    for other, said in (
        (LanguageModel(forecaster.base, forecaster.head, decimals=2), "decimals 1, and this is 2"),
        (
            LanguageModel(forecaster.base, forecaster.head, decimals=1, number_format="digits"),
            "number format point, and this is digits",
        ),
        (
            LanguageModel(
                forecaster.base, forecaster.head, decimals=1, scale=Scale((1.0,), "given")
            ),
            "scale history 2, and this is dataset 2",
        ),
        (widened, "widths as drawn, and this is"),
    ):
        with pytest.raises(SettingsError, match=said):
            calibration_facts.check_form(made, other)
    with pytest.raises(SettingsError, match="of an earlier version"):
        calibration_facts.check_form(Calibration(made.offsets, {"decimals": 1}), forecaster)


def test_of_a_variable_that_was_never_negative_no_quantile_is():
    signed = np.column_stack([1 + np.sin(np.arange(10.0)), np.sin(np.arange(10.0))])
    history = Series("s", np.arange(10.0), signed)
    samples = np.linspace(0, 1, 9)[:, None, None] * np.ones((9, 2, 2))
    made = Calibration({0.8: np.full((3, 2), 5.0)})
    low = made.apply(_forecast(samples), history, (0.1, 0.9)).quantile(0.1)
    assert (low[:, 0] == 0).all()
    assert (low[:, 1] < 0).all()


def test_the_file_comes_back_and_vouches_for_itself(tiny_base, tmp_path):
    base = tiny_base()
    made = Calibration({0.8: np.array([[0.1, -2.5e-7]] * 3)}, {"samples": 20})
    path = calibration_files.place_of(base, None, tmp_path, NAMES)
    calibration_files.save(path, made, base, None)
    found = calibration_files.load(base, None, tmp_path, NAMES)
    assert np.array_equal(found.offsets[0.8], made.offsets[0.8])
    assert found.facts == made.facts
    others = calibration_files.place_of(base, None, tmp_path, ["hare"])
    assert others != path  # of other variables there may be another
    with pytest.raises(ModelError, match="has no calibration for hare"):
        calibration_files.load(base, None, tmp_path, ["hare"])

    content = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", path.read_text().replace("0.1", "0.2", 1), "\x00" * 50):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=r"as JSON|a JSON object|no whole calibration"):
            calibration_files.load(base, None, tmp_path, NAMES)
    for odd in ({}, {"0.8": 3}, {"0.8": {"variables": [[1]], "together": [1, 2]}}):
        body = {**content, "offsets": odd}
        body.pop("sha256")
        path.write_text(json.dumps({**body, "sha256": durable.sha256_of_json(body)}))
        with pytest.raises(ModelError, match="is no calibration"):
            calibration_files.load(base, None, tmp_path, NAMES)
    path.write_text(json.dumps(content))
    calibration_files.load(base, None, tmp_path, NAMES)
    base.sha256 = base.sha256[:16] + "0" * 48
    with pytest.raises(ModelError, match="other weights"):
        calibration_files.load(base, None, tmp_path, NAMES)
    base.sha256 = "f" * 64
    with pytest.raises(ModelError, match="qwen2 has no calibration for prey, predator"):
        calibration_files.load(base, None, tmp_path, NAMES)
