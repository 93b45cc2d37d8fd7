"""The programs in examples/foreign/, with stand-ins for models that come from a hub.

A stand-in takes and gives the shapes that the model's own documentation says, and forecasts its
last value plus something for each quantile, so that mixed-up axes are seen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import programs
import pytest
import torch

from lvlora.data.dataset import Dataset, Series
from lvlora.evaluation.foreign import ForeignForecasts, export_task, read_forecasts
from lvlora.evaluation.job import prepare
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Silent

HORIZON = 3
STEPS = (37, 64)


Exported = tuple[Dataset, str]
"""Histories, and the name of their task."""


@pytest.fixture
def task(tmp_path: Path) -> Exported:
    """Two series of different lengths, in the folder ``task``; one has a gap."""
    series = []
    for name, n in zip(("=a,1", "b"), STEPS, strict=True):
        values = np.arange(2.0 * (n + HORIZON)).reshape(-1, 2) % 7 + 1
        values[5, 1] = np.nan
        series.append(Series(name, np.arange(float(n + HORIZON)), values))
    settings = EvaluateSettings(split="all", holdout=HORIZON, runs=tmp_path / "runs")
    job = prepare(settings, Dataset(tuple(series), ("prey", "predator"), "x"), Silent())
    export_task(job, tmp_path / "task", Silent())
    return Dataset(tuple(job.task.histories), ("prey", "predator")), job.task_name


def ran(
    program: str,
    tmp_path: Path,
    task: Exported,
    monkeypatch: pytest.MonkeyPatch,
    stand_ins: dict[str, dict[str, Any]],
) -> ForeignForecasts:
    """What a program writes, as lvlora reads it."""
    folder = programs.ROOT / "examples" / "foreign"
    monkeypatch.syspath_prepend(str(folder))
    for name, members in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    file = tmp_path / "forecasts.csv"
    monkeypatch.setattr(sys, "argv", [program, str(tmp_path / "task"), str(file)])
    module = programs.load(f"examples/foreign/{program}")
    sys.modules["task_folder"].main(module.forecast)
    monkeypatch.delitem(sys.modules, "task_folder")
    histories, name = task
    ids = [series.id for series in histories]
    forecasts = read_forecasts(file, name, ids, histories.variables, HORIZON)
    assert forecasts.names_task
    return forecasts


def check(forecasts: ForeignForecasts, histories: Dataset) -> None:
    """The median is the last value plus the step."""
    for point, series in zip(forecasts.point, histories, strict=True):
        expected = series.values[-1] + np.arange(1, 4)[:, None]
        np.testing.assert_allclose(point, expected, rtol=1e-5)


def told(target: torch.Tensor, horizon: int, levels: Any) -> torch.Tensor:
    """(variables, horizon, levels) of a target (variables, steps)."""
    steps = torch.arange(1, horizon + 1)[None, :, None]
    return target[:, -1, None, None] + steps + 10 * (torch.tensor(levels) - 0.5)


def test_chronos_2(tmp_path: Path, task: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    class BaseChronosPipeline:
        @classmethod
        def from_pretrained(cls, name: str, device_map: str) -> BaseChronosPipeline:
            assert name == "amazon/chronos-2"
            return cls()

        def predict_quantiles(
            self,
            inputs: list[torch.Tensor],
            prediction_length: int,
            quantile_levels: list[float],
        ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
            assert {tuple(x.shape) for x in inputs} == {(2, n) for n in STEPS}
            found = [told(x, prediction_length, quantile_levels) for x in inputs]
            return found, [f.mean(-1) for f in found]

    members = {"chronos": {"BaseChronosPipeline": BaseChronosPipeline}}
    found = ran("chronos_2.py", tmp_path, task, monkeypatch, members)
    check(found, task[0])
    assert found.samples is not None
    assert np.quantile(found.samples, 0.9, axis=1) == pytest.approx(found.point + 4, rel=1e-5)


def test_drift_is_the_published_method(
    tmp_path: Path, task: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ran("drift.py", tmp_path, task, monkeypatch, {})
    for point, series in zip(found.point, task[0], strict=True):
        first, last = series.values[0], series.values[-1]
        slope = (last - first) / (len(series) - 1)
        np.testing.assert_allclose(point[2], last + 3 * slope)
    assert found.samples is not None
    width = np.ptp(found.samples, axis=1)
    assert np.all(np.diff(width, axis=1) > 0)
