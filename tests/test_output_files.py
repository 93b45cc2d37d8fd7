"""Files that a user named: what is written through, followed, kept and refused."""

import os
import re
import stat
from pathlib import Path

import pytest

from lvlora import folders, output_files
from lvlora.errors import DataError, LvloraError, SettingsError

OURS = "a,b,c\n1,2,3\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_new_file_has_the_usual_mode():
    mask = os.umask(0o027)
    try:
        output_files.write_text(Path("t.csv"), "new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(Path("t.csv").stat().st_mode) == 0o640


def test_what_fails_leaves_the_file_as_it_was():
    Path("t.csv").write_text(OURS)

    def fail():
        with output_files.writing(Path("t.csv")) as part:
            part.write_text("half")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail()
    assert Path("t.csv").read_text() == OURS
    assert os.listdir() == ["t.csv"]


def test_not_over_a_file_that_appears_meanwhile():
    def write():
        with output_files.writing(Path("t.csv"), over=False) as part:
            part.write_text("new")
            Path("t.csv").write_text("theirs")

    with pytest.raises(DataError):
        write()
    assert Path("t.csv").read_text() == "theirs"


SQLITE, LOG = b"SQLite format 3\0rest", b"\x37\x7f\x06\x82rest"
SAFETENSORS = (64).to_bytes(8, "little") + b'{"w":{}}'


@pytest.mark.parametrize(
    ("content", "message", "with_overwrite"),
    [
        (b"", "already there", None),
        (b"\\documentclass{thesis}", "already there", None),
        (SQLITE, "is a database, and is not replaced", "is a database"),
        (LOG, "is a database, and is not replaced", "is a database"),
        (b"GGUF\3\0\0\0", "is a model, and is not replaced", "is a model"),
        (SAFETENSORS, "is a model, and is not replaced", "is a model"),
    ],
)
def test_what_may_be_replaced(content, message, with_overwrite):
    path = Path("t.csv")
    path.write_bytes(content)
    for overwrite, expected in ((False, message), (True, with_overwrite)):
        if expected is None:
            output_files.check("-o", path, overwrite=overwrite)
        else:
            with pytest.raises(SettingsError, match=expected):
                output_files.check("-o", path, overwrite=overwrite)
    assert path.read_bytes() == content


def test_what_the_command_needs_is_never_replaced():
    Path("in.csv").write_text(OURS)
    Path("model").mkdir()
    Path("model/x.csv").write_text(OURS)
    Path("link.csv").symlink_to("in.csv")
    Path("hard.csv").hardlink_to("in.csv")
    spared = {"the input": Path("in.csv"), "the model": Path("model"), "ledger": Path("l.sqlite")}
    for name in ("in.csv", "link.csv", "hard.csv", "model/../in.csv"):
        with pytest.raises(SettingsError, match="is the input"):
            output_files.check("-o", Path(name), overwrite=True, spared=spared)
    with pytest.raises(SettingsError, match="is the model"):
        output_files.check("-o", Path("model/x.csv"), overwrite=True, spared=spared)
    with pytest.raises(SettingsError, match="is ledger"):
        output_files.check("-o", Path("l.sqlite"), overwrite=True, spared=spared)
    output_files.check("-o", Path("model/new.csv"), spared=spared)


def test_a_part_of_a_run_is_never_replaced():
    Path("run/adapter").mkdir(parents=True)
    folders.mark(Path("run"), "run", ["metrics.jsonl", "adapter/*.json"])
    Path("run/adapter/x.json").write_text("{}")
    Path("run/mine.csv").write_text(OURS)
    with pytest.raises(SettingsError, match="is a part of the run"):
        output_files.check("-o", Path("run/adapter/x.json"), overwrite=True)
    output_files.check("-o", Path("run/mine.csv"), overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is no file to write to"),
        ("socket", "is no file to write to"),
        ("loop", "cannot be written to"),
        ("no/t.csv", "the folder no is not there"),
        ("lost", "the folder .*gone is not there"),
        ("x" * 300, "cannot be written to"),
        ("-", "is no file to write to"),
    ],
)
def test_what_cannot_be_written_to(name, message):
    import socket

    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("lost").symlink_to("gone/t.csv")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(SettingsError, match=message) as caught:
            output_files.check("-o", Path(name))
    assert caught.value.hint


def test_a_full_device_is_said(tmp_path):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    Path("full.csv").symlink_to("/dev/full")
    output_files.check("-o", Path("full.csv"))
    with pytest.raises(LvloraError, match=re.escape("full.csv: cannot be written")):
        output_files.write_text(Path("full.csv"), "x" * 100_000)
    assert Path("full.csv").is_symlink()
