"""Damage to any file of a run, a full disk and a wrong clock: noticed, or without consequence."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import tiny_runs

from lvlora.errors import LvloraError
from lvlora.train import run_folder
from lvlora.train.record import Observer
from lvlora.train.run import Run
from lvlora.train.settings import TrainSettings


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x08
    file.write_bytes(content)


def _cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file):
    file.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("damage", [_flip, _cut, _empty, Path.unlink])
def test_damage_to_any_file_of_a_run_is_noticed_or_harmless(
    run_lvlora, tiny_folder, tmp_path, monkeypatch, damage
):
    """A run that goes on either ends byte-equal or says which file kept it from that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lvlora.train.fine_tune.draw_run", lambda folder: [folder / "report.html"])
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset())
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))
    assert run_lvlora(["train", "data.csv", *flags, "--out", "whole"]).exit_code == 0
    expected = tiny_runs.weights(Path("whole"))
    last = tiny_runs.weights(Path("whole"), "adapter-last")
    tell = run_folder.RunFolder.append

    def append(self, record):
        tell(self, record)
        if record.get("step") == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.RunFolder, "append", append)
        assert run_lvlora(["train", "data.csv", *flags, "--out", "stopped"]).exit_code == 75
    files = [p for p in sorted(Path("stopped").rglob("*")) if p.is_file() and p.stat().st_size]
    assert len(files) >= 12
    for file in files:
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree("stopped", "run")
        victim = Path("run", *file.parts[1:])
        damage(victim)
        ran = run_lvlora(["train", "--resume", "run"])
        message = f"{damage.__name__} {file}: {ran.exit_code} {ran.stderr}"
        assert "Traceback" not in ran.stderr, message
        assert "unforeseen" not in ran.stderr, message
        assert ran.exit_code in (0, 2, 4), message
        if ran.exit_code == 0 and "best adapter" in ran.stderr:
            assert "adapter" in file.parts, message
            assert tiny_runs.weights(Path("run"), "adapter-last") == last, message
        elif ran.exit_code == 0:
            assert tiny_runs.weights(Path("run")) == expected, message
        if "state" in file.parts and "step-00000005" in file.parts:
            assert "passed over" in ran.stderr, message
            assert str(victim.parent) in ran.stderr, message
        # the finished adapter, damaged in the same way, is never used without a word
        if "adapter" in file.parts:
            shutil.rmtree("run")
            shutil.copytree("whole", "run")
            damage(victim)
            model = ["--model", tiny_folder("qwen2"), "--adapter", "run", "--dtype", "float32"]
            ran = run_lvlora(["forecast", "data.csv", *model, "--greedy", "-n", 1])
            # without lvlora.json it is an adapter from elsewhere
            assert ran.exit_code == 4 or victim.name == "lvlora.json", ran.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs the rights of root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def _fill(place):
    with (place / "ballast").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass


def test_a_disk_that_fills_up_ends_the_run_with_a_sentence_and_it_goes_on(
    tiny_folder, tmp_path, small_disk
):
    model = tiny_folder("qwen2")
    reference = tiny_runs.folder(tmp_path / "r", "whole")
    Run(tiny_runs.loaded(model, tmp_path / "r"), reference, Observer()).train()

    class Filler(Observer):
        def step(self, record):
            if record.step == 4:
                _fill(small_disk)

    # the ledger stands elsewhere: it has to record what was spent
    loaded = tiny_runs.loaded(model, tmp_path / "r")
    elsewhere = TrainSettings(runs=tmp_path / "r", out=small_disk / "run")
    folder = run_folder.create(elsewhere, "")
    with pytest.raises(LvloraError) as caught:
        Run(loaded, folder, Filler()).train()
    assert caught.value.exit_code == 1
    assert str(small_disk / "run") in caught.value.message
    assert "space" in caught.value.message + caught.value.hint
    (small_disk / "ballast").unlink()
    loaded = tiny_runs.loaded(model, tmp_path / "r")
    Run(loaded, run_folder.RunFolder(small_disk / "run"), Observer(), resume=True).train()
    assert tiny_runs.weights(small_disk / "run") == tiny_runs.weights(reference.path)
