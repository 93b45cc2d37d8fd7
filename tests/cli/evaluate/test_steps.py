"""`lvlora baseline` and `lvlora evaluate` of files with one series, or with short ones."""

import math

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def csv(*lengths: int) -> str:
    """Series of so many steps, as CSV with ids."""
    rows = ["id,time,prey,predator"]
    for name, n in enumerate(lengths):
        rows += [
            f"{name},{t},{2 + math.sin(t / 3 + name):.3f},{1.5 + math.sin(t / 3 - 1):.3f}"
            for t in range(n)
        ]
    return "\n".join(rows) + "\n"


def test_one_series_is_scored_itself_with_steps_that_fit(run_lvlora, tmp_path, tiny_folder):
    file = tmp_path / "one.csv"
    file.write_text(csv(16))
    ran = run_lvlora(["baseline", file, "--model", tiny_folder("qwen2"), "--samples", "2"], code=0)
    assert "one.csv has one series: it is scored itself, as --split train does." in ran.stderr
    assert "8 steps from 8 (--context 8 --horizon 8)" in ran.stderr
    assert "8 steps from 8" in ran.stdout
    assert "nan" not in ran.stdout
    assert "MAE minus" not in ran.stdout


@pytest.mark.slow  # it draws a report
def test_evaluate_chooses_as_baseline_does(run_lvlora, tmp_path):
    file = tmp_path / "one.csv"
    file.write_text(csv(30))
    words = ["evaluate", file, "--no-model", "--runs", tmp_path / "runs", "--json"]
    protocol = run_lvlora(words).json["protocol"]
    assert protocol["context"] == protocol["horizon"] == 15
    assert protocol["split"] == "train"
    assert protocol["series"] == 1


@pytest.mark.parametrize(
    ("options", "got"),
    [
        (["--horizon", "4"], "4 steps from 26"),
        (["--context", "20"], "10 steps from 20"),
        (["--context", "20", "--horizon", "6"], "6 steps from 20"),
    ],
)
def test_what_was_asked_for_stays(run_lvlora, tmp_path, options, got):
    file = tmp_path / "one.csv"
    file.write_text(csv(30))
    ran = run_lvlora(["baseline", file, "--no-model", *options], code=0)
    assert got in ran.stdout


def test_short_series_are_halved(run_lvlora, tmp_path):
    ran = run_lvlora(["baseline", "-", "--no-model", "--limit", "1"], input=csv(*[24] * 10), code=0)
    assert "12 steps from 12" in ran.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("every_rival")
@pytest.mark.parametrize(
    "value",
    [
        lambda i, t: 5.0,
        lambda i, t: 5e-324 * (1 + t % 5),
        lambda i, t: (1e99 if i % 2 else 1e-300) * (2 + math.sin(t / 3 + i)),
    ],
)
def test_constants_and_extremes_print_no_nan_and_warn_of_nothing(run_lvlora, value):
    """Warnings of numpy are errors here."""
    rows = [f"{i},{t},{value(i, t)!r},{value(i, t + 1)!r}" for i in range(6) for t in range(12)]
    text = "id,time,x,y\n" + "\n".join(rows) + "\n"
    for words in (
        ["baseline", "-", "--no-model", "--context", "8", "--horizon", "4"],
        ["analyze", "-"],
        ["tokenize", "-"],
    ):
        ran = run_lvlora(words, input=text, code=0)
        assert "nan" not in ran.stdout.replace("dominant", "")
        assert max(map(len, ran.stderr.splitlines()), default=0) < 250
