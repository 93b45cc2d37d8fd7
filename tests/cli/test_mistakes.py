"""Mistakes of users: one line that names the mistake, one hint, an exit code, and no file."""

import shlex
from pathlib import Path

import pytest

ROWS = [f"{i},{1 + i % 5},{2 + i % 7}" for i in range(60)]
WIDE = "time,prey,predator"


@pytest.fixture
def project(tmp_path, monkeypatch, tiny_folder):
    """A folder with data sets, some of them broken, a run and a study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LVLORA_MODEL", str(tiny_folder("qwen2")))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    known = [f"{t},{10 + t % 3},{3 + t % 4 if t < 16 else ''}" for t in range(20)]
    for name, lines in {
        "data.csv": [WIDE, *ROWS],
        "short.csv": [WIDE, *ROWS[:30]],
        "much.csv": [WIDE, *(f"{t},{1 + t % 5},{2 + t % 7}" for t in range(400))],
        "long.csv": [f"id,{WIDE}", *(f"{id},{row}" for id in ("alpha", "beta") for row in ROWS)],
        "broken.csv": ["time,prey", "0,1", "1,x"],
        "headless.csv": ["a,2020-01,1.5", "a,2020-02,1.7"],
        "void.csv": ["time,a", "0,", "1,", "2,"],
        "end.csv": ["time,a", "0,1", "1,2", "2,1", "3,", "4,"],
        "negative.csv": ["time,x", *(f"{t},{-t}" for t in range(12))],
        "known.csv": ["time,warmth,hare", *known],
        "space.toml": ["rnk = [2, 4]"],
    }.items():
        Path(name).write_text("\n".join(lines) + "\n")
    for folder, name in (("first", "config.toml"), ("search", "study.journal")):
        Path("runs", folder).mkdir(parents=True)
        Path("runs", folder, name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "mistake", "advice"),
    [
        ("trian", 2, "trian", "Did you mean train?"),
        ("fit", 2, "fit", "Did you mean train?"),
        ("help", 2, "help", "lvlora COMMAND --help"),
        ("--rank 4 train", 2, "--rank", ""),
        ("train --learnig-rate 1", 2, "--learnig-rate", "Did you mean --learning-rate?"),
        ("train --lr 1", 2, "--lr", "Did you mean --learning-rate?"),
        ("sweep --out x", 2, "--out", "Did you mean --study?"),
        ("simulate --overwrite=1", 2, "--overwrite", ""),
        ("simulate a.h5 b.h5", 2, "unexpected extra argument", ""),
        ("simulate --noise", 2, "--noise", ""),
        ("train --schedule cosin", 2, "--schedule", "did you mean cosine?"),
        ("train --rank=-3", 2, "Error: --rank: ", ""),
        ("train --rank 4097", 2, "Error: --rank: ", ""),
        ("train --rank 1.5", 2, "Error: --rank: ", ""),
        ("train --dropout 1", 2, "Error: --dropout: ", ""),
        ("train --learning-rate inf", 2, "Error: --learning-rate: should be", ""),
        ("train --model ''", 2, "Error: --model: ", ""),
        ("analyze dta.csv", 4, "dta.csv", "Did you mean data.csv?"),
        ("analyze data.csv --columns pray", 4, "--columns", "prey"),
        ("analyze data.csv --time-column tme", 4, "--time-column", "time"),
        ("analyze headless.csv", 4, "headless.csv, row 1", "first row"),
        ("analyze broken.csv", 4, "broken.csv, row 3, column 'prey'", "empty"),
        ("tokenize long.csv --series bata", 4, "--series bata", "Did you mean beta?"),
        ("tokenize data.csv --series 7", 4, "no such series", ""),
        ("tokenize data.csv --steps 0", 2, "--steps", ""),
        ("tokenize data.csv --decimals 13", 2, "--decimals", ""),
        ("tokenize data.csv --model qwen2.5-0.5", 4, "qwen2.5-0.5", "mean qwen2.5-0.5b?"),
        ("tokenize data.csv --model ./nowhere", 4, "nowhere", ""),
        ("flops --model smollm2-135", 4, "smollm2-135", "Did you mean smollm2-135m?"),
        ("flops --model owner/unknown", 4, "no shape is known", ""),
        ("flops --model x.gguf", 4, "no such file", ""),
        ("flops --targets q_prj", 2, "--targets", "Did you mean q_proj?"),
        ("flops --vary rnk=1,2", 2, "--vary", "Did you mean rank?"),
        ("flops --vary colour=red", 2, "colour", "Settings: rank"),
        ("flops --vary rank=2 --architecture", 2, "different accounts", ""),
        ("flops --close x", 2, "--close", "Add --ledger"),
        ("flops --ledger --runs nowhere", 4, "there is no ledger", ""),
        ("flops --seq-len 0", 2, "should be greater than", ""),
        ("flops --budget none", 2, "--budget", ""),
        ("forecast", 2, "Error: FILE is missing", ""),
        ("forecast long.csv --id state", 2, "--id", "--id-column"),
        ("forecast long.csv --series alfa", 4, "--series alfa", "Did you mean alpha?"),
        ("forecast data.csv --model bundeld", 4, "--model bundeld", "Did you mean bundled?"),
        ("forecast void.csv", 4, "every value is missing", ""),
        ("forecast data.csv --horizon 0", 2, "--horizon", ""),
        ("forecast data.csv --quantiles 0.1,1.5", 2, "--quantiles: item 2 should be", ""),
        ("forecast data.csv --output no/such/x.csv", 2, "the folder no/such", "Make it first."),
        ("forecast data.csv --output data.csv", 2, "is the input", ""),
        ("forecast data.csv --output x.csv --samples-out x.csv", 2, "is --output", ""),
        ("forecast data.csv --samples-out -", 2, "--samples-out -", ""),
        ("forecast data.csv --samples-out s.txt", 2, "--samples-out s.txt", ""),
        ("forecast data.csv --json --output -", 2, "standard output", ""),
        ("forecast data.csv --plot x.pgn", 2, "x.pgn", "png"),
        ("forecast data.csv --plot p", 2, "suffix", ""),
        ("forecast data.csv --holdout 60", 4, "which leaves no history", ""),
        ("forecast data.csv --holdout 3 --horizon 4", 2, "only 3 steps are held out", ""),
        ("forecast end.csv --holdout 2", 4, "every value held out is missing", ""),
        ("forecast data.csv --max-memory 1iB", 2, "is no size", "2GiB"),
        ("forecast data.csv --max-memory -5", 2, "--max-memory", ""),
        ("forecast data.csv --max-memory 10KB", 2, "--max-memory 10,000", ""),
        ("forecast known.csv --known warmt", 4, "no column 'warmt' (--known)", "mean warmth"),
        ("forecast known.csv --known warmth,hare", 4, "nothing is left to forecast", "fewer"),
        ("forecast known.csv --known warmth -n 9", 4, "known for 4 steps after", "--horizon"),
        ("forecast data.csv --forecaster sindy-on-rate", 2, "sindy", "mean sindy-on-rates?"),
        ("forecast data.csv --forecaster global-ridge", 2, "should be lm, auto, last-value", ""),
        ("forecast data.csv --forecaster auto --calibrated", 2, "auto and --calibrated", ""),
        ("forecast negative.csv --forecaster sindy-on-rates", 2, "cannot forecast these data", ""),
        ("forecast data.csv --forecaster last-value --as-drawn", 2, "--as-drawn: that is of", ""),
        ("forecast data.csv --calibrated --greedy", 2, "no intervals", ""),
        ("train data.csv --layers 7", 2, "layers 0 to 1", ""),
        ("train much.csv --seq-len 4000", 2, "--seq-len 4000", ""),
        ("train data.csv --out data.csv", 2, "is there already", ""),
        ("train data.csv --out 'runs/a b'", 2, "made of letters", ""),
        ("train data.csv --loss full --train-head numeric", 2, "train_head", ""),
        ("train data.csv --mix 1", 2, "--mix", ""),
        ("train data.csv --mix -0.1", 2, "--mix", ""),
        ("train data.csv --validation-steps 31", 2, "no series has twice as many steps", ""),
        ("train data.csv --validation-steps 5 --no-validation", 2, "there is no validation", ""),
        ("train --resume frist", 2, "--resume frist", "did you mean first?"),
        ("train --config spce.toml", 2, "spce.toml", "--print-config"),
        ("train --config space.toml", 2, "rnk in space.toml", "did you mean rank?"),
        ("report frist", 2, "no such run or evaluation in runs", "did you mean first?"),
        (f"report {'x' * 5000}", 2, "no such run", ""),
        ("report .", 2, "no such run", ""),
        ("report --runs nowhere", 2, "there is no run or evaluation in nowhere", ""),
        ("sweep --status --study serch", 2, "serch", "Did you mean search?"),
        ("sweep data.csv --space space.toml", 2, "rnk", "did you mean rank?"),
        ("simulate out.hd6", 4, "out.hd6", ".h5"),
        ("simulate out", 4, "out", ""),
        ("simulate folder.d/x.csv", 2, "folder.d/x.csv", ""),
        ("simulate - --json", 2, "FILE -", "Leave one of them out."),
        ("evaluate data.csv --output no/such/folder/x.csv", 2, "--output", "Make it first."),
        ("evaluate data.csv --context 58 --horizon 9", 4, "no series", ""),
        ("evaluate data.csv --no-model --no-rivals", 2, "nothing to score", ""),
        ("evaluate data.csv --horizon 0", 2, "--horizon", ""),
        ("evaluate data.csv --context 9 --horizon 5 --model nonsense", 4, "nonsense", ""),
        ("evaluate data.csv --context 9 --horizon 5 --adapter nonsense", 4, "nonsense", ""),
        ("evaluate short.csv --no-model --split test", 4, "too few series", "--split train"),
        ("evaluate short.csv --split all --windows 40 --horizon 4", 4, "the longest has 30", ""),
        (
            "evaluate short.csv --split all --windows 5 --horizon 2 --context 30",
            4,
            "(2 steps from 30, 5 windows)",
            "",
        ),
        ("evaluate short.csv --holdout 3 --windows 2", 2, "--windows", ""),
        ("evaluate short.csv --holdout 3 --horizon 4", 2, "--horizon", ""),
        ("evaluate long.csv --calibrate --split test", 2, "--split", ""),
        ("evaluate long.csv --calibrate --split train", 2, "--split", ""),
        ("evaluate long.csv --calibrate --greedy", 2, "no intervals", ""),
        ("evaluate long.csv --calibrate --no-model", 2, "--no-model", ""),
        ("baseline long.csv --calibrated --samples 1", 2, "no intervals", ""),
        ("baseline short.csv --no-model --protocol B", 4, "the longest has 30", "--horizon"),
        ("baseline short.csv --no-model --context 40", 4, "(50 steps from 40)", "--context"),
        ("baseline data.csv --output - --json", 2, "--output -", "Leave one of them out."),
        ("export latest", 2, "nothing to write", "--merged DIR"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_a_mistake_is_named_with_advice(run_lvlora, project, line, code, mistake, advice):
    before = {path: path.is_file() and path.read_bytes() for path in project.rglob("*")}
    ran = run_lvlora(shlex.split(line), code=code)
    assert ran.stdout == ""
    lines = [s for s in ran.stderr.splitlines() if s.startswith(("Error: ", "Hint: "))]
    assert [s.partition(":")[0] for s in lines] == ["Error", "Hint"]
    assert mistake in " ".join(lines)
    assert advice in " ".join(lines)
    assert before == {path: path.is_file() and path.read_bytes() for path in project.rglob("*")}
