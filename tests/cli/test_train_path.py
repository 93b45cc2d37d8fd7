"""The way of `lvlora train` to its first step is short, and made once."""

import traceback
from pathlib import Path

import pytest
import tiny_runs
import torch

from lvlora.train import fine_tune, plan
from lvlora.train.validation import ValidationPart

PACKAGE = Path(plan.__file__).parents[1]


@pytest.fixture
def first_step(monkeypatch):
    """Frames of the package at the first step of the optimiser, the outermost first."""
    frames = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **options):
        if not frames:
            frames.extend(
                (str(Path(frame.filename).relative_to(PACKAGE)), frame.name)
                for frame in traceback.extract_stack()
                if Path(frame.filename).is_relative_to(PACKAGE)
            )
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    return frames


def test_five_frames_lead_from_the_command_to_the_first_step_and_nothing_is_planned_twice(
    run_lvlora, tmp_path, tiny_folder, first_step, monkeypatch
):
    calls = []
    for owner, name in (
        (fine_tune, "plan_run"),
        (fine_tune, "load_run"),
        (ValidationPart, "score"),
    ):
        function = getattr(owner, name)

        def counted(*args, name=name, function=function, **options):
            calls.append(name)
            return function(*args, **options)

        monkeypatch.setattr(owner, name, counted)
    file = tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    flags = tiny_runs.flags(tiny_folder("qwen2"), tmp_path / "runs")
    run_lvlora(["train", file, *flags], code=0)
    assert first_step.index(("cli/train.py", "train")) >= len(first_step) - 5
    assert calls == ["plan_run", "load_run", *["score"] * 3]  # before, at half, at the end
