"""A sweep's document: its pictures, and a page of few trials."""

from typing import Any

import pytest

from lvlora.answers import NOTHING
from lvlora.report.drawing import style
from lvlora.report.page import page
from lvlora.sweep.document import document, error_by_flops_figure, pictures_of
from lvlora.sweep.plan import SearchPlan, Stage
from lvlora.sweep.record import Sweep, Trial, TrialCounts
from lvlora.sweep.space import Range, Space

SPACE = Space(
    {
        "learning_rate": Range(1e-6, 1e-1, log=True),
        "rank": Range(1, 64),
        "loss": ("full", "numeric"),
        "targets": ("a$b0", "a$b1", "a$b2"),
    }
)


def row(number: int, value: float | None, flops: int | None = 10**12, **changes: Any) -> Trial:
    trial = Trial(
        trial=number,
        stage="search",
        params={"rank": 2},
        value=value,
        mae=value,
        loss=value,
        steps=3,
        flops=flops,
        seconds=1.0,
        state="complete",
        reason=None,
        folder=f"trial-{number}",
    )
    return trial.model_copy(update=changes)


PLAN = SearchPlan(
    stages=[Stage(stage="search", trials=7, space=SPACE, steps=(3, 3))],
    trials=7,
    flops_at_most=NOTHING,
    convention="executed",
    validation_series=4,
    validations=1,
)


def record(trials: list[Trial]) -> Sweep:
    valued = [t for t in trials if t.value is not None]
    best = min(valued, key=lambda t: t.value or 0.0, default=None)
    return Sweep(
        study="mine",
        finished=True,
        trials=TrialCounts(planned=7, complete=7, failed=0, running=0, waiting=0),
        best=best,
        flops=NOTHING,
        limit=None,
        convention="executed",
        plan=PLAN,
        table=trials,
        command="lvlora train --rank 2",
        files=[],
        seconds_left=None,
        settings={"seed": 0},
        stopped_by=None,
    )


GRID = [
    row(3 * i + j, 0.1 * (i + 1) + 0.01 * j, params={"learning_rate": lr, "rank": rank})
    for i, lr in enumerate((1e-5, 5e-5, 1e-4))
    for j, rank in enumerate((2, 4))
]


def test_the_front_is_of_those_that_nothing_beats():
    rows = [row(0, 0.4, 10**12), row(1, 0.5, 2 * 10**12), row(2, 0.3, 3 * 10**12)]
    (axes,) = error_by_flops_figure(rows, "validation MAE").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("FLOPs of the trial", "validation MAE")
    best = next(c for c in axes.collections if c.get_label() == "Best Trial")
    assert sorted(map(tuple, best.get_offsets().tolist())) == [(1e12, 0.4), (3e12, 0.3)]


def test_each_setting_has_its_errors(real_figures):
    final = row(6, 0.05, stage="final", params={"learning_rate": 1e-5, "rank": 2, "loss": "full"})
    holes = row(7, None, params=GRID[0].params, state="failed")
    pictures = {picture.name: picture for picture in pictures_of(record([*GRID, final, holes]))}
    assert list(pictures) == ["error-by-flops", "error-by-setting"]
    figure = pictures["error-by-setting"].draw()
    labels = {axes.get_xlabel() for axes in figure.axes}
    assert {"learning_rate", "rank", "loss"} <= labels
    assert len(style.render(figure, "svg")) > 1000


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(0, None, None, state="failed")],
        [row(0, 0.0, 0), row(1, 0.2)],
        [row(i, 0.1 * (i + 1), params={"targets": f"a$b{i}"}) for i in range(3)],
    ],
)
def test_few_trials_have_pictures_and_a_page_too(rows, real_figures):
    assert bool(pictures_of(record(rows))) == any(r.value is not None for r in rows)
    assert "Sweep mine" in page(document(record(rows)))


def test_the_page_names_the_best_and_why_others_failed(made_figures):
    rows = [*GRID, row(9, None, None, state="failed", reason="the loss is <nan>")]
    text = page(document(record(rows)))
    for words in ("Best: trial 0", "lvlora train --rank 2", "the loss is &lt;nan&gt;"):
        assert words in text
    assert text.count("<figure>") == 2
