"""What a validation scores: series, steps, and nothing that the adapter was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_runs

from lvlora.train import setup
from lvlora.train.step_plan import Validations


@pytest.mark.parametrize(("horizon", "expected"), [(None, 10), (4, 4)])
def test_forecasts_follow_the_first_half(tiny_folder, tmp_path, monkeypatch, horizon, expected):
    """A horizon shortens what is forecast; what is given stays the first half."""
    monkeypatch.setattr(setup, "how_thorough", lambda *_: Validations(3, 1, horizon))
    prepared = tiny_runs.prepared(
        tiny_folder("qwen2"), tmp_path, tiny_runs.dataset(n_series=40, n_steps=20)
    )
    validator = prepared.validator
    assert validator is not None
    assert validator.horizon == expected
    assert [len(s) for s in validator.histories] == [10, 10, 10]
    found = validator.run()
    assert found.point is not None
    assert found.point.shape == (3, expected, 2)
    truth = np.stack([future.values for future in validator.scored.futures])
    assert truth.shape == found.point.shape
    told = any("3 series, 4 steps ahead" in note for note in prepared.notes)
    assert told == (horizon == 4)
    assert told == any("steps ahead" in note for note in prepared.notes)
    assert found.mae == pytest.approx(float(np.abs(found.point - truth).mean()))
