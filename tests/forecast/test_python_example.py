"""The example program runs as it stands, and says what the methods promise."""

import re
import runpy
from pathlib import Path

import pytest

from lvlora.errors import ModelError
from lvlora.forecast.language_model import open_model

ROOT = Path(__file__).parents[2]


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = str(ROOT / "examples" / "forecast_from_python.py")
    monkeypatch.setattr("sys.argv", [example])
    runpy.run_path(example, run_name="__main__")
    message = capsys.readouterr().out
    assert "samples: (20, 10, 2)" in message
    error = re.search(r"mean absolute error ([0-9.]+)", message)
    assert error is not None
    assert 0 < float(error[1]) < 0.1  # the trajectory swings by 0.6 and more
    assert "NLL per dimension" in message
    assert list(tmp_path.iterdir()) == []


def test_a_model_by_name(tmp_path, tiny_folder):
    assert open_model(str(tiny_folder("qwen2")), decimals=1).name == "qwen2 zero-shot"
    assert open_model(str(tiny_folder("qwen2")), max_memory=5).max_memory == 5
    assert open_model(str(tiny_folder("qwen2")), None, runs=tmp_path).adapter is None
    with pytest.raises(ModelError, match="nosuch"):
        open_model(adapter="nosuch", runs=tmp_path)
