"""A run is read back from its files, whole or not."""

import json

import pytest

from lvlora.errors import DataError
from lvlora.report.page import PAGE
from lvlora.train.document import draw_run, read_run

CONFIG, DATA, METRICS = "config.toml", "data.json", "metrics.jsonl"
STEPS = [
    {
        "step": s,
        "loss": 2.0 / s,
        "seconds": 0.5,
        "tokens": 100,
        "flops": 10**17 + s,
        "flops_coursework": 3 * 10**17,
        "total_flops": s * 10**17,
    }
    for s in (1, 2, 3)
]


def validated(step, mae, best):
    inner = {"step": step, "loss": mae + 1, "mae": mae, "flops": 7, "flops_coursework": 9}
    return {"validation": {**inner, "best": best}, "total_flops": 0}


ROWS = [
    validated(0, 0.9, False),
    STEPS[0],
    STEPS[1],
    validated(2, 0.5, True),
    STEPS[2],
    validated(3, 0.6, False),
]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a-run"
    folder.mkdir()
    (folder / CONFIG).write_text('rank = 4\ntargets = ["q_proj"]\n')
    (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = {"source": "<b>x</b>.csv", "series": 12, "variables": ["prey", "predator"]}
    data["trainable_parameters"] = 49
    (folder / DATA).write_text(json.dumps(data))
    return folder


def test_what_its_numbers_add_up_to(run):
    record = read_run(run)
    summary = record.summary
    assert summary.run == "a-run"
    assert summary.steps == 3
    assert summary.loss == pytest.approx(2 / 3)
    assert summary.tokens == 300
    assert summary.seconds == 1.5
    # exact, beyond what a float can hold
    assert summary.flops.executed == 3 * 10**17 + 6 + 21
    assert summary.flops.coursework == 9 * 10**17 + 27
    assert (summary.zero_shot.loss, summary.zero_shot.mae) == (1.9, 0.9)
    assert (summary.validation.loss, summary.validation.mae) == (1.5, 0.5)
    assert summary.best_step == 2
    assert summary.trainable_parameters == 49
    assert record.settings["rank"] == 4
    assert record.settings["learning_rate"] == 1e-3, "a default stands for what is not there"
    assert record.data["variables"] == ["prey", "predator"]


@pytest.mark.usefixtures("figures_not_drawn")
def test_the_page_tells_it(run):
    figure, page = draw_run(run)
    assert figure.read_bytes()[:4] == b"\x89PNG"
    text = page.read_text()
    for words in ("Run a-run", "3×10¹⁷", "12", "prey, predator", "q_proj", "0.5", "0.9", "49"):
        assert words in text, words
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;.csv" in text
    before = page.read_bytes()
    draw_run(run)
    assert page.read_bytes() == before


@pytest.mark.usefixtures("figures_not_drawn")
def test_a_stopped_run_tells_what_it_has(run):
    (run / DATA).unlink()
    (run / METRICS).write_text(json.dumps(STEPS[0]) + "\n" + json.dumps(STEPS[1])[:30])
    record = read_run(run)
    summary = record.summary
    assert (summary.steps, summary.tokens) == (1, 100)
    assert summary.zero_shot is summary.validation is summary.best_step is None
    assert summary.trainable_parameters is None
    assert record.data == {}
    assert (run / PAGE) in draw_run(run)


@pytest.mark.usefixtures("figures_not_drawn")
def test_settings_of_another_version_are_shown_as_they_stand(run):
    (run / CONFIG).write_text('rank = 4\nwhat_came_later = "x"\n')
    assert read_run(run).settings == {"rank": 4, "what_came_later": "x"}
    draw_run(run)


ODD = [
    {"step": "3", "loss": 1.0},
    {"step": 2, "loss": "low"},
    {"step": float("nan"), "loss": 1},
    {"validation": 3},
    {"validation": {"best": True}},
    {"step": 1e400, "loss": 1.0},
    {"step": 1, "loss": None, "flops": 1.5, "tokens": [], "seconds": "x"},
    {"step": True},
    {"validation": {"step": "x", "mae": {}, "best": True}},
    {},
    [],
    3,
    None,
    {"step": 3, "loss": 10**400},
    {"validation": {"step": 3, "mae": 10**400, "best": True}},
    {"step": 10**400, "loss": 1.0},
]


@pytest.mark.usefixtures("figures_not_drawn")
def test_numbers_that_cannot_be_believed_are_passed_over(run):
    rows = [*ROWS, *ODD]
    (run / METRICS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    summary = read_run(run).summary
    assert (summary.steps, summary.tokens) == (3, 300)
    draw_run(run)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (CONFIG, "rank = = 4", "not valid TOML"),
        (CONFIG, None, "cannot be read"),
        (DATA, "{", "cannot be read as JSON"),
        (DATA, "[1]", "not a JSON object"),
        (DATA, "[" * 100_000, "cannot be read as JSON"),
        (METRICS, "", "no step yet"),
        (METRICS, "\x00\x01 not json\n", "no step yet"),
        (METRICS, None, "no step yet"),
    ],
)
def test_damaged_files_are_named(run, file, content, message):
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        draw_run(run)
    assert file in caught.value.message
    assert "\n" not in caught.value.message
    assert not (run / PAGE).exists()
