"""docs/notes/scale.md quotes what scripts/predict_scale.py computes, and what it says it is."""

from __future__ import annotations

from pathlib import Path

import programs
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    return programs.load("scripts/predict_scale.py")


def test_the_page_has_the_predicted_numbers(script):
    page = (ROOT / "docs" / "notes" / "scale.md").read_text(encoding="utf-8")
    gpus, workers = script.predict().values()
    for micro, (steps, whole) in gpus.items():
        assert f"| {micro} | {steps} | {whole} |" in page
    for shown, cells in zip(("10 s", "1 min", "10 min"), workers.values(), strict=True):
        assert f"| {shown} | {' | '.join(map(str, cells))} |" in page


def test_what_costs_nothing_is_perfect(script):
    free = {"bandwidth": 1e30, "latency": 0.0, "agreement": 0.0}
    assert script.efficiency_of_ranks(8, 1.0, 1e6, 0.0, **free) == pytest.approx(1)
    # Amdahl: a part that one does alone
    assert script.efficiency_of_ranks(8, 1.0, 1e6, 0.5, **free) == pytest.approx(
        1 / (8 * 0.5 + 0.5)
    )
    assert script.efficiency_of_workers(64, 640, 10.0, 0.0, 0.0) == pytest.approx(1)
    assert script.efficiency_of_workers(64, 65, 10.0, 0.0, 0.0) == pytest.approx(65 / 128)
    # a study that is the bottleneck
    assert script.efficiency_of_workers(64, 640, 1.0, 0.0, 0.5) == pytest.approx(1 / 32)


def test_the_step_is_priced_as_the_command_prices_it(script, run_lvlora):
    found = run_lvlora(
        [
            "flops",
            "--model",
            "qwen2.5-0.5b",
            "--batch-size",
            "4",
            "--seq-len",
            "512",
            "--rank",
            "8",
            "--json",
        ]
    ).json
    assert found["executed"]["training_step"] == script.STEP_FLOPS
    assert found["trainable_parameters"] == script.TRAINED
