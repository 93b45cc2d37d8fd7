"""What a shell may complete: commands, options, words, models, runs, studies, layers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "transformers", "numpy", "scipy", "matplotlib", "optuna", "h5py"}


@pytest.fixture
def typed(run_lvlora):
    """``typed("lvlora train --ra")``: what bash offers for the last word."""

    def complete(line: str, **env: str) -> list[str]:
        variables = {
            "_LVLORA_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        ran = run_lvlora([], env=variables | env, code=0)
        return ran.stdout.split()

    return complete


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of three runs, a study and an evaluation."""
    monkeypatch.chdir(tmp_path)
    names = ("20260101T000000Z-a", "20260102T000000Z-b", "20260103T000000Z-new", "search", "table")
    for name in names:
        (tmp_path / "runs" / name).mkdir(parents=True)
    return tmp_path


def test_runs_studies_and_evaluations_the_newest_first(typed, project):
    newest = ["20260103T000000Z-new", "20260102T000000Z-b", "20260101T000000Z-a"]
    assert typed("lvlora forecast x.csv --adapter 2026") == newest
    assert typed("lvlora train --resume 2026") == newest
    assert typed("lvlora export 20260101") == newest[2:]
    assert typed("lvlora evaluate --adapter l") == ["latest"]
    assert typed("lvlora sweep --study s") == ["search"]
    assert typed("lvlora report t") == ["table"]


def test_runs_elsewhere(typed, project, monkeypatch):
    monkeypatch.chdir("/")
    assert typed("lvlora sweep --study ") == []
    elsewhere = project / "runs"
    assert typed("lvlora sweep --study s", LVLORA_RUNS=str(elsewhere)) == ["search"]
    assert typed(f"lvlora sweep --runs {elsewhere} --study s") == ["search"]


def test_the_last_layer_of_a_list(typed):
    assert typed("lvlora train --targets q") == ["q_proj"]
    assert typed("lvlora train --targets q_proj,v") == ["q_proj,v_proj"]
    assert "q_proj,q_proj" not in typed("lvlora train --targets q_proj,")
    assert "all-linear" in typed("lvlora train --targets ")
    assert typed("lvlora train --tracker tensorboard,w") == ["tensorboard,wandb"]


def test_commands_options_and_words(typed):
    assert typed("lvlora forecast x.csv --forecaster sindy") == [
        "sindy-on-levels",
        "sindy-on-rates",
    ]
    assert typed("lvlora tr") == ["train"]
    assert "--learning-rate" in typed("lvlora train --lea")
    assert typed("lvlora train --model b") == ["bundled"]
    assert "qwen2.5-0.5b" in typed("lvlora train --model qwen")
    assert typed("lvlora train --schedule con") == ["constant"]


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "lvlora sweep --study "}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "lvlora sweep --study ",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_other_shells_are_answered_too(run_lvlora, project, shell, env):
    ran = run_lvlora([], env={"_LVLORA_COMPLETE": f"complete_{shell}", **env})
    assert "search" in ran.stdout


def test_an_answer_to_a_shell_loads_nothing_heavy(project):
    code = (
        "import sys\nfrom lvlora.cli.program.app import main\n"
        "main([])\nprint('\\nMODULES', *sys.modules)"
    )
    line = "lvlora forecast x.csv --model q"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_LVLORA_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": "4",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    words, _, loaded = done.stdout.partition("\nMODULES ")
    assert "qwen2.5-0.5b" in words
    assert "typer" in loaded.split()
    assert HEAVY.isdisjoint(loaded.split())
