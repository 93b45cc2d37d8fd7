"""`lvlora forecast` as a user meets it: files in and out, adapters, refusals."""

import csv
import io
import json
from pathlib import Path

import pytest
import tiny_runs

from lvlora.flops.ledger import Ledger

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data, and what makes a forecast quick and repeatable."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(2, n_steps=8))
    return [*tiny_runs.quick(tiny_folder("qwen2")), *"--samples 3 --horizon 4".split()]


@pytest.fixture
def trained(run_lvlora, words, tiny_folder):
    """A run with an adapter that has learnt something."""
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), learning_rate=0.1, validation=False)
    tiny_runs.write_csv(Path("train.csv"), tiny_runs.dataset())
    run_lvlora(["train", "train.csv", *flags], code=0)
    return Path("runs") / Path("runs/latest").read_text().strip()


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_json_and_files_have_the_shape_that_scripts_rely_on(run_lvlora, words):
    files = ["--output", "o.csv", "--samples-out", "s.csv", "--plot", "p.png"]
    options = [*words, "--quantiles", "0.1,0.9", "--json", *files]
    ran = run_lvlora(["forecast", "data.csv", *options], code=0)
    answer = ran.json
    assert answer["schema_version"] == 1
    assert [s["id"] for s in answer["series"]] == ["s0", "s1"]
    for series in answer["series"]:
        assert series["time"] == [8, 9, 10, 11]
        assert set(series["variables"]) == {"prey", "predator"}
        for values in series["variables"].values():
            assert len(values["median"]) == len(values["mean"]) == 4
            assert list(values["quantiles"]) == ["0.1", "0.9"]
            low, high = values["quantiles"].values()
            assert all(a <= b for a, b in zip(low, high, strict=True))
        assert series["scale"]["rule"] == "history"
    assert answer["timing"].keys() == {"load_seconds", "prefill_seconds", "decode_seconds"}
    assert answer["timing"]["decode_seconds"] >= answer["timing"]["prefill_seconds"] > 0
    assert answer["model"]["adapter"] is None
    assert "zero-shot" in ran.stderr
    with Ledger.for_runs(Path("runs")) as ledger:
        (row,) = ledger.rows()
    assert (row.command, row.phase, row.status) == ("forecast", "forecast", "settled")
    assert row.spent.executed == answer["flops"]["executed"] > 0
    assert row.spent.coursework == answer["flops"]["coursework"] > 0
    assert row.tokens_useful > 0
    # the files agree with it
    assert answer["files"] == ["o.csv", "s.csv", "p.png"]
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    rows = _rows(Path("o.csv").read_text())
    assert list(rows[0]) == ["id", "time", "variable", "median", "mean", "0.1", "0.9"]
    assert len(rows) == 2 * 4 * 2
    prey = answer["series"][0]["variables"]["prey"]
    assert float(rows[0]["median"]) == pytest.approx(prey["median"][0], rel=1e-11)
    samples = _rows(Path("s.csv").read_text())
    assert len(samples) == 2 * 3 * 4
    first = [float(r["prey"]) for r in samples if (r["id"], r["time"]) == ("s0", "8")]
    assert sorted(first)[1] == pytest.approx(prey["median"][0], rel=1e-11)
    names = {path.name for path in Path().iterdir()}
    assert names == {"data.csv", "o.csv", "s.csv", "p.png", "runs"}  # nothing half-written


def test_csv_in_csv_out(run_lvlora, words):
    from_file = run_lvlora(["forecast", "data.csv", *words, "-o", "-", "--greedy", "-q"])
    piped = run_lvlora(
        ["forecast", "-", *words, "-o", "-", "--greedy", "-q"], input=Path("data.csv").read_text()
    )
    assert from_file.exit_code == piped.exit_code == 0, piped.stderr
    assert from_file.stdout == piped.stdout
    for row in _rows(piped.stdout):
        assert row["median"] == row["0.1"] == row["0.9"]  # one future
    # quiet leaves what may be wrong, and nothing else
    assert " ".join(piped.stderr.split()).startswith("Warning: With 1 decimal the text loses")
    assert piped.stderr.count(":") == 1


def test_some_series_some_steps(run_lvlora, words):
    ran = run_lvlora(["forecast", "data.csv", *words, "--series", "s1", "--json"])
    assert [s["id"] for s in ran.json["series"]] == ["s1"]
    both = run_lvlora(["forecast", "data.csv", *words, "--json"])
    assert both.json["series"][1] == ran.json["series"][0]  # whoever else is there
    ran = run_lvlora(["forecast", "data.csv", *words, "--context", "5", "--json"])
    assert {s["context"] for s in ran.json["series"]} == {5}
    assert "cut" not in ran.stderr


def test_a_wide_table_keeps_its_history(run_lvlora, words):
    wide = tiny_runs.dataset(1, n_steps=195, n_variables=4)
    tiny_runs.write_csv(Path("wide.csv"), wide)
    ran = run_lvlora(["forecast", "wide.csv", *words, "--json"], code=0)
    assert ran.json["series"][0]["context"] >= 64
    # both are warnings: variables are read apart, and some steps are not read
    assert ran.stderr.count("Warning: The model reads 512 tokens") == 2
    assert "--columns" in ran.stderr
    held = run_lvlora(["forecast", "wide.csv", *words, "--holdout", "4", "--json"], code=0)
    assert held.json["scores"]["nll"] is not None


def test_the_newest_runs_adapter_is_the_default(run_lvlora, words, trained):
    ahead = ["forecast", "train.csv", *words[2:], "--json"]
    default = run_lvlora(ahead, code=0)
    assert default.json["model"]["adapter"] == trained.name
    plain = run_lvlora([*ahead, *words[:2], "--adapter", "none"])
    assert plain.json["model"]["adapter"] is None
    assert plain.json["series"] != default.json["series"]
    for named in (trained.name, str(trained / "adapter"), "latest"):
        ran = run_lvlora([*ahead, "--adapter", named])
        assert ran.json["series"] == default.json["series"], named
    last = run_lvlora([*ahead, "--adapter", str(trained / "adapter-last")])
    assert last.json["model"]["adapter"] == f"{trained.name}/adapter-last"


def test_the_newest_run_is_the_default_for_its_own_data_only(run_lvlora, words, trained):
    text = Path("train.csv").read_text()
    head, *lines = text.splitlines()
    rows = [line.split(",") for line in lines]
    thousandths = [[*row[:2], *(str(float(cell) / 1000) for cell in row[2:])] for row in rows]
    grown = [*rows, [rows[-1][0], str(float(rows[-1][1]) + 1), *rows[-1][2:]]]

    def adapter(file, *more, content=None):
        ran = run_lvlora(["forecast", file, *words[2:], *more, "--json"], input=content, code=0)
        name = ran.json["model"]["adapter"]
        assert (f"--adapter {trained.name}" in " ".join(ran.stderr.split())) == (name is None)
        return name

    def table(rows):
        return "\n".join([head, *map(",".join, rows)]) + "\n"

    assert adapter("data.csv") is None  # with the same columns
    assert adapter("train.csv", "--columns", "prey") is None
    assert adapter("-", content=text) == trained.name
    Path("renamed.csv").write_text(text)
    assert adapter("renamed.csv") == trained.name
    Path("train.csv").write_text(table(grown))
    assert adapter("train.csv") == trained.name
    Path("train.csv").write_text(table(thousandths))
    assert adapter("train.csv") is None


def test_an_adapter_of_another_base(run_lvlora, words, trained, tiny_folder):
    other = ["--model", str(tiny_folder("llama"))]
    ran = run_lvlora(["forecast", "train.csv", *words[2:], *other, "--json"], code=0)
    assert ran.json["model"]["adapter"] is None
    base = str(tiny_folder("qwen2"))
    assert f"was made for {base}: forecasting zero-shot" in ran.stderr
    ran = run_lvlora(
        ["forecast", "data.csv", *words[2:], *other, "--adapter", trained.name], code=4
    )
    assert f"was trained on {base} with other weights than llama" in ran.stderr


def test_no_adapter_makes_lvlora_download_its_base(run_lvlora, words, trained):
    facts = json.loads((trained / "adapter/lvlora.json").read_text())
    del facts["facts_sha256"]
    (trained / "adapter/lvlora.json").write_text(json.dumps({**facts, "model": "some/body"}))
    ran = run_lvlora(["forecast", "train.csv", *words[2:]], env={"HF_HUB_OFFLINE": None}, code=4)
    assert "some/body is not in the local hub cache" in ran.stderr
    assert "Add --model some/body to download it" in ran.stderr


def test_a_dry_run_tells_the_most_and_spends_nothing(run_lvlora, words):
    ran = run_lvlora(["forecast", "data.csv", *words, "--dry-run", "--json"], code=0)
    assert not Path("runs").exists()
    real = run_lvlora(["forecast", "data.csv", *words, "--json"])
    for convention, most in ran.json["flops_at_most"].items():
        assert 0.1 * most < real.json["flops"][convention] <= most
    assert ran.json["estimate"]["seconds"] > 0
    assert 50e6 < ran.json["estimate"]["peak_bytes"] < 20e9


def test_the_budget_of_a_refused_command_locks_nothing(run_lvlora, words):
    words = [*words, "--horizon", "1", "--samples", "1"]
    ran = run_lvlora(["forecast", "data.csv", *words, "--budget", "1000"], code=3)
    assert "limit 1,000 (executed), by --budget" in ran.stderr
    assert "--budget none lifts it" in ran.stderr
    assert run_lvlora(["forecast", "data.csv", *words]).exit_code == 0
    # one that lets a command through is kept, and later ones are told where it is from
    ran = run_lvlora(["forecast", "data.csv", *words, "--dry-run", "--json"])
    most = ran.json["flops_at_most"]["executed"]
    ran = run_lvlora(["forecast", "data.csv", *words, "--budget", 2 * most], code=0)
    ran = run_lvlora(["forecast", "data.csv", *words], code=3)
    assert f"limit {2 * most:,} (executed), set by lvlora forecast on 20" in ran.stderr
    ledger_table = run_lvlora(["flops", "--ledger"]).stdout
    assert f"Budget {2 * most:,} (executed), set by lvlora forecast on 20" in " ".join(
        ledger_table.split()
    )
    assert run_lvlora(["flops", "--ledger", "--json"]).json["budget_set_by"] == "forecast"
    ran = run_lvlora(["forecast", "data.csv", *words, "--budget", "none"], code=0)
    assert run_lvlora(["forecast", "data.csv", *words]).exit_code == 0
    assert "Budget" not in run_lvlora(["flops", "--ledger"]).stdout


def test_names_from_a_file_are_no_formulas_and_read_back(run_lvlora, words):
    name = "=cmd|' /C calc'!A0"
    rows = [f"{name},{t},{2 + t % 5}" for t in range(20)]
    Path("sly.csv").write_text("id,time,=cmd\n" + "\n".join(rows) + "\n")
    out = ["-o", "o.csv", "--samples-out", "s.csv"]
    run_lvlora(["forecast", "sly.csv", *words, *out], code=0)
    for file in ("o.csv", "s.csv"):
        head, *cells = csv.reader(Path(file).read_text().splitlines())
        assert all(row[0] == f"'{name}" for row in cells)
        for row in (head, *cells):
            assert not any(cell.startswith(("=", "+", "@", "-")) for cell in row)
    back = run_lvlora(["analyze", "o.csv", "--columns", "median", "--json"], code=0)
    assert back.json["clusters"][0]["example"] == name


def test_the_choice_of_a_model_is_told_once_a_project(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    line = ["forecast", EXAMPLES / "trajectory.csv", "-n", "1", "--samples", "1", "--views", "1"]

    def is_told(*words):
        ran = run_lvlora([*line, *words], code=0)
        return "--model qwen2.5-0.5b" in ran.stderr

    assert is_told("--dry-run")  # nothing was spent yet
    assert is_told()
    assert not is_told()
    assert is_told("--runs", "another")
    for words in (["tokenize", EXAMPLES / "trajectory.csv"], ["flops"]):
        assert "--model qwen2.5-0.5b" not in run_lvlora(words).stderr
