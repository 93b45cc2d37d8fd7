"""What a validation scores: series, steps, and nothing that the adapter was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_runs

from lvlora.forecast.sampling import Sampling


def test_forecasts_follow_the_first_half(tiny_folder, tmp_path):
    data = tiny_runs.dataset(n_series=40, n_steps=20)
    loaded = tiny_runs.loaded(tiny_folder("qwen2"), tmp_path, data, validation_series=3)
    part, validator = loaded.plan.part, loaded.validator
    assert part is not None
    assert validator is not None
    assert part.horizon == 10
    assert [len(s) for s in part.histories] == [10, 10, 10]
    found = validator.run()
    assert found.point is not None
    assert found.point.shape == (3, 10, 2)
    truth = np.stack([future.values for future in part.scored.futures])
    assert truth.shape == found.point.shape
    assert found.mae == pytest.approx(float(np.abs(found.point - truth).mean()))


def test_a_price_without_weights_is_that_of_the_forecaster(tiny_folder, tmp_path):
    for changes in ({}, {"layers": "1", "targets": ("k_proj", "up_proj")}, {"max_memory": 10**5}):
        loaded = tiny_runs.loaded(tiny_folder("llama"), tmp_path, **changes)
        part, validator = loaded.plan.part, loaded.validator
        greedy = Sampling(samples=1, greedy=True)
        forecasts = validator._forecaster().at_most(part.histories, part.horizon, greedy)
        assert loaded.plan.per_validation == part.loss_price(loaded.plan.trained) + forecasts
