"""Devices, pipes and endless links in place of a file: refused by name, at once, without memory."""

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
import tiny_runs

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs Unix")

QUICK = ["--adapter", "none", "--horizon", "2", "--samples", "1"]
SECONDS = 60
"""Of waiting, on a busy machine; what hangs hangs for ever."""


@pytest.fixture(autouse=True)
def _no_hang():
    def alarm(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


KINDS = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
}


def replace(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    return tmp_path


FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "model.safetensors", "other.safetensors"),
    *("vocab.json", "chat_template.jinja"),
)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *((file, "pipe") for file in FILES),
        ("tokenizer_config.json", "device"),
        ("tokenizer.json", "device"),
        ("model.safetensors", "device"),
    ],
)
def test_in_a_model_folder(run_lvlora, here, tiny_folder, file, kind):
    model = shutil.copytree(tiny_folder("qwen2"), here / "model")
    replace(model / file, kind)
    ran = run_lvlora(["forecast", "data.csv", "--model", model, *QUICK], code=4)
    assert file in ran.stderr
    assert "memory" not in ran.stderr
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak < 4 * 2**20  # KiB


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_folder):
    """A run that was stopped in the middle."""
    from lvlora.cli.program.app import main

    root = tmp_path_factory.mktemp("run")
    data = tiny_runs.write_csv(root / "data.csv", tiny_runs.dataset())
    words = tiny_runs.flags(tiny_folder("qwen2"), root / "runs", out=root / "runs" / "mine")
    assert main(["train", str(data), *words, "--quiet"]) == 0
    (root / "runs" / "mine" / "result.json").unlink()
    return root / "runs"


RUN_FILES = (
    *("name", "metrics.jsonl", "environment.json", "data.json", "config.toml"),
    *("adapter/adapter_config.json", "adapter/lvlora.json", "adapter/adapter_model.safetensors"),
)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *(
            pytest.param(file, "pipe", marks=() if file == "name" else pytest.mark.slow)
            for file in RUN_FILES
        ),
        pytest.param("name", "device", marks=pytest.mark.slow),
        ("environment.json", "device"),
        ("environment.json", "loop"),
    ],
)
def test_in_a_run(run_lvlora, here, finished, file, kind):
    runs = shutil.copytree(finished, here / "runs")
    replace(runs / "mine" / file, kind)
    ran = {
        words[0]: run_lvlora([*words, "--runs", runs])
        for words in (
            ["forecast", "data.csv", "--adapter", "mine", "--horizon", "2", "--samples", "1"],
            ["report", "mine"],
            ["train", "--resume", "mine"],
        )
    }
    for done in ran.values():
        # what is only for people may be done without; nothing else is
        assert done.exit_code in (0, 2, 4), done
        assert "unforeseen" not in done.stderr
        assert "memory" not in done.stderr
    assert ran["forecast"].exit_code == (4 if file.startswith("adapter/") else 0)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_in_place_of_a_runs_lock(run_lvlora, here, finished, kind):
    """A lock is never emptied, least of all what a link of a stranger's run leads to."""
    runs = shutil.copytree(finished, here / "runs")
    Path("thesis.tex").write_text("years of work")
    lock = runs / "mine" / ".lock"
    lock.unlink()
    if kind == "link":
        lock.symlink_to(here / "thesis.tex")
    else:
        os.mkfifo(lock)
    ran = run_lvlora(["train", "--resume", "mine", "--runs", runs], code=4)
    assert f"{lock}: cannot be used" in ran.stderr
    assert Path("thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["device", "loop"])
def test_in_place_of_settings(run_lvlora, here, kind):
    KINDS[kind](here / "mine.toml")
    for words in (["train", "--config", "mine.toml"], ["sweep", "--space", "mine.toml"]):
        ran = run_lvlora([*words, "data.csv", "--max-flops", "1e9"])
        assert ran.exit_code in (2, 4), ran.stderr
        assert "mine.toml" in ran.stderr
        assert "memory" not in ran.stderr


def test_settings_and_data_may_come_from_a_command(run_lvlora, here, tiny_folder):
    """What ``<(…)`` gives is a pipe with somebody at its other end."""
    read, write = os.pipe()
    os.write(write, f'[forecast]\nmodel = "{tiny_folder("qwen2")}"\n'.encode())
    os.close(write)
    ran = run_lvlora(["forecast", "data.csv", "--config", f"/dev/fd/{read}", *QUICK, "--json"])
    os.close(read)
    assert ran.exit_code == 0, ran.stderr
    assert ran.json["model"]["name"] == "qwen2"


def test_links_to_files_are_files(run_lvlora, here, tiny_folder):
    """The hub's cache is a folder of them."""
    model = here / "model"
    model.mkdir()
    for file in tiny_folder("qwen2").iterdir():
        (model / file.name).symlink_to(file)
    run_lvlora(["forecast", "data.csv", "--model", model, *QUICK], code=0)


@pytest.mark.parametrize("kind", [*KINDS, "dangling link", "folder"])
@pytest.mark.parametrize("command", ["flops", "forecast"])
def test_a_ledger_that_is_no_file_is_refused(run_lvlora, here, tiny_folder, kind, command):
    ledger = here / "runs/ledger.sqlite"
    ledger.parent.mkdir()
    if kind == "dangling link":
        ledger.symlink_to(here / "nowhere.sqlite")
    elif kind == "folder":
        ledger.mkdir()
    else:
        replace(ledger, kind)
    line = {
        "flops": ["flops", "--ledger"],
        "forecast": ["forecast", "data.csv", "--model", tiny_folder("qwen2"), "--adapter", "none"],
    }[command]
    ran = run_lvlora([*line, "--runs", "runs"], code=2)
    assert "ledger.sqlite" in ran.stderr
    assert "--runs" in ran.stderr
    assert not (here / "nowhere.sqlite").exists()
