"""What a newcomer mistypes: one line that names it, one hint with what was probably meant."""

import pytest

ROWS = "".join(f"{i},{1 + i % 5},{2 + i % 7}\n" for i in range(60))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a data set, a file that is broken, and a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("time,prey,predator\n" + ROWS)
    series = "".join(f"{name},{row}\n" for name in ("alpha", "beta") for row in ROWS.split())
    (tmp_path / "long.csv").write_text("id,time,prey,predator\n" + series)
    (tmp_path / "broken.csv").write_text("time,prey\n0,1\n1,x\n")
    (tmp_path / "headless.csv").write_text("a,2020-01,1.5\na,2020-02,1.7\n")
    (tmp_path / "space.toml").write_text("rnk = [2, 4]\n")
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.toml").touch()
    (tmp_path / "runs" / "search").mkdir()
    (tmp_path / "runs" / "search" / "study.journal").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "named", "meant"),
    [
        ("trian", 2, "trian", "Did you mean train?"),
        ("train --learnig-rate 1", 2, "--learnig-rate", "Did you mean --learning-rate?"),
        ("train --schedule cosin", 2, "--schedule", "did you mean cosine?"),
        ("analyze dta.csv", 4, "dta.csv", "Did you mean data.csv?"),
        ("analyze data.csv --columns pray", 4, "--columns", "prey"),
        ("analyze data.csv --time-column tme", 4, "--time-column", "time"),
        ("forecast long.csv --id state", 2, "--id", "--id-column"),
        ("analyze headless.csv", 4, "headless.csv, row 1", "first row"),
        ("analyze broken.csv", 4, "broken.csv, row 3, column 'prey'", "empty"),
        ("forecast long.csv --series alfa", 4, "--series alfa", "Did you mean alpha?"),
        ("tokenize long.csv --series bata", 4, "--series bata", "Did you mean beta?"),
        ("flops --model smollm2-135", 4, "smollm2-135", "Did you mean smollm2-135m?"),
        ("flops --targets q_prj", 2, "--targets", "Did you mean q_proj?"),
        ("flops --vary rnk=1,2", 2, "--vary", "Did you mean rank?"),
        ("forecast data.csv --model bundeld", 4, "--model bundeld", "Did you mean bundled?"),
        ("forecast data.csv --adapter non", 4, "--adapter non", "Did you mean none?"),
        ("train data.csv --targets q_prj", 2, "--targets q_prj", "Did you mean q_proj?"),
        ("train --resume frist", 2, "--resume frist", "did you mean first?"),
        ("report frist", 2, "frist", "did you mean first?"),
        ("sweep --status --study serch", 2, "serch", "Did you mean search?"),
        ("sweep data.csv --space space.toml", 2, "rnk", "did you mean rank?"),
        ("train --config spce.toml", 2, "spce.toml", "--print-config"),
        ("train --config space.toml", 2, "rnk in space.toml", "did you mean rank?"),
        ("simulate out.hd6", 4, "out.hd6", ".h5"),
        ("forecast data.csv --output no/such/folder/x.csv", 2, "--output", "Make it first."),
        ("forecast data.csv --plot x.pgn", 2, "x.pgn", "png"),
        ("evaluate data.csv --output no/such/folder/x.csv", 2, "--output", "Make it first."),
        ("baseline data.csv --output - --json", 2, "--output -", "Leave one of them out."),
        ("simulate - --json", 2, "FILE -", "Leave one of them out."),
        ("export latest", 2, "nothing to write", "--merged DIR"),
    ],
)
def test_a_mistake_is_named_and_what_was_meant_is_said(
    run_lvlora, project, line, code, named, meant
):
    before = sorted(project.rglob("*"))
    ran = run_lvlora(line.split(), code=code)
    assert ran.stdout == ""
    lines = [s for s in ran.stderr.splitlines() if s.startswith(("Error: ", "Hint: "))]
    assert [s.partition(":")[0] for s in lines] == ["Error", "Hint"]
    assert named in lines[0]
    assert meant in " ".join(lines)
    assert sorted(project.rglob("*")) == before, "a mistake leaves nothing behind"
