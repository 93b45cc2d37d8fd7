"""The programs in examples/ that train, take a data frame, and do without lvlora's model code.

They run in this process, one after the other: what the first trains, the others use. The one of
forecasts has its own test, tests/forecast/test_python_example.py.
"""

from pathlib import Path

import numpy as np
import programs
import pytest

import lvlora
from lvlora.evaluation import scores
from lvlora.forecast.rivals import naive_rivals

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_train_then_a_frame_then_peft(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # those that fit equations take longer than all else in here
    monkeypatch.setattr(scores, "default_rivals", naive_rivals)
    entries = programs.load("examples/train_from_python.py").main(steps=1, series=1)
    out = capsys.readouterr().out
    assert "after step 1: validation loss" in out
    assert "FLOPs of training" in out
    kinds = [entry.kind for entry in entries]
    assert (kinds.count("model"), kinds.count("floor")) == (2, 1)
    assert 0 < entries[0].mae < 1  # the systems swing by more
    (adapter,) = Path("runs").glob("*/adapter")

    table = programs.load("examples/own_data_frame.py").main(
        adapter=str(adapter), horizon=2, samples=2
    )
    rows = table.to_dict("records")
    assert [(row["year"], row["variable"]) for row in rows] == [
        (1921, "hare"),
        (1921, "lynx"),
        (1922, "hare"),
        (1922, "lynx"),
    ]
    assert all(0 <= row["0.1"] <= row["median"] <= row["0.9"] for row in rows)

    pytest.importorskip("peft")
    numbers = programs.load("examples/adapter_with_peft.py").main("latest", steps=2)
    (series,) = lvlora.read(EXAMPLES / "trajectory.csv")
    ours = lvlora.open_model(adapter="latest", dtype="float32")
    (forecast,) = ours.predict([series], 2, lvlora.Sampling(greedy=True))
    # the same model and the same text: the same steps, with no grammar to help
    assert numbers == pytest.approx(np.asarray(forecast.median))
