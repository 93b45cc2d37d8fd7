"""A run's course: what the rows tell is what is drawn."""

import numpy as np
import pytest

from lvlora.report.drawing import style
from lvlora.report.drawing.course import course_figure, smoothed
from lvlora.train.document import course_of
from lvlora.train.record import StepRecord, ValidationRecord


def rows(n: int, every: int = 10, mae: bool = True) -> list[StepRecord | ValidationRecord]:
    records: list[StepRecord | ValidationRecord] = []
    for step in range(1, n + 1):
        records.append(StepRecord(step=step, loss=2.0 / step, total_flops=step * 10**9))
        if step % every == 0:
            error = abs(step - 20) / 10 + 1 if mae else None
            records.append(ValidationRecord(step=step, loss=2.5 / step, mae=error))
    return records


def test_rows_are_sorted_by_what_they_tell() -> None:
    course = course_of(rows(30))
    assert course.steps.tolist() == list(range(1, 31))
    np.testing.assert_allclose(course.flops, 1e9 * np.arange(1, 31))
    assert course.validation_steps.tolist() == [10, 20, 30]
    assert course.maes.tolist() == [2, 1, 2]


def test_a_step_that_a_resumed_run_made_again_counts_once() -> None:
    again = [
        StepRecord(step=20, loss=9.0, total_flops=20 * 10**9),
        StepRecord(step=21, loss=8.0, total_flops=21 * 10**9),
    ]
    course = course_of([*rows(25), *again])
    assert len(course.steps) == 25
    assert course.losses[[19, 20]].tolist() == [9.0, 8.0]
    assert course.flops[-1] == 25e9


def test_panels_and_axes() -> None:
    loss, error = course_figure(course_of(rows(60))).axes
    assert loss.get_ylabel() == "loss (nats per token)"
    assert error.get_ylabel() == "forecast error (MAE)"
    assert error.get_xlabel() == "step"
    assert [text.get_text() for text in error.texts] == ["best 1"]
    svg = style.render(course_figure(course_of(rows(60))), "svg").decode()
    assert "FLOPs spent" in svg
    assert "validation" in svg


def test_the_adapter_that_is_kept_is_ringed() -> None:
    messages = [
        ValidationRecord(step=step, loss=loss, mae=mae, best=saved)
        for step, loss, mae, saved in [
            (0, 1.0, 0.5, False),
            (5, 2.0, 0.7, True),
            (10, 1.5, 0.6, True),
            (15, 1.2, 0.8, False),
        ]
    ]
    assert course_of(messages).kept == 10
    for axes, told_there in zip(course_figure(course_of(messages)).axes, (1.5, 0.6), strict=True):
        rings = [line for line in axes.lines if line.get_markersize() == 10]
        assert [tuple(ring.get_xydata()[0]) for ring in rings] == [(10, told_there)]
        assert [text.get_text() for text in axes.texts] == [f"kept {told_there}"]


def test_without_forecast_errors_there_is_one_panel() -> None:
    assert len(course_figure(course_of(rows(20, mae=False))).axes) == 1


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_shortest_runs_can_be_drawn(n: int) -> None:
    svg = style.render(course_figure(course_of(rows(n, every=1))), "svg").decode()
    assert ("no step was made" in svg) == (n == 0)


def test_smoothing_keeps_a_line_and_the_ends() -> None:
    line = np.linspace(3, 1, 200)
    np.testing.assert_allclose(smoothed(line), line)
    noise = np.random.default_rng(0).normal(size=2000)
    assert smoothed(noise).std() < 0.2
    assert smoothed(noise)[0] == noise[0]
