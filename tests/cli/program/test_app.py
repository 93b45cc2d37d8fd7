"""Exit codes, errors as sentences, light start-up, help, completion, signals and pipes."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from lvlora.cli.program import from_settings
from lvlora.cli.program.root import COMMANDS, app, load, load_all
from lvlora.errors import BudgetError, DataError, LvloraError, RunStopped, SettingsError

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "scipy", "sklearn", "matplotlib", "optuna", "h5py", "pyarrow")
REGISTERED = list(COMMANDS)


def _raising(error: BaseException) -> typer.Typer:
    program = typer.Typer(pretty_exceptions_enable=False)

    @program.command()
    def fail(debug: bool = False) -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (LvloraError("It broke.", "Mend it."), 1, "Error: It broke."),
        (SettingsError("No such thing.", "Mend it."), 2, "Error: No such thing."),
        (BudgetError("Too dear.", "Mend it."), 3, "Error: Too dear."),
        (DataError("x.csv, row 3: no number.", "Mend it."), 4, "Error: x.csv, row 3: no number."),
        (RunStopped("Stopped at step 3.", "Mend it."), 75, "Warning: Stopped at step 3."),
        (KeyboardInterrupt(), 130, "was interrupted before it was done."),
        (MemoryError(), 1, "not enough memory"),
        (KeyError("out of memory"), 1, "an unforeseen KeyError"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left", "runs/x"), 1, "no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 1, "runs/x: Permission"),
        (ValueError("a secret\nof many lines"), 1, "an unforeseen ValueError: a secret"),
    ],
)
def test_an_error_is_a_line_a_hint_and_a_code(run_lvlora, error, code, sentence):
    ran = run_lvlora([], program=_raising(error), code=code)
    assert ran.stdout == ""
    first, *rest = ran.stderr.splitlines()
    assert sentence in first
    assert len(rest) <= 1
    assert "Traceback" not in ran.stderr
    if isinstance(error, LvloraError):
        assert first == sentence
        assert rest[0].endswith("Mend it.")


@pytest.mark.parametrize(("args", "env"), [(["--debug"], {}), ([], {"LVLORA_DEBUG": "1"})])
def test_a_traceback_is_for_those_who_ask(run_lvlora, args, env):
    ran = run_lvlora(args, env=env, program=_raising(ValueError("why")), code=1)
    assert "Traceback" in ran.stderr
    assert "Error: an unforeseen ValueError: why" in ran.stderr


def test_a_file_name_cannot_write_to_the_terminal(run_lvlora):
    ran = run_lvlora([], program=_raising(DataError("a\x1b[31mb\x07\x1b]0;owned\x07c\rd\u202e")))
    assert ran.stderr == "Error: abc d\n"


def test_the_program_alone(run_lvlora):
    assert re.fullmatch(r"lvlora \d+\.\d+\.\d+\S*\n", run_lvlora(["--version"]).stdout)
    ran = run_lvlora([], code=2)
    assert "simulate" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.slow
def test_ctrl_c_before_the_program_is_there(monkeypatch, capsys):
    from lvlora import __main__
    from lvlora.cli.program import app as program

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "main", interrupted)
    monkeypatch.setattr(__main__, "gc", SimpleNamespace(set_threshold=lambda *_: None, freeze=int))
    assert __main__.main() == 130
    assert capsys.readouterr().err == "Warning: lvlora was interrupted before it was done.\n"


def _modules_after(*calls: list[str]) -> set[str]:
    """What a process has imported that made these calls one after the other."""
    code = (
        "import sys\nfrom lvlora.cli.program.app import main\n"
        f"for args in {calls!r}: main(args)\nprint('\\nMODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    return set(done.stdout.rpartition("\nMODULES ")[2].split())


LIGHT = [
    ["--help"],
    ["--version"],
    ["simulat"],
    ["simulate", "--nois"],
    ["simulate", "--noise", "-1"],
    ["simulate", "--print-config"],
    ["flops", "--budget", "1e17"],
    ["flops", "--vary", "rank=2,4"],
    ["flops", "--architecture"],
    *([name, "--help"] for name in REGISTERED),
]


def test_help_and_usage_errors_are_light():
    loaded = _modules_after(*LIGHT)
    assert {f"lvlora.cli.{name}" for name in REGISTERED} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_every_command_is_listed_with_the_first_line_of_its_help():
    load_all()
    assert {command.name for command in app.registered_commands} == set(COMMANDS)
    assert set(from_settings.COMMANDS) >= set(COMMANDS)
    for command in app.registered_commands:
        assert command.callback.__doc__.partition("\n")[0] == COMMANDS[command.name]


def test_only_the_command_that_is_called_is_loaded():
    loaded = _modules_after(["simulate", "--help"])
    assert "lvlora.cli.simulate" in loaded
    assert "lvlora.cli.doctor" not in loaded
    assert "pydantic" not in _modules_after(["--help"])


@pytest.mark.slow
def test_a_forecast_of_the_bundled_model_needs_neither_transformers_nor_the_compiler():
    """Either takes longer to import than the forecast takes (docs/notes/speed.md)."""
    file = str(ROOT / "examples" / "trajectory.csv")
    words = ["--model", "bundled", "--adapter", "none", "--samples", "2", "--horizon", "2"]
    loaded = _modules_after(["forecast", file, *words])
    assert {"torch", "lvlora.model.llama"} <= loaded
    assert loaded.isdisjoint({"transformers", "torch._dynamo", "matplotlib", "optuna"})
    # the hindcast's scaled error has the season of the history, which scipy finds
    assert "scipy" not in _modules_after(["forecast", file, *words, "--no-hindcast"])


@pytest.mark.parametrize("name", REGISTERED)
def test_every_command_has_help_and_examples(run_lvlora, name):
    command = load(name)
    assert (command.help or "").strip()
    for option in command.params:
        assert option.hidden or (option.help or "").strip(), f"{name} {option.opts} has no help"
    commands = re.findall(r"\[bold\](lvlora [^[]*)\[/bold\]", command.epilog or "")
    assert len(commands) >= 2
    for line in commands:
        assert line.split()[1] == name
        assert len(line) <= 76, "an example must not wrap at 80 columns"
    ran = run_lvlora([name, "-h"], code=0)
    assert ran.stderr == ""
    assert "Examples" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "…" not in ran.stdout
    assert "<bool>" not in ran.stdout


@pytest.mark.parametrize("name", ["forecast", "train", "sweep", "evaluate", "baseline", "flops"])
def test_the_help_of_a_large_command_begins_with_its_common_options(run_lvlora, name):
    load(name)
    model = from_settings.COMMANDS[name]
    assert 8 <= len(model.common) <= 15
    assert set(model.common) <= set(model.model_fields)
    panels = re.findall(r"─ ([A-Z][^─]*) ─", run_lvlora([name, "-h"]).stdout)
    panels = [panel for panel in panels if panel != "Arguments"]
    assert panels[0] == "Common options"
    assert panels[-1] == "General"
    assert all(panel.startswith("More: ") for panel in panels[1:-1])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run_lvlora, shell):
    ran = run_lvlora([], env={"_LVLORA_COMPLETE": f"source_{shell}"})
    assert ran.exit_code == 0, ran.stderr
    assert "_LVLORA_COMPLETE" in ran.stdout
    assert f"complete_{shell}" in ran.stdout


def test_ctrl_c_leaves_a_sentence(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-X", "importtime", "-m", "lvlora"),
            *("simulate", "x.h5", "-n", "100000", "--n-steps", "50"),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # a background job's children inherit that Ctrl-C is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        # on a busy machine it may be any time until the program is there
        next(line for line in process.stderr if line.endswith(" lvlora.data.simulate\n"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    warning = "Warning: lvlora simulate was interrupted before it was done."
    assert err.strip().splitlines()[-1] == warning
    assert list(tmp_path.iterdir()) == []


def _shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; lvlora() {{ {sys.executable} -m lvlora "$@"; }}; {line}'],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )


def test_install_completion_installs_it(tmp_path, monkeypatch):
    # the shell is this process's parent's, if there is one
    monkeypatch.setenv("HOME", str(tmp_path))
    done = _shell("lvlora --install-completion; echo code $?", tmp_path)
    assert "code 0" in done.stdout, done.stderr
    assert list(tmp_path.rglob("*lvlora*"))


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    done = _shell("lvlora flops -q | head -1", tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_working_folder_that_was_deleted(tmp_path):
    for line in ("forecast x.csv", "train"):
        gone = _shell(f"mkdir gone; cd gone; rmdir ../gone; lvlora {line}", tmp_path)
        assert gone.returncode == 2, gone.stderr
        assert gone.stderr.count("Error: ") == gone.stderr.count("Hint: ") == 1
        assert "Traceback" not in gone.stderr


@pytest.mark.slow
def test_closed_streams_and_full_disks(tmp_path):
    assert _shell("lvlora flops >&-", tmp_path).returncode == 0
    assert _shell("lvlora flops 2>&-", tmp_path).returncode == 0
    for line in ("forecast -", "train -", "forecast x.csv --config -"):
        closed = _shell(f"lvlora {line} <&-", tmp_path)
        assert closed.returncode in (2, 4), closed.stderr
        assert "Hint: " in closed.stderr
        assert "unforeseen" not in closed.stderr
    full = _shell("lvlora flops > /dev/full", tmp_path)
    assert full.returncode == 1
    assert "no space left" in full.stderr
    assert "Traceback" not in full.stderr


def test_an_ascii_terminal_gets_ascii(run_lvlora_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text(
        "time,prey,predator\n" + "".join(f"{i},{1 + i % 5},{2 + i % 7}\n" for i in range(40))
    )
    env = {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "80"}
    ran = run_lvlora_process(["analyze", "data.csv"], env=env)
    assert ran.exit_code == 0
    assert (ran.stdout + ran.stderr).isascii()
    assert "?" not in ran.stdout
    tables = [line for line in ran.stdout.splitlines() if "|" in line]
    assert max(map(len, tables)) <= 80
