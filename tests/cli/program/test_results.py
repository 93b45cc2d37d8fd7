"""Where results may be written: through the real commands, in a temporary folder."""

import os
import stat
import threading
from pathlib import Path

import pytest
import tiny_runs

from lvlora import folders
from lvlora.flops.ledger import Ledger


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    """A working directory with data; a quick forecast."""
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(2, n_steps=8))
    quick = tiny_runs.quick(tiny_folder("qwen2"))
    return ["forecast", "data.csv", *quick, *"--samples 2 --horizon 2".split()]


def test_a_forecast_goes_through_links_and_pipes_and_keeps_modes(run_lvlora, words):
    os.mkfifo("pipe")
    Path("kept").mkdir()
    Path("link.png").symlink_to("kept/picture.png")
    got = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()))
    reader.start()
    more = ["-o", "pipe", "--samples-out", "drawn.csv", "--plot", "link.png"]
    ran = run_lvlora([*words, *more])
    reader.join(20)
    assert ran.exit_code == 0, ran.stderr
    assert got[0].startswith("id,time,variable,median,mean,")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert Path("link.png").is_symlink()
    assert Path("kept/picture.png").read_bytes().startswith(b"\x89PNG")
    for name in ("drawn.csv", "kept/picture.png"):
        Path(name).chmod(0o600)
    # nobody may read the new ones who could not read the old ones
    run_lvlora([*words, "-o", "table.csv", *more[2:], "--overwrite"], code=0)
    for name in ("drawn.csv", "kept/picture.png"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    assert not list(Path().rglob("*.part"))


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("-o", "data.csv", "is the input"),
        ("--plot", "same.png", "already there"),
        ("-o", "thesis.tex", "already there"),
        ("-o", "runs/ledger.sqlite", "is the ledger"),
        ("-o", "m.gguf", "is a model"),
        ("-o", "settings.toml", "is the configuration"),
    ],
)
def test_what_a_forecast_is_not_written_over(run_lvlora, words, option, name, message):
    with Ledger.for_runs(Path("runs")):
        pass
    Path("same.png").write_text("no picture")
    Path("thesis.tex").write_text("years of work")
    Path("m.gguf").write_bytes(b"GGUF\3\0\0\0")
    Path("settings.toml").write_text("[forecast]\nsamples = 2\n")
    before = Path(name).read_bytes()
    ran = run_lvlora([*words, "--config", "settings.toml", option, name], code=2)
    assert message in ran.stderr
    assert ran.stdout == ""
    assert Path(name).read_bytes() == before


def test_what_others_hold_is_not_written_over_while_it_is_nothing_yet(run_lvlora, words):
    """The journal of a ledger is there while somebody spends; the lock of a run is empty."""
    folders.mark(Path("mine"), "run", ["name"])
    Path("mine/.lock").touch()
    for name, message in [
        ("runs/ledger.sqlite-journal", "is the ledger's journal"),
        ("mine/.lock", "is a part of the run"),
    ]:
        ran = run_lvlora([*words, "-o", name, "--overwrite"], code=2)
        assert message in ran.stderr


def test_a_file_is_replaced_when_asked_but_never_the_input(run_lvlora, words):
    Path("old.txt").write_text("old")
    assert run_lvlora([*words, "-o", "old.txt", "--overwrite"]).exit_code == 0
    assert Path("old.txt").read_text().startswith("id,time,variable,")
    run_lvlora([*words, "-o", "data.csv", "--overwrite"], code=2)


def test_an_evaluation_takes_no_folder_of_others(run_lvlora, words):
    Path("mine").mkdir()
    Path("mine/report.html").write_text("mine")
    data = ["baseline", "data.csv", "--no-model", "--context", "4", "--horizon", "2"]
    for more in ([], ["--fresh"]):
        ran = run_lvlora([*data, "--out", "mine", *more], code=2)
        assert "holds no evaluation" in ran.stderr
    assert os.listdir("mine") == ["report.html"]
    assert Path("mine/report.html").read_text() == "mine"


def test_an_analysis_is_not_put_into_an_export(run_lvlora, words):
    folders.mark(Path("mine"), "export", ["config.json"])
    ran = run_lvlora(["analyze", "data.csv", "--out", "mine"], code=2)
    assert "is the folder of an earlier export" in ran.stderr
    assert folders.kind_of(Path("mine")) == "export"


def test_an_analysis_replaces_its_own_figures_alone(run_lvlora, words):
    Path("mine").mkdir()
    Path("mine/split.json").write_text("mine")
    ran = run_lvlora(["analyze", "data.csv", "--out", "mine"], code=2)
    assert "lvlora did not write its split.json" in ran.stderr
    assert os.listdir("mine") == ["split.json"]
    for _ in range(2):
        assert run_lvlora(["analyze", "data.csv", "--out", "figures"]).exit_code == 0
