"""A run's document shows forecasts of its validation against the truth."""

import json

import numpy as np
import pytest

from lvlora.report.document import Picture
from lvlora.report.forecast import forecast_figure
from lvlora.train.document import _forecasts, _pictures
from lvlora.train.record import ValidationFile

N, T, H = 9, 12, 6
ERRORS = [0.4, 0.1, 0.9, 0.2, 0.5, 0.3, 0.6, 0.7, 0.8]


def file_of(content, path):
    (path / "validation.json").write_text(json.dumps(content))
    return ValidationFile.read(path / "validation.json")


@pytest.fixture
def content():
    time = np.arange(T + H, dtype=float)
    values = np.stack([2 + np.sin(time / 2), 3 + np.cos(time / 2)], axis=1)
    point = [(values[T:] + error).tolist() for error in ERRORS]
    series = {
        "history_time": time[:T].tolist(),
        "history": values[:T].tolist(),
        "time": time[T:].tolist(),
        "truth": values[T:].tolist(),
    }
    return {
        "schema_version": 1,
        "variables": ["prey", "predator"],
        "time": "day",
        "series_scored": N,
        "series": [{"id": f"s{i}", **series} for i in range(N)],
        "before": {"step": 0, "mae": 2.5, "series_mae": [2.5] * N, "forecasts": point},
        "kept": {"step": 7, "mae": 0.5, "series_mae": ERRORS, "forecasts": point},
    }


def test_best_middle_and_worst(content, tmp_path):
    pictures = _pictures(file_of(content, tmp_path))
    assert [p.title for p in pictures] == [
        "s1: best, MAE 0.1",
        "s4: middle, MAE 0.5",
        "s2: worst, MAE 0.9",
    ]
    assert np.allclose(pictures[2].median - pictures[2].truth, 0.9)


def test_the_figure_says_what_is_what(content, tmp_path):
    (block,) = _forecasts(file_of(content, tmp_path))
    assert isinstance(block, Picture)
    assert "step 7" in block.caption
    figure = forecast_figure(_pictures(file_of(content, tmp_path)))
    words = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"forecast", "truth", "prey"} <= words


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.clear(),
        lambda f: f["kept"].update(forecasts=[[1]], mae="low"),
        lambda f: f.update(series=3),
        lambda f: f["series"][0].pop("truth") and None,
        lambda f: f.update(kept=[]),
        lambda f: f["kept"].update(series_mae=["x"], mae=[]),
        lambda f: f.update(series_scored="x"),
    ],
)
def test_a_file_that_cannot_be_believed_is_none(content, tmp_path, change):
    change(content)
    assert file_of(content, tmp_path) is None


def test_numbers_of_different_shapes_are_not_drawn(content, tmp_path):
    content["series"][1]["history"] = []
    assert _forecasts(file_of(content, tmp_path)) == []
