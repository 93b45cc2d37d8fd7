"""The examples that the help shows run as they stand.

Variables make them cheap: a tiny model, short sequences, few series. What an example says itself
wins over them.
"""

import re
import shlex
from pathlib import Path

import pytest
import tiny_runs

from lvlora.cli.program.root import COMMANDS, load

ROOT = Path(__file__).parents[2]
LIGHT = ("simulate", "analyze", "tokenize", "flops", "doctor")
"""Commands whose examples take seconds; the others' are read by default, and run with -m slow."""

ELSEWHERE = ("export", "report")
"""Commands whose examples need a run or an adapter; their own tests make one and run them."""


def _examples(name: str) -> list[str]:
    return re.findall(r"\[bold\](lvlora .*?)\[/bold\]", load(name).epilog or "")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Data, the examples, a ledger."""
    from lvlora.data.files import write_dataset
    from lvlora.data.settings import SimulateSettings
    from lvlora.data.simulate import simulate
    from lvlora.flops.ledger import Ledger

    folder = tmp_path_factory.mktemp("project")
    dataset = simulate(SimulateSettings(n_series=8, n_steps=100))
    for file in ("data.h5", "data.csv"):
        write_dataset(dataset, folder / file, overwrite=False)
    (folder / "space.toml").write_text("rank = {low = 1, high = 8}\n")
    (folder / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    Ledger.for_runs(folder / "runs").disconnect()
    return folder


@pytest.mark.parametrize(
    "line", [line for name in COMMANDS for line in _examples(name)], ids=lambda line: line[7:]
)
def test_an_example_is_read(run_lvlora, line):
    words = shlex.split(re.split(" [<>|] ", line)[0])[1:]
    run_lvlora([*words, "--print-config"], code=0)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=() if name in LIGHT else pytest.mark.slow)
        for name in COMMANDS
        if name not in ELSEWHERE
        for line in _examples(name)
    ],
    ids=lambda line: line[7:],
)
def test_an_example_runs(run_lvlora, tiny_folder, project, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    for file in project.iterdir():
        if file.name != "runs":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ledger.sqlite").write_bytes((project / "runs/ledger.sqlite").read_bytes())
    words = shlex.split(line)[1:]
    # the only one that needs the network has the tiny model's tokenizer instead
    tokenizer = words[0] == "tokenize"
    tiny = str(tiny_folder("qwen2"))
    words = [tiny if tokenizer and word == "qwen2.5-0.5b" else word for word in words]
    standard_input = None
    for sign in (">", "|"):
        if sign in words:
            words = words[: words.index(sign)]
    if "<" in words:
        standard_input = Path(words.pop()).read_text()
        words.remove("<")
    # the preset's contexts are longer than the tiny model reads
    model = "bundled" if "coursework" in words else tiny
    env = {} if words[0] == "flops" else {**tiny_runs.CHEAP, "LVLORA_MODEL": model}
    if words[0] == "sweep" and "--status" in words:
        assert run_lvlora(["sweep", "data.h5", "--max-steps", "1"], env=env).exit_code == 0
    for run in ("first", "second"):
        if run in words:
            train = ["train", "data.h5", "--max-steps", "1", "--out", f"runs/{run}"]
            assert run_lvlora(train, env=env).exit_code == 0
    ran = run_lvlora(words, input=standard_input, env=env, code=0)
    assert ran.stdout
