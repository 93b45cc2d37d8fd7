"""Where futures lie and how widely: the rules, what they read, the file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lvlora import durable
from lvlora.data.dataset import FloatArray, Series
from lvlora.errors import ModelError
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.widths import (
    FEATURES,
    LARGEST,
    NAME,
    Rule,
    Widths,
    cycle,
    features,
    last_cycle,
    of_model,
)
from lvlora.model.catalogue import ModelSource

ANY = dict.fromkeys(FEATURES, (-100.0, 100.0))


HOSTILE: tuple[dict[str, object], ...] = (
    *({"rule": {}}, {"rule": None}, {"rule": [1.0]}, {"ranges": {}}),
    *({"constant": number} for number in (math.inf, math.nan, "wide", None, True, 1e300, 10**400)),
    *({"rule": {**dict.fromkeys(FEATURES, 0.0), "step": n}} for n in ("1", math.nan, -1e9, [])),
    *({"ranges": {**ANY, "step": ends}} for ends in ([2.0, 1.0], 3.0, [0.0], [-math.inf, 0.0])),
    *({"pull": pull} for pull in ([], 1)),
    {"facts": 3},
)


def linear(constant: float, **weights: float) -> Rule:
    named = {name.replace("_", " "): w for name, w in weights.items()}
    return Rule(constant=constant, rule={**dict.fromkeys(FEATURES, 0.0), **named}, ranges=ANY)


def rule(constant: float, **weights: float) -> Widths:
    return Widths(**linear(constant, **weights).model_dump())


def forecast(samples: FloatArray, history: FloatArray) -> Forecast:
    before = Series("a", np.arange(float(len(history))), history)
    time = np.arange(float(samples.shape[1]))
    return Forecast("a", time, samples, None, len(history), history=before)


@pytest.mark.parametrize("n_samples", [2, 5, 20])
def test_futures_are_moved_from_their_median_which_stays(n_samples: int) -> None:
    rng = np.random.default_rng(n_samples)
    plain = forecast(rng.normal(5, 1, (n_samples, 4, 2)), rng.normal(0, 20, (30, 2)))
    for factor in (0.3, 3.0):
        result = rule(math.log(factor)).apply(plain)
        np.testing.assert_array_equal(result.median, plain.median)
        np.testing.assert_array_equal(result.quantile(0.5), plain.median)
        np.testing.assert_array_equal(
            np.argsort(result.samples, axis=0), np.argsort(plain.samples, axis=0)
        )
        for level in (0.1, 0.25, 0.9):
            np.testing.assert_allclose(
                result.quantile(level) - result.median,
                factor * (plain.quantile(level) - plain.median),
                atol=1e-12,
            )
    # no factor is beyond the limits
    np.testing.assert_allclose(
        rule(99.0).apply(plain).samples - plain.median, LARGEST * (plain.samples - plain.median)
    )


def test_what_was_never_negative_stays_so() -> None:
    history = np.column_stack([np.arange(1.0, 9.0), np.linspace(-1, 1, 8)])
    samples = np.linspace(0, 1, 9)[:, None, None] * np.ones((9, 3, 2))
    result = rule(math.log(4)).apply(forecast(samples, history))
    assert result.samples[..., 0].min() == 0
    assert result.samples[..., 1].min() < -1


@pytest.mark.parametrize(("u", "share"), [(99.0, 1.0), (-99.0, 0.0), (0.0, 0.5)])
def test_medians_go_a_part_of_the_way_to_the_last_cycle(u: float, share: float, unbounded) -> None:
    rng = np.random.default_rng(4)
    season = np.resize([-2.0, 5.0, 2.0, 4.0, 3.0], 31)
    history = np.column_stack([season, np.cumsum(rng.normal(0, 1, 31))])
    plain = forecast(rng.normal(5, 5, (8, 7, 2)), history)
    result = rule(math.log(2)).model_copy(update={"pull": linear(u)}).apply(plain)
    expected = plain.median.copy()
    # one cycle ahead; a walk has none
    expected[:5, 0] += share * (season[26:31] - expected[:5, 0])
    np.testing.assert_allclose(result.median, expected)
    widened = expected + 2 * (plain.samples - plain.median)
    np.testing.assert_allclose(result.samples, widened)
    # a model that is sure of itself is believed
    near = forecast(5 + 0.02 * (plain.samples - plain.median), history)
    np.testing.assert_array_equal(
        rule(0.0).model_copy(update={"pull": linear(u)}).apply(near).median, near.median
    )


def test_gaps_of_the_last_cycle_leave_what_is_given() -> None:
    season = np.resize([1.0, 5.0, 2.0, 4.0, 3.0], 31)
    season[-5] = np.nan
    inputs = np.full((7, 1), 8.0)
    result = last_cycle(season[:, None], inputs)[:, 0]
    np.testing.assert_array_equal(result, [8.0, *season[2:6], 8.0, 8.0])
    np.testing.assert_array_equal(last_cycle(season[:, None], inputs[:2])[:, 0], [8.0, season[2]])
    for nothing in (np.full((6, 1), np.nan), np.full((6, 1), 2.0)):
        np.testing.assert_array_equal(last_cycle(nothing, inputs), inputs)


def test_cycles() -> None:
    rng = np.random.default_rng(6)
    wave = np.sin(2 * np.pi * np.arange(70) / 12)
    lag, distance = cycle(wave + rng.normal(0, 0.1, 70))
    assert lag % 12 == 0
    assert distance < 0.3
    assert cycle(rng.normal(0, 1, 70))[1] > 0.6
    assert cycle(np.cumsum(rng.normal(0, 1, 70)))[1] > 0.6
    for nothing in (np.full(9, 2.0), np.full(9, np.nan), np.array([1.0])):
        assert cycle(nothing) == (0, 1.0)


def test_what_it_reads_of_a_history() -> None:
    line = np.arange(10.0)[:, None]
    samples = np.array([4.0, 5.0, 8.0])[:, None, None] * np.ones((3, 2, 1))
    result = {name: z[:, 0] for name, z in features(line, samples).items()}
    assert set(result) == set(FEATURES)
    deviation = np.sqrt(8.25)
    # the samples are 1, 0 and 3 away from their median, and steps are of 1
    np.testing.assert_allclose(result["spread over steps"], np.log(4 / 3))
    np.testing.assert_allclose(result["spread over deviation"], np.log(4 / 3 / deviation))
    np.testing.assert_allclose(result["step"], np.log([1, 2]))
    np.testing.assert_allclose(result["length"], np.log(10))
    np.testing.assert_allclose(result["trend"], 1)
    np.testing.assert_allclose(result["last"], 4.5 / deviation)
    assert result["whole numbers"].tolist() == [1, 1]
    assert result["roughness"].tolist() == [-3, -3]  # a line has no second differences
    zigzag = features(0.5 + np.resize([0.0, 1.0], 50)[:, None], samples)
    np.testing.assert_allclose(zigzag["roughness"], np.log(2))
    assert zigzag["trend"].max() < 0.01
    assert zigzag["whole numbers"].max() == 0
    np.testing.assert_allclose(zigzag["returns"], np.log(0.02))  # 0, which is below the least
    # lags of 1 to 4 steps are as long as their distances, 2.5 on average: the first behind it is 3
    np.testing.assert_allclose(result["returns"], np.log(3 / 2.5))
    assert result["missing"].tolist() == [0, 0]
    gappy = np.stack([np.arange(10.0), np.where(np.arange(10) % 5 == 2, np.nan, 1.0)], axis=1)
    of_two = features(gappy, np.repeat(samples, 2, axis=2))
    np.testing.assert_allclose(of_two["missing"], [[0, 0.2], [0, 0.2]])


@pytest.mark.parametrize(
    "history",
    [
        np.full((6, 1), 3.0),
        np.full((6, 1), np.nan),
        np.array([[1.0]]),
        np.array([[np.nan], [2.0], [np.nan], [5.0], [np.nan]]),
    ],
)
def test_any_history_has_finite_features(history: FloatArray) -> None:
    for samples in (np.zeros((4, 3, 1)), np.random.default_rng(0).normal(size=(4, 3, 1))):
        for name, z in features(history, samples).items():
            assert z.shape == (3, 1), name
            assert np.isfinite(z).all(), name


def test_features_have_no_unit() -> None:
    rng = np.random.default_rng(3)
    history, samples = rng.normal(0, 1, (40, 2)), rng.normal(0, 1, (9, 5, 2))
    ours, theirs = features(history, samples), features(1e6 * history, 1e6 * samples)
    for name in FEATURES:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9, err_msg=name)


def test_only_futures_drawn_by_the_models_own_odds_are_moved() -> None:
    output = rule(0.1)
    assert output.serves(Sampling(samples=20))
    assert output.serves(Sampling(samples=2, views=2))
    for other in ({"temperature": 0.9}, {"top_p": 0.9}, {"greedy": True}, {"samples": 1}):
        assert not output.serves(Sampling(**{"samples": 20, **other})), other


def test_a_forecaster_moves_what_it_draws(tiny_base, unbounded) -> None:
    plain = LanguageModel(tiny_base(), decimals=1)
    history = Series("s", np.arange(12.0), 5 + np.sin(np.arange(12.0))[:, None])
    (drawn,) = plain.predict([history], 3, Sampling(samples=6))
    assert plain.facts().widths is None
    output = rule(math.log(2))
    widened = LanguageModel(plain.base, decimals=1, widths=output)
    (moved,) = widened.predict([history], 3, Sampling(samples=6))
    np.testing.assert_array_equal(moved.median, drawn.median)
    expected = drawn.median + 2 * (drawn.samples - drawn.median)
    expected = np.maximum(expected, 0)
    np.testing.assert_allclose(moved.samples, expected)
    assert not np.allclose(moved.samples, drawn.samples)
    assert widened.facts().widths == output.sha256
    (greedy,) = widened.predict([history], 3, Sampling(greedy=True))
    assert not greedy.is_moved


def test_the_file_comes_back_and_vouches_for_itself(tiny_base, tmp_path) -> None:
    base, path = tiny_base(), tmp_path / NAME
    source = ModelSource("folder", "tiny", str(tmp_path))
    assert of_model(source, base) is None
    output = Widths(
        **linear(0.25, step=-0.5, whole_numbers=1.5).model_dump(), facts={"series": {"clean": 3}}
    )
    pulling = output.model_copy(update={"pull": linear(-1.0, trend=2.0)})
    assert pulling.sha256 != output.sha256
    pulling.save(path, base.sha256)
    assert of_model(source, base) == pulling
    output.save(path, base.sha256)
    assert of_model(source, base) == output
    assert of_model(replace(source, kind="hub"), base) is None

    content = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", "[" * 10_000, path.read_text().replace("0.25", "0.26", 1)):
        path.write_text(damaged)
        with pytest.raises(ModelError) as caught:
            Widths.load(path, base.sha256)
        assert "Delete the file" in caught.value.hint
    content.pop("sha256")
    for odd in HOSTILE:
        body = {**content, **odd}
        path.write_text(json.dumps({**body, "sha256": durable.sha256_of_json(body)}))
        with pytest.raises(ModelError) as caught:
            Widths.load(path, base.sha256)
        assert "Delete the file" in caught.value.hint, odd
    output.save(path, base.sha256)
    base.sha256 = "0" * 64
    with pytest.raises(ModelError, match="other weights") as caught:
        Widths.load(path, base.sha256)
    assert "Delete the file" in caught.value.hint
