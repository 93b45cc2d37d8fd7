"""What validation holds out and scores."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_runs

from lvlora.answers import NOTHING
from lvlora.data.dataset import Dataset, Series
from lvlora.errors import SettingsError
from lvlora.forecast.sampling import Sampling
from lvlora.text.windows import IGNORED
from lvlora.train.validation import gain_in, held_out_steps


def data_of(*lengths):
    waves = tiny_runs.dataset(len(lengths), max(lengths, default=0))
    series = tuple(s.steps(0, n) for s, n in zip(waves, lengths, strict=True))
    return replace(waves, series=series)


@pytest.mark.parametrize(
    ("lengths", "n_steps", "expected"),
    [
        ((60,), None, 15),
        ((60,), 0, 0),
        ((60,), 7, 7),
        ((60,) * 7, None, 15),
        ((60,) * 8, None, 0),
        ((60,) * 8, 5, 5),
        ((12,), None, 4),
        ((7,), None, 0),
        ((900,), None, 100),
        ((10, 40, 400), None, 10),
    ],
)
def test_how_many_steps_are_held_out(tmp_path, lengths, n_steps, expected):
    settings = tiny_runs.settings("bundled", tmp_path, validation_steps=n_steps)
    assert held_out_steps(settings, data_of(*lengths)) == expected
    without = settings.model_copy(update={"validation": False, "validation_steps": None})
    assert held_out_steps(without, data_of(*lengths)) == 0


def test_what_no_series_can_spare_is_refused(tmp_path):
    settings = tiny_runs.settings("bundled", tmp_path, validation_steps=16)
    with pytest.raises(SettingsError, match="no series has twice as many steps, the longest 30"):
        held_out_steps(settings, data_of(30, 12))
    assert held_out_steps(settings, data_of(32, 12)) == 16


def test_held_out_steps_change_nothing_of_what_is_trained_on(tiny_folder, tmp_path):
    """Whatever the last steps are: scale, windows, order, simulated series."""
    model, data = tiny_folder("qwen2"), data_of(40, 44)
    wild = replace(
        data,
        series=tuple(
            replace(s, values=np.where(np.arange(len(s))[:, None] < len(s) - 10, s.values, 1e4))
            for s in data
        ),
    )
    options = {"validation_steps": 10, "mix": 0.4, "scale_jitter": 0.2}
    one, other = (tiny_runs.plan(model, tmp_path, d, **options) for d in (data, wild))
    assert one.windows.scale == other.windows.scale
    for i in range(12):
        assert np.array_equal(one.windows.batch(i).inputs, other.windows.batch(i).inputs)
    assert [len(s) for s in one.train] == [30, 34]


def test_all_but_the_test_part_is_trained_on_and_scored(tiny_folder, tmp_path):
    data = data_of(40, 40, 40, 40, 6)
    plan = tiny_runs.plan(tiny_folder("qwen2"), tmp_path, data, validation_steps=8)
    names = {s.id for s in plan.train}
    assert names == {*plan.split.train, *plan.split.validation}
    assert plan.split.test
    assert not names & set(plan.split.test)
    lengths = {s.id: len(s) for s in plan.train}
    assert all(n == (6 if name == "s4" else 32) for name, n in lengths.items())
    scored = {s.id for s in plan.part.histories}
    assert scored == names - {"s4"}
    assert any("last 8 steps" in note for note in plan.notes)


@pytest.mark.parametrize("n_series", [1, 2, 4, 7])
def test_windows_cover_the_last_steps_and_know_what_was_before(tiny_folder, tmp_path, n_series):
    data = data_of(*[48] * n_series)
    plan = tiny_runs.plan(tiny_folder("qwen2"), tmp_path, data, validation_steps=12)
    part, n = plan.part, len(plan.train)
    n_windows = -(-6 // n)
    assert part.horizon == 12 // n_windows
    assert len(part.histories) == n * n_windows
    for history, future in zip(part.histories, part.futures, strict=True):
        assert history.time[-1] + 1 == future.time[0] >= 36
        assert len(future) == part.horizon
    times = [t for f in part.futures for t in f.time]
    assert sorted(times) == sorted([*range(48 - n_windows * part.horizon, 48)] * n)
    # the loss is of these steps alone
    targets = sum(int((b.targets != IGNORED).sum()) for b in part.batches)
    codec, scale = plan.windows.codec, plan.windows.scale
    texts = [codec.encode(scale.apply(data[s.id].values[-12:])) for s in plan.train]
    assert targets <= sum(map(len, texts))
    assert part.n_held_out == 12


def test_a_series_without_values_at_its_end_can_be_trained_on(tiny_folder, tmp_path):
    data = data_of(40)
    values = data[0].values.copy()
    values[-10:] = np.nan
    gone = Dataset((Series("a", data[0].time, values),), data.variables)
    loaded = tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, gone, validation_steps=10)
    result = loaded.validate()
    assert result.errors.mae is None
    assert np.isfinite(result.errors.loss)


def test_forecasts_follow_the_first_half(tiny_folder, tmp_path):
    data = tiny_runs.dataset(n_series=40, n_steps=20)
    loaded = tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, data, validation_series=3)
    part = loaded.plan.part
    assert part.horizon == 10
    assert [len(s) for s in part.histories] == [10, 10, 10]
    part.futures[1].values[-1, 0] = np.nan  # an unknown truth counts nowhere
    result = loaded.validate()
    forecasts = loaded.forecaster().predict(part.histories, 10, Sampling(samples=8))
    errors = [np.abs(f.median - s.values) for f, s in zip(forecasts, part.futures, strict=True)]
    assert result.errors.mae == pytest.approx(float(np.nanmean(errors)))
    assert result.maes == pytest.approx([float(np.nanmean(e)) for e in errors], rel=1e-6)


def test_a_gain_is_a_paired_mean_with_students_interval():
    gain = gain_in([2.0, 3.0, None, 5.0], [1.0, 1.0, 1.0, 2.0], "series")
    assert (gain.mean, gain.n, gain.of) == (2.0, 3, "series")
    reach = 4.30265272991 / np.sqrt(3)  # the quantile of two degrees of freedom
    assert (gain.low, gain.high) == pytest.approx((2 - reach, 2 + reach))
    assert gain_in([2.0], [1.0], "windows").low is None
    assert gain_in([], [], "series") is gain_in([], [1.0, 2.0], "series") is None


def test_a_price_without_weights_is_that_of_the_forecaster(tiny_folder, tmp_path):
    for changes in ({}, {"layers": "1", "targets": ("k_proj", "up_proj")}, {"max_memory": 10**5}):
        loaded = tiny_runs.loaded(tiny_folder("llama"), tmp_path, **changes)
        part = loaded.plan.part
        forecasts = NOTHING
        for trained in (True, False):
            forecaster = loaded.forecaster(trained=trained)
            forecasts |= forecaster.at_most(part.histories, part.horizon, Sampling(samples=8))
        assert loaded.plan.cost.per_validation == part.loss_price(loaded.plan.trained) + forecasts
