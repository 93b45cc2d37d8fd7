"""What validation holds out, scores and keeps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs

from lvlora.answers import NOTHING
from lvlora.data.dataset import Dataset, Series
from lvlora.errors import SettingsError
from lvlora.forecast.sampling import Sampling
from lvlora.text.windows import IGNORED
from lvlora.train.validation import ValidationPart, held_out_steps, keep_forecasts


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


@pytest.fixture
def part_of(tiny_folder, tmp_path):
    """A function that gives the task of forecasting the second halves of all series of a set."""

    def part(data):
        return ValidationPart(tiny_runs.plan(tiny_folder("qwen2"), tmp_path, data).windows, data)

    return part


@pytest.fixture
def file(tmp_path):
    return tmp_path / "validation.json"


def truth(part):
    return np.stack([f.values for f in part.futures])


def test_what_is_kept_takes_the_place_of_what_was(part_of, file):
    part = part_of(replace(tiny_runs.dataset(n_series=6, n_steps=24), time_name="day"))
    file.write_text("{")  # a damaged file is begun again
    keep_forecasts(file, part, truth(part) + 2, "before", 0)
    keep_forecasts(file, part, truth(part) + 1, "kept", 3)
    keep_forecasts(file, part, truth(part) - np.arange(6)[:, None, None], "kept", 6)
    result = json.loads(file.read_text())
    assert result["before"]["mae"] == 2
    assert (result["kept"]["step"], result["kept"]["mae"]) == (6, 2.5)
    assert result["kept"]["series_mae"] == [0, 1, 2, 3, 4, 5]
    assert np.allclose(result["kept"]["forecasts"][1], truth(part)[1] - 1)
    assert result["time"] == "day"
    assert result["series"][2]["id"] == "s2"
    assert np.allclose(result["series"][2]["history"], part.histories[2].values)
    assert result["series"][2]["time"] == list(part.futures[2].time)


def test_gaps_and_long_parts(part_of, file):
    data = tiny_runs.dataset(n_series=40, n_steps=12)
    for s in data:
        s.values[-1, 0] = np.nan
    part = part_of(data)
    keep_forecasts(file, part, np.where(np.isnan(truth(part)), 9, truth(part) + 1), "kept", 1)
    result = json.loads(file.read_text())
    assert result["kept"]["mae"] == pytest.approx(1)
    assert result["series"][0]["truth"][-1][0] is None
    assert len(result["series"]) == len(result["kept"]["forecasts"]) == 32
    assert len(result["kept"]["series_mae"]) == result["series_scored"] == 40


def test_forecasts_follow_the_first_half(tiny_folder, tmp_path):
    data = tiny_runs.dataset(n_series=40, n_steps=20)
    loaded = tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, data, validation_series=3)
    part = loaded.plan.part
    assert part.horizon == 10
    assert [len(s) for s in part.histories] == [10, 10, 10]
    result = loaded.validate()
    assert result.point is not None
    assert result.point.shape == (3, 10, 2)
    truth = np.stack([future.values for future in part.futures])
    assert truth.shape == result.point.shape
    assert result.errors.mae == pytest.approx(float(np.abs(result.point - truth).mean()))


def test_a_price_without_weights_is_that_of_the_forecaster(tiny_folder, tmp_path):
    for changes in ({}, {"layers": "1", "targets": ("k_proj", "up_proj")}, {"max_memory": 10**5}):
        loaded = tiny_runs.loaded(tiny_folder("llama"), tmp_path, **changes)
        part = loaded.plan.part
        forecasts = NOTHING
        for trained in (True, False):
            forecaster = loaded.forecaster(trained=trained)
            forecasts |= forecaster.at_most(part.histories, part.horizon, Sampling(samples=8))
        assert loaded.plan.cost.per_validation == part.loss_price(loaded.plan.trained) + forecasts
