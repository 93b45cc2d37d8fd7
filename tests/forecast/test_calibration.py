"""Conformal offsets: the order statistic, the coverage, the pooling, the file."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora import durable
from lvlora.data.dataset import Series
from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.forecast.calibration.offsets import (
    ENOUGH,
    Calibration,
    Facts,
    calibrate,
    drawn_by,
    form_of,
    load,
    offset,
    place_of,
    share_inside,
    unit_of,
)
from lvlora.forecast.calibration.rule import FEATURES
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import Scale

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def _history(spread=1.0, level=0.0, n_variables=2):
    """Ten steps whose standard deviation is ``spread``."""
    values = level + spread * np.tile([[-1.0], [1.0]], (5, n_variables))
    return Series("s", np.arange(10.0), values)


def _forecast(samples, history=None):
    n_steps, n_variables = samples.shape[1:]
    history = history or _history(n_variables=n_variables)
    return Forecast("s", np.arange(n_steps) + 1.0, samples, None, 10, history=history)


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
    new = [
        _forecast(s, _history(u[0], 100 * u[0]))
        for s, u in zip(samples[half:], units[half:], strict=True)
    ]
    calibrated = [made.apply(f, QUANTILES) for f in new]
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
    plain = _forecast(rng.gamma(2, size=(20, 3, 2)), _history(level=3.0))
    made = Calibration({0.8: np.full((3, 3), 2.0), 0.5: np.full((3, 3), -9.0)})
    found = made.apply(plain, QUANTILES)
    assert np.array_equal(found.median, plain.median)
    assert np.array_equal(found.mean, plain.mean)
    assert np.array_equal(found.quantile(0.5), plain.median)
    assert np.allclose(found.quantile(0.9), plain.quantile(0.9) + 2)
    assert (found.quantile(0.1) == np.maximum(plain.quantile(0.1) - 2, 0)).all()
    # a negative offset shrinks an interval to its median at most
    assert np.array_equal(found.quantile(0.25), plain.median)
    ordered = [found.quantile(q) for q in QUANTILES]
    assert all((a <= b).all() for a, b in pairwise(ordered))


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
    found = some.apply(three, (0.1, 0.9))
    expected = three.quantile(0.9) + some.offsets[0.8][-1, :2, None]
    assert np.allclose(found.quantile(0.9), expected)


def test_the_unit_is_the_spread_of_the_history():
    values = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [1.0, np.nan, 0.0], [3.0, np.nan, 0.0]])
    assert unit_of(Series("s", np.arange(4.0), values)).tolist() == [1.0, 0.05, 1.0]


def test_what_was_not_calibrated_is_refused():
    made = Calibration({0.8: np.zeros((3, 5))})
    plain = _forecast(np.zeros((4, 6, 2)))
    with pytest.raises(SettingsError, match="6 steps, and the calibration is for 5"):
        made.apply(plain, (0.1, 0.9))
    with pytest.raises(SettingsError, match=r"no offset for intervals of 0\.9; .* for 0\.8") as e:
        made.check((0.05, 0.95), 3)
    assert "0.1,0.5,0.9" in e.value.hint
    # one end alone is the end of an interval, too
    assert set(made.apply(_forecast(np.zeros((4, 5, 2))), (0.1,)).calibrated) == {0.1}
    with pytest.raises(SettingsError, match="no interval to calibrate"):
        calibrate(np.zeros((9, 2, 1)), np.zeros((9, 5, 2, 1)), np.ones((9, 1)), (0.5, 0.9))
    with pytest.raises(SettingsError, match="at least two samples"):
        calibrate(np.zeros((9, 2, 1)), np.zeros((9, 1, 2, 1)), np.ones((9, 1)), (0.1, 0.9))


NAMES = ("prey", "predator")


def _facts(model, sampling, **changes):
    facts = {
        **{"data": "past.csv", "data_sha256": "", "split": "all", "coverage_before": {}},
        **{"series": 3, "context": 8, "horizon": 3, "variables": list(NAMES)},
        "spread": [(1.0, 2.0), (20.0, 50.0)],
    }
    return Facts(**{**facts, **drawn_by(sampling), **form_of(model), **changes})


def test_it_serves_what_it_was_made_for_and_nothing_else(tiny_base):
    model, sampling = LanguageModel(tiny_base(), decimals=1), Sampling(samples=9, views=2)
    facts = _facts(model, sampling)
    assert facts.origin == (
        "Intervals calibrated by 3 series of past.csv (3 steps from 8), 9 samples each."
    )
    wave = np.sin(np.arange(20.0))[:, None] * np.sqrt(2)

    def like(*spreads):
        return [Series("s", np.arange(20.0), wave * spreads)]

    facts.check(model, NAMES, like(0.15, 400.0))
    for spreads in ((0.05, 30.0), (1.0, 900.0)):
        with pytest.raises(DataError, match=r"varies by .* here .* past\.csv"):
            facts.check(model, NAMES, like(*spreads))
    with pytest.raises(DataError, match="not on hare, lynx"):
        facts.check(model, ["hare", "lynx"], like(1.0, 30.0))
    assert facts.unlike(sampling) == ""
    assert "samples 9" in facts.unlike(Sampling(samples=5, views=2))
    rule = {"rule": dict.fromkeys(FEATURES, 0.0), "ranges": dict.fromkeys(FEATURES, (0.0, 1.0))}
    for name, change in (
        ("decimals", {"decimals": 2}),
        ("number format", {"number_format": "digits"}),
        ("scale", {"scale": Scale((1.0,), "given")}),
        ("widths", {"widths": Widths(constant=0.5, **rule)}),
    ):
        other = LanguageModel(model.base, model.head, **{"decimals": 1, **change})
        with pytest.raises(SettingsError, match=f"the calibration is for {name} "):
            facts.check(other, NAMES, like(1.0, 30.0))


def test_of_a_variable_that_was_never_negative_no_quantile_is():
    signed = np.column_stack([1 + np.sin(np.arange(10.0)), np.sin(np.arange(10.0))])
    history = Series("s", np.arange(10.0), signed)
    samples = np.linspace(0, 1, 9)[:, None, None] * np.ones((9, 2, 2))
    made = Calibration({0.8: np.full((3, 2), 5.0)})
    low = made.apply(_forecast(samples, history), (0.1, 0.9)).quantile(0.1)
    assert (low[:, 0] == 0).all()
    assert (low[:, 1] < 0).all()


def test_the_file_comes_back_and_vouches_for_itself(tiny_base, tmp_path):
    model = LanguageModel(tiny_base(), decimals=1)
    base, facts = model.base, _facts(model, Sampling(samples=20))
    made = Calibration({0.8: np.array([[0.1, -2.5e-7, 3.0]] * 3)}, facts)
    history = [Series("s", np.arange(20.0), np.sin(np.arange(20.0))[:, None] * [1.5, 40.0])]
    path = place_of(base, None, tmp_path, NAMES)
    made.save(path, base, None)
    found = load(model, None, tmp_path, NAMES, history)
    assert np.array_equal(found.offsets[0.8], made.offsets[0.8])
    assert found.facts == facts
    with pytest.raises(ModelError, match="has no calibration for hare"):
        load(model, None, tmp_path, ["hare"], history)

    content = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", path.read_text().replace("0.1", "0.2", 1), "\x00" * 50):
        path.write_text(damaged)
        with pytest.raises(ModelError):
            load(model, None, tmp_path, NAMES, history)
    content.pop("sha256")
    rows, told = content["offsets"]["0.8"], content["facts"]
    for odd in (
        *({"offsets": o} for o in ({}, None, [], {"0.8": 3}, {"wide": rows}, {"2": rows})),
        *({"offsets": {"0.8": {**rows, "together": x}}} for x in ([1, 2], [math.nan] * 3, "abc")),
        *({"offsets": {"0.8": {**rows, "together": [x] * 3}}} for x in (1e300, "1", None, [])),
        {"offsets": {"0.8": {**rows, "variables": [rows["together"]]}}},
        {"offsets": {"0.8": {"together": rows["together"]}}},
        *({"facts": f} for f in ({}, None, {**told, "variables": 3}, {**told, "spread": [1, 2]})),
        *({"facts": {**told, "horizon": n}} for n in (-1, 10**9, "3", None)),
    ):
        body = {**content, **odd}
        path.write_text(json.dumps({**body, "sha256": durable.sha256_of_json(body)}))
        with pytest.raises(ModelError) as caught:
            load(model, None, tmp_path, NAMES, history)
        assert "--calibrate" in caught.value.hint, odd
    made.save(path, base, None)
    base.sha256 = base.sha256[:16] + "0" * 48
    with pytest.raises(ModelError, match="other weights"):
        load(model, None, tmp_path, NAMES, history)
