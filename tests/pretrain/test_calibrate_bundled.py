"""The command that makes a folder's widths: what it writes, and that it goes on."""

import shutil
import sys

import calibrate_bundled as script
import numpy as np
import pytest
from calibration_series import MEASURED, Known

from lvlora.data.dataset import Series
from lvlora.forecast.widths import NAME, Widths


def known(group: str, i: int, half: int | None = None) -> Known:
    rng = np.random.default_rng(i)
    values = 5 + np.cumsum(rng.normal(0, 0.3, (15, 1)), axis=0)
    history = Series(f"{group} {i}", np.arange(12.0), values[:12])
    noisy = values[12:] + 1 if group == "5 % noise" else None
    return Known(group, history, values[12:], noisy, half)


def test_a_folder_gets_widths_and_a_second_run_forecasts_nothing(
    tmp_path, monkeypatch, capsys, tiny_folder, tiny_base
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("qwen2"), folder)
    of_mixture = [known(group, i) for group in ("clean", "noisy") for i in range(4)]
    measured = [known(MEASURED, i, half=i % 2) for i in range(4)]
    monkeypatch.setattr(script, "fitted", lambda n: of_mixture + measured)
    monkeypatch.setattr(script, "tested", lambda n: [known("5 % noise", 9)])
    words = [
        "calibrate_bundled.py",
        str(folder),
        "--work",
        str(tmp_path / "work"),
        "--threads",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", [*words, "--table"])
    script.main()
    loaded = Widths.load(folder / NAME, tiny_base().sha256)
    assert loaded.facts["series"] == {"clean": 4, "noisy": 4, "measured": 4}
    assert (loaded.facts["samples"], loaded.facts["views"]) == (16, 4)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [
        "| measured, no season",
        "| 5 % noise, clean truth",
        "| 5 % noise, noisy truth",
    ]

    def refuse(*_: object) -> None:
        raise AssertionError("forecasts that are kept were made again")

    monkeypatch.setattr(script.LanguageModel, "predict", refuse)
    script.main()
    assert Widths.load(folder / NAME, tiny_base().sha256) == loaded
    monkeypatch.setattr(script, "fitted", lambda n: [known("clean", 99), *of_mixture])
    with pytest.raises(AssertionError, match="made again"):
        script.main()
