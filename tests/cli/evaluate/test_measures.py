"""Skill, win rates and dynamics through the real commands."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from lvlora.data.answers import DynamicsErrors
from lvlora.data.dataset import Dataset, Series
from lvlora.data.metrics import dynamics_errors
from lvlora.data.splits import split_ids

STEPS = ["--no-model", "--context", "30", "--horizon", "12", "--workers", "1", "--split", "train"]

pytestmark = pytest.mark.usefixtures("every_rival")


def waves(growth: float) -> Dataset:
    """Signed waves (no equations are fitted), each so many times larger than the one before."""
    time, rng = np.arange(42.0), np.random.default_rng(0)
    series = []
    for i in range(6):
        angle = 2 * np.pi * time[:, None] / (7 + i) + rng.uniform(0, 6, 2)
        values = (np.sin(angle) + rng.normal(0, 0.05, (42, 2))) * growth**i
        values[30 + i, 0] = np.nan if i % 2 else 0.0  # gaps in some truths
        series.append(Series(f"w{i}", time, values))
    return Dataset(tuple(series), ("a", "b"), "waves")


@pytest.mark.slow
def test_every_forecaster_has_every_measure(run_lvlora, tmp_path: Path) -> None:
    data = tiny_runs.write_csv(tmp_path / "alike.csv", waves(1.1))
    table = tmp_path / "table.csv"
    ran = run_lvlora(["baseline", data, *STEPS, "--json", "--output", table], code=0)
    assert ran.json["led_by"] == "mae"
    assert 1 < ran.json["scale_spread"] < 100
    forecasters = {f["name"]: f for f in ran.json["forecasters"]}
    for name, facts in forecasters.items():
        assert all(facts[measure] is not None for measure in DynamicsErrors.model_fields), name
        assert len(facts["valid_by_step"]) == 12
        assert sum(facts["valid_by_step"]) == pytest.approx(facts["valid_steps"])
        assert (facts["skill"] is None) == (facts["win_rate"] is None) == (name == "rounding floor")
    assert forecasters["seasonal naive"]["skill"] == {"value": 0, "low": 0, "high": 0}
    ranked = [f for f in forecasters.values() if f["win_rate"] is not None]
    assert np.mean([f["win_rate"]["value"] for f in ranked]) == pytest.approx(0.5)
    for f in ranked:
        for key in ("skill", "win_rate"):
            assert f[key]["low"] <= f[key]["value"] <= f[key]["high"]
    assert (
        forecasters["seasonal naive"]["phase_error"]
        < forecasters["last value"]["phase_error"]
        == 0.25
    )
    with table.open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    for name, facts in forecasters.items():
        for measure in DynamicsErrors.model_fields:
            assert float(rows[name][measure]) == pytest.approx(facts[measure], rel=1e-9)
    last = forecasters["last value"]
    assert float(rows["last value"]["skill"]) == pytest.approx(last["skill"]["value"], rel=1e-9)
    assert float(rows["last value"]["win_rate_high"]) == pytest.approx(last["win_rate"]["high"])
    assert rows["rounding floor"]["skill"] == ""
    # the last value's, computed here
    scored = waves(1.1).select(split_ids(waves(1.1), 0).train)
    values = np.stack([s.values for s in scored])
    expected, _ = dynamics_errors(values[:, 30:], np.repeat(values[:, 29:30], 12, axis=1), None)
    for measure in ("valid_steps", "amplitude_error", "spectrum_distance", "state_divergence"):
        assert last[measure] == pytest.approx(getattr(expected, measure), rel=1e-6), measure
