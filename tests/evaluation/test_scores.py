"""The table of forecasters: what is cut, what is scored, what is never dropped."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scored import score_model, score_rival

from lvlora.data.dataset import Dataset, Series
from lvlora.evaluation.comparison import by_cluster, compare, difference
from lvlora.evaluation.folder import Pieces
from lvlora.evaluation.protocol import Protocol, task
from lvlora.evaluation.scores import Scoring, score_floor
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import negative_log_likelihood
from lvlora.forecast.rivals import LastValue
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import Scale

LEVELS = (0.1, 0.5, 0.9)


def waves(n: int = 4, steps: int = 12) -> Dataset:
    t = np.arange(float(steps))
    series = tuple(
        Series(f"s{i}", t, np.stack([2 + np.sin(t + i), 3 + np.cos(t + i)], 1)) for i in range(n)
    )
    return Dataset(series, ("prey", "predator"), "waves")


def test_a_task_is_the_beginning_of_every_long_enough_series() -> None:
    data = waves()
    short = Series("short", np.arange(5.0), np.ones((5, 2)))
    part = task(Dataset((*data.series, short), data.variables), Protocol("all", 8, 3))
    assert [h.id for h in part.histories] == ["s0", "s1", "s2", "s3"]
    assert part.left_out == 1
    assert part.truth.shape == (4, 3, 2)
    np.testing.assert_array_equal(part.truth[1], data.series[1].values[8:11])
    np.testing.assert_array_equal(part.futures[0].time, [8, 9, 10])


def test_a_rival_sees_the_history_and_nothing_of_the_future() -> None:
    data = waves()
    part = task(data, Protocol("all", 8, 3))
    steps = []
    entry = score_rival(LastValue(), part, data, LEVELS, progress=steps.append)
    expected = np.stack([np.repeat(s.values[7:8], 3, axis=0) for s in data])
    np.testing.assert_allclose(entry.point, expected)
    assert entry.row.mae == pytest.approx(np.abs(expected - part.truth).mean())
    assert sum(steps) == 4
    assert entry.row.flops is None


def test_the_floor_is_the_rounding_of_the_text() -> None:
    part = task(waves(), Protocol("all", 8, 3))
    entry = score_floor(part, 1, LEVELS, Scale((0.5, 0.5), "dataset"))
    assert 0 < entry.row.mae <= 0.5 * 0.1 * 0.5
    assert np.abs(entry.point / 0.5 * 10 - np.round(entry.point / 0.5 * 10)).max() < 1e-9


def test_a_model_has_samples_quantiles_and_a_price(tiny_base) -> None:
    part = task(waves(), Protocol("all", 8, 3))
    forecaster = LanguageModel(tiny_base("qwen2"), scale=Scale((0.4, 0.4), "dataset"))
    entry = score_model(forecaster, part, Sampling(samples=5, seed=1), LEVELS)
    assert entry.samples is not None
    assert entry.samples.shape == (4, 5, 3, 2)
    np.testing.assert_allclose(entry.point, np.median(entry.samples, axis=1))
    facts = entry.row.model_dump(mode="json")
    assert facts["kind"] == "model"
    assert facts["flops"]["executed"] == forecaster.usage.price.executed > 0
    assert set(facts["coverage"]) == {"0.8"}


def test_a_model_s_pieces_are_not_done_again(tiny_base, tmp_path) -> None:
    part = task(waves(), Protocol("all", 8, 3))
    forecaster = LanguageModel(tiny_base("qwen2"), scale=Scale((0.4, 0.4), "dataset"))
    sampling = Sampling(samples=100, seed=1)  # one series at a time
    assert Scoring(forecaster, part, sampling).planned.places == [[0], [1], [2], [3]]
    reference = score_model(forecaster, part, sampling, LEVELS)
    file, calls = tmp_path / "pieces.jsonl", []
    pieces = Pieces(file)

    def stop(n: int) -> None:
        calls.append(n)
        if sum(calls) >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_model(forecaster, part, sampling, LEVELS, pieces, stop)
    before = forecaster.usage.price
    again = Pieces(file)
    assert "s0" in again
    assert "s3" not in again
    entry = score_model(forecaster, part, sampling, LEVELS, again)
    np.testing.assert_array_equal(entry.samples, reference.samples)
    # the price is that of all pieces, whoever made them
    assert entry.row.flops == reference.row.flops
    assert 0 < (forecaster.usage.price - before).executed < reference.row.flops.executed
    spent = forecaster.usage.price
    assert score_model(forecaster, part, sampling, LEVELS, Pieces(file)).row.seconds > 0
    assert forecaster.usage.price == spent


class Counting(LastValue):
    """The last value; tells which histories it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def forecast(self, time, history):
        self.asked.append(len(history))
        return super().forecast(time, history)


def test_a_rival_s_series_are_not_done_again(tmp_path) -> None:
    data = waves()
    part = task(data, Protocol("all", 8, 3))
    file = tmp_path / "pieces.jsonl"
    first = Pieces(file)
    reference = score_rival(Counting(), part, data, LEVELS, first)
    lines = file.read_text().splitlines(keepends=True)
    # after an empty line, fitting and two series; killed in the middle of a line
    file.write_text("".join(lines[:4]) + lines[4][:20])
    rival = Counting()
    entry = score_rival(rival, part, data, LEVELS, Pieces(file))
    assert len(rival.asked) == 2
    np.testing.assert_array_equal(entry.point, reference.point)
    assert all(name in Pieces(file) for name in part.ids)


def test_the_paired_interval_holds_the_difference() -> None:
    data = waves(30)
    part = task(data, Protocol("all", 8, 3))
    floor = score_floor(part, 2, LEVELS)
    floor.add(kind="model")
    last = score_rival(LastValue(), part, data, LEVELS)
    compare([floor, last])
    assert floor.row.mae_minus == {}
    gap = last.row.mae_minus[floor.row.name]
    assert gap.mean == pytest.approx(last.row.mae - floor.row.mae)
    assert 0 < gap.low < gap.mean < gap.high
    compare([floor, last])
    assert last.row.mae_minus[floor.row.name] == gap


def test_the_interval_is_the_one_that_scipy_finds() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(1.0, 0.5, 60), rng.normal(0.8, 0.5, 60)
    result = difference(ours, theirs)
    expected = stats.bootstrap(
        (ours - theirs,), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert result.low == pytest.approx(expected.low, abs=0.01)
    assert result.high == pytest.approx(expected.high, abs=0.01)


def test_series_that_one_of_a_pair_lacks_are_left_out_of_their_difference() -> None:
    gap = difference(np.array([1.0, np.nan, 3.0]), np.array([0.0, 1.0, 1.0]))
    assert gap.mean == pytest.approx(1.5)
    alone = difference(np.array([1.0, np.nan]), np.array([0.0, 1.0]))
    assert alone.mean == 1.0
    assert alone.low is None
    assert difference(np.array([np.nan]), np.array([1.0])).mean is None


def test_a_model_is_scored_by_the_likelihood_of_the_truth(tiny_base) -> None:
    part = task(waves(), Protocol("all", 8, 3))
    model = LanguageModel(tiny_base("qwen2"), scale=Scale((0.4, 0.4), "dataset"))
    bound = Scoring(model, part, Sampling(samples=2)).price_bound
    entry = score_model(model, part, Sampling(samples=2), LEVELS)
    arrays = negative_log_likelihood(model, part.histories, part.futures)
    assert entry.row.nll == pytest.approx(np.mean(arrays), abs=1e-5)
    assert (entry.row.n_values, entry.row.nll_impossible) == (4 * 3 * 2, 0)
    assert entry.row.flops is not None
    assert entry.row.flops.executed <= bound.executed
    assert entry.row.flops.coursework <= bound.coursework
    rival = score_rival(LastValue(), part, waves(), LEVELS).row.model_dump()
    assert rival["nll"] is None
    # an impossible truth: no number in JSON, and how many
    futures = [Series(f.id, f.time, -f.values) for f in part.futures]
    odd = replace(part, futures=futures)
    facts = score_model(model, odd, Sampling(samples=2), LEVELS).row.model_dump(mode="json")
    assert (facts["nll"], facts["nll_possible"], facts["nll_impossible"]) == (None, None, 24)


def test_rolling_origins_go_back_from_the_end_of_series_of_any_length() -> None:
    data = waves(2, 20)
    longer = Series("long", np.arange(31.0), np.random.default_rng(0).random((31, 2)))
    short = Series("short", np.arange(9.0), np.ones((9, 2)))
    data = Dataset((*data.series, longer, short), data.variables)
    part = task(data, Protocol("all", None, 4, windows=3))
    assert part.ids[:3] == ("s0@8", "s0@12", "s0@16")
    assert part.ids[-3:] == ("long@19", "long@23", "long@27")
    assert part.of_series == tuple(n for n in ("s0", "s1", "long") for _ in range(3))
    assert (part.n_series, part.left_out, part.context) == (3, 1, 8)
    for history, future in zip(part.histories, part.futures, strict=True):
        assert len(future) == 4
        assert future.time[0] == history.time[-1] + 1
    np.testing.assert_array_equal(part.truth[-1], longer.values[-4:])


def test_no_future_of_any_window_is_learnt_from() -> None:
    data = waves(3, 20)
    part = task(data[:1], Protocol("all", None, 4, windows=3))
    seen = part.learnable(data)
    assert [s.id for s in seen] == ["s0", "s1", "s2"]
    # nothing at or after the first time that is scored, of other series neither
    assert [len(s) for s in seen] == [8, 8, 8]


def test_one_window_keeps_the_series_name() -> None:
    """So that its futures are drawn as those of ``lvlora forecast --holdout``."""
    part = task(waves(2), Protocol("all", None, 3, windows=1))
    assert part.ids == ("s0", "s1")
    assert [len(h) for h in part.histories] == [9, 9]


def test_errors_by_cluster() -> None:
    data = waves()
    part = task(data, Protocol("all", 8, 3))
    entry = score_rival(LastValue(), part, data, LEVELS)
    names = by_cluster([entry], part, {"s0": "b", "s1": "a", "s2": "a", "s3": "a"})
    assert list(names.items()) == [("a", 3), ("b", 1)]
    errors = np.abs(entry.point - part.truth)
    assert entry.row.per_cluster["b"] == pytest.approx(errors[0].mean())
    assert entry.row.per_cluster["a"] == pytest.approx(errors[1:].mean())
