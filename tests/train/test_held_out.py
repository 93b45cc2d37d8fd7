"""Few series are validated by their own last steps, which nothing of the training may see."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs

from lvlora.errors import SettingsError
from lvlora.flops.ledger import Ledger
from lvlora.series.dataset import Dataset, Series
from lvlora.text.windows import IGNORED
from lvlora.train.held_out import steps_of
from lvlora.train.new_run import stored_settings
from lvlora.train.run_folder import RunFolder


def data_of(*lengths):
    made = tiny_runs.dataset(len(lengths), max(lengths, default=0))
    series = tuple(s.steps(0, n) for s, n in zip(made, lengths, strict=True))
    return replace(made, series=series)


@pytest.mark.parametrize(
    ("lengths", "asked", "expected"),
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
def test_how_many_steps_are_held_out(tmp_path, lengths, asked, expected):
    settings = tiny_runs.settings("bundled", tmp_path, validation_steps=asked)
    assert steps_of(settings, data_of(*lengths)) == expected
    without = settings.model_copy(update={"validation": False, "validation_steps": None})
    assert steps_of(without, data_of(*lengths)) == 0


def test_what_no_series_can_spare_is_refused(tmp_path):
    settings = tiny_runs.settings("bundled", tmp_path, validation_steps=16)
    with pytest.raises(SettingsError, match="no series has twice as many steps, the longest 30"):
        steps_of(settings, data_of(30, 12))
    assert steps_of(settings, data_of(32, 12)) == 16


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
    for history, future in zip(part.histories, part.scored.futures, strict=True):
        assert history.time[-1] + 1 == future.time[0] >= 36
        assert len(future) == part.horizon
    times = [t for f in part.scored.futures for t in f.time]
    assert sorted(times) == sorted([*range(48 - n_windows * part.horizon, 48)] * n)
    # the loss is of these steps alone
    targets = sum(int((b.targets != IGNORED).sum()) for b in part.batches)
    codec, scale = plan.windows.codec, plan.windows.scale
    texts = [codec.encode(scale.apply(data[s.id].values[-12:])) for s in plan.train]
    assert targets <= sum(map(len, texts))
    assert part.scored.facts()["held_out"] == 12


def test_a_run_on_one_series_spends_what_was_priced_and_repeats_itself(tiny_folder, tmp_path):
    from lvlora import fine_tune

    data = data_of(60)
    options = tiny_runs.settings(tiny_folder("qwen2"), tmp_path, mix=0.3).model_dump(
        exclude_defaults=True, exclude={"runs"}
    )
    made = [fine_tune(data, runs=tmp_path / name, **options) for name in ("a", "b")]
    one, other = made
    assert one.validations == 3
    assert one.gain.of == "windows"
    assert one.gain.n == 6
    assert one.gain.mean == pytest.approx(one.zero_shot.mae - one.validation.mae, rel=1e-5)
    assert one.flops.executed <= one.flops_at_most.executed
    assert one.validation == other.validation
    with Ledger.for_runs(tmp_path / "a") as ledger:
        assert ledger.charged().executed == one.flops.executed
    facts = json.loads((tmp_path / "a" / one.run / "adapter" / "lvlora.json").read_text())
    assert facts["held_out"] == 15


def test_a_run_from_before_the_setting_goes_on_without_held_out_steps(tiny_folder, tmp_path):
    model, data = tiny_folder("qwen2"), data_of(60)
    folder = tiny_runs.folder(tmp_path, "old")
    old = tiny_runs.settings(model, tmp_path)
    folder.config.write_text(f'model = "{model}"\nmax_steps = 6\n')
    settings = stored_settings(RunFolder(folder.path), old, {})
    assert settings.validation_steps == 0
    loaded = tiny_runs.loaded(model, tmp_path, data, validation_steps=0)
    then = loaded.identity()
    then["settings"] = {
        k: v for k, v in then["settings"].items() if k not in ("validation_steps", "mix")
    }
    assert loaded.changes_since(then) == []
    by_steps = tiny_runs.loaded(model, tmp_path, data)
    assert by_steps.changes_since(then) == ["schedule", "validation_steps (0 then, 15 now)"]


def test_a_series_without_values_at_its_end_can_be_trained_on(tiny_folder, tmp_path):
    data = data_of(40)
    values = data[0].values.copy()
    values[-10:] = np.nan
    gone = Dataset((Series("a", data[0].time, values),), data.variables)
    loaded = tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, gone, validation_steps=10)
    found = loaded.validator.run()
    assert found.mae is None
    assert np.isfinite(found.loss)
