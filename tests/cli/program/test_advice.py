"""Commands that are printed as advice work as they are printed."""

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from lvlora.cli.program import from_settings
from lvlora.cli.program.context import next_command
from lvlora.cli.program.root import COMMANDS, load_all
from lvlora.data.settings import AnalyzeSettings
from lvlora.evaluation.settings import BaselineSettings
from lvlora.settings.fields import read_fields
from lvlora.train.settings import TrainSettings

PACKAGE = Path(__file__).parents[3] / "lvlora"
CHEAP = tiny_runs.CHEAP | {
    **{"LVLORA_VIEWS": "1", "LVLORA_HORIZON": "4", "LVLORA_CONTEXT": "10"},
    **{"LVLORA_VALIDATION_SERIES": "2", "LVLORA_TRIALS": "2", "LVLORA_RIVALS": "false"},
}


@pytest.fixture
def project(tmp_path, monkeypatch, run_lvlora, tiny_folder):
    """A table whose columns need to be named, and who runs commands and what they advise."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(24)
    rows = ["the patient,moment,b,a"]
    for i in range(6):
        values = 3 + np.sin(time / (2 + i / 5))[:, None] + np.array([0, 1])
        rows += [f"p {i},{t},{x:.2f},{y:.2f}" for t, (x, y) in zip(time, values, strict=True)]
    Path("my data.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("LVLORA_MODEL", str(tiny_folder("qwen2")))

    class Project:
        reading = ("--id-column", "the patient", "--time-column", "moment", "--columns", "a,b")

        def run(self, *words, env=None, fails=False):
            ran = run_lvlora(words, env={**CHEAP, **(env or {})})
            assert (ran.exit_code != 0) == fails, f"{shlex.join(map(str, words))}\n{ran.stderr}"
            return ran

        def advised(self, ran, at_least=1):
            """The commands of its "Next:" lines."""
            lines = [
                line for line in ran.stderr.splitlines() if re.match(r"(Next|Train|Score)", line)
            ]
            lines_advised = [c for line in lines for c in commands(line)]
            assert len(lines_advised) >= at_least, ran.stderr
            return lines_advised

        def follow(self, ran, at_least=1, env=None):
            lines_advised = self.advised(ran, at_least)
            for line in lines_advised:
                words = ["my data.csv" if w == "FILE" else w for w in shlex.split(line)[1:]]
                if "my data.csv" in words and "--id-column" not in words:
                    words += [*self.reading[:4]]  # a placeholder's file has its own columns
                self.run(*[w for w in words if w != "--open"], env=env)
            return lines_advised

    return Project()


def commands(text: str) -> list[str]:
    """The commands of lvlora in a sentence: up to the words that are no part of one."""
    parts = re.split(r"(?=\blvlora [a-z]+\b)", text)
    ends = r"[;,] |,? (?=(?:draws|shows|says|compares|trains|or|then)\b)|,?$"
    return [re.split(ends, part)[0] for part in parts if part.startswith("lvlora ")]


@pytest.mark.slow
def test_the_data_are_read_the_same_way_again(project):
    data = ("my data.csv", *project.reading)
    for name in ("analyze", "tokenize"):
        lines_advised = project.advised(project.run(name, *data))
        for line in lines_advised:
            if not line.startswith("lvlora flops"):
                assert shlex.split(line)[2 : 3 + len(project.reading)] == list(data)
        project.follow(project.run(name, *data), 2)


def test_what_simulate_and_flops_advise_works(project):
    project.follow(project.run("simulate", "made here.csv", "-n", "6", "--n-steps", "24"), 2)
    ran = project.run("flops", env={"LVLORA_MODEL": None})
    for line in project.advised(ran, 2):
        project.run(*shlex.split(line)[1:])
    assert "the coursework's model" in ran.stderr
    assert "coursework" not in project.run("flops", "--model", "bundled").stderr


def test_from_the_baseline_to_the_report(project):
    data = ("my data.csv", *project.reading)
    lines_advised = project.follow(project.run("baseline", *data), 2)
    assert [line.split()[1] for line in lines_advised] == ["train", "evaluate"]
    project.follow(project.run("evaluate", *data, "--adapter", "none", "--out", "an evaluation"))


@pytest.mark.slow
@pytest.mark.parametrize("held_out", [0, 4])
def test_the_next_command_works(project, held_out):
    ran = project.run(
        *("train", "my data.csv", *project.reading, "--out", "runs/one-run"),
        *("--validation-steps", held_out),
    )
    (line,) = project.follow(ran, env={"LVLORA_LIMIT": None, "LVLORA_HORIZON": None})
    words = shlex.split(line)
    worse = "no better" in ran.stderr
    assert words[1:3] == ["forecast" if worse else "evaluate", "my data.csv"]
    assert ("--series" in words) == worse
    assert words[words.index("--adapter") + 1] == ("none" if worse else "runs/one-run")


@pytest.mark.slow
def test_exports_are_used_as_is_said(project, tmp_path):
    project.run("train", "my data.csv", *project.reading, "--out", "runs/r")
    for option in ("--merged", "--peft"):
        ran = project.run("export", "runs/r", option, f"my {option[2:]}")
        project.follow(ran)
    base = re.search(r"base model for peft: (.+)", ran.stderr)
    assert base is not None
    assert (Path(base[1]) / "config.json").is_file()
    from transformers import AutoModelForCausalLM

    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(base[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft about transformers
        peft.PeftModel.from_pretrained(model, str(tmp_path / "my peft"))


@pytest.mark.slow
def test_the_best_trial_of_a_sweep_is_trained_and_scored(project):
    ran = project.run("sweep", "my data.csv", *project.reading, "--max-steps", "2")
    lines_advised = project.follow(ran, 2)
    assert [line.split()[1] for line in lines_advised] == ["train", "evaluate"]


def test_standard_input_is_given_again():
    inputs = AnalyzeSettings(data=Path("-"), id_column="who")
    assert next_command("baseline", BaselineSettings, inputs) == (
        "lvlora baseline - --id-column who < FILE"
    )
    assert next_command("train", TrainSettings, AnalyzeSettings()) == "lvlora train"


def _texts():
    """(place, text) of every string in the package that may be shown; "{…}" is X."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        inner = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
            if part is not node
        }
        for node in ast.walk(tree):
            place = f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else " X " for p in node.values)
                yield place, re.sub(" +", " ", "".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in documented and id(node) not in inner:
                    yield place, node.value


@functools.cache
def _options(command: str) -> set[str]:
    load_all()
    settings = from_settings.COMMANDS[command]
    options = {"--help", "--json", "--dry-run", "--config", "--quiet", "--print-config"}
    for field in read_fields(settings):
        options.update(field.declarations)
    return options


def test_every_command_in_a_text_has_the_options_that_are_said():
    n_checked = 0
    for place, text in _texts():
        for match in re.finditer(
            r"\blvlora ([a-z]+)((?: (?:--?[a-z][\w-]*|[A-Z][\w.-]*|X|-))*)", text
        ):
            command, words = match[1], match[2].split()
            if command not in COMMANDS:
                continue  # a sentence about lvlora
            for word in words:
                if word.startswith("--"):
                    n_checked += 1
                    assert word in _options(command), f"{place}: lvlora {command} has no {word}"
    assert n_checked > 20


def _hinted(ran, pattern):
    """The command in a hint, as the words of a shell."""
    (line,) = re.findall(pattern, ran.stderr)
    return shlex.split(line)[1:]


def test_a_killed_run_is_settled_as_its_hint_says(project):
    reserve = (
        "from pathlib import Path\nimport ledgers\nfrom lvlora.flops.ledger import Ledger\n"
        "with Ledger.for_runs(Path('my runs')) as ledger:\n"
        "    ledgers.reserve(ledger, run='a run')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", reserve], check=True, env=env)
    ran = project.run("flops", "--ledger", "--runs", "my runs")
    project.run(*_hinted(ran, r"(lvlora flops --ledger.*) settles it"))
    ran = project.run("flops", "--ledger", "--runs", "my runs")
    assert "settles it" not in ran.stderr


def test_refusals_say_commands_that_work(project, unbounded):
    data = ["my data.csv", *project.reading]
    short = {"LVLORA_MAX_STEPS": "4", "LVLORA_VALIDATION": "false"}
    plan = project.run("train", *data, "--dry-run", "--json", env=short).json
    most = plan["flops_at_most"]["executed"]
    # the limit is reached when half is done, in a second go
    project.run("train", *data, "--out", "one", "--json", "--max-flops", str(most), env=short)
    ran = project.run("forecast", *data[:5], "--adapter", "one", "--calibrated", fails=True)
    assert "lvlora evaluate DATA --calibrate" in ran.stderr
    # two futures are often alike, and have no width
    more = {"LIMIT": "6", "HORIZON": "2", "CONTEXT": "20", "SAMPLES": "12"}
    env = {f"LVLORA_{name}": value for name, value in more.items()}
    project.run("evaluate", *data, *"--adapter one --calibrate --split all".split(), env=env)
    there = project.run("train", *data, "--out", "one", env=short, fails=True)
    assert "by --resume" in there.stderr
    project.run("train", "--resume", "one", env=short)
