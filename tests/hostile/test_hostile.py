"""Bad files end in one sentence, quickly and in little memory; nothing from outside is run."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("gguf")

from hostile import prison
from hostile.crafted import CRAFTED
from hostile.readers import READERS, command

from lvlora.errors import LvloraError

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists() or not hasattr(os, "fork"), reason="needs Linux"
)


@pytest.fixture(autouse=True)
def _memory_pool(monkeypatch):
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve address space


@pytest.mark.parametrize("name", CRAFTED)
def test_every_crafted_file_is_refused(name, tmp_path):
    cases = list(CRAFTED[name]())
    read = READERS[name].reading(tmp_path)

    def refuse(number):
        _, content, reason = cases[number]
        with pytest.raises(LvloraError) as caught:
            read(content)
        assert caught.value.exit_code in (2, 4), caught.value.message
        assert reason in f"{caught.value.message} {caught.value.hint}"
        raise caught.value

    findings = prison.judge(range(len(cases)), refuse)
    assert not findings.broken, "\n".join(f"{cases[n][0]}: {words}" for n, words in findings.broken)
    assert findings.refused == len(cases)


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_are_good_files(name, tmp_path):
    read = READERS[name].reading(tmp_path)
    seeds = READERS[name].seeds()
    if name == "toml":  # one of them is a space, which is no configuration
        seeds = seeds[:1]
    findings = prison.judge(range(len(seeds)), lambda n: read(seeds[n]))
    assert not findings.broken, findings.broken
    assert findings.read == len(seeds)


def test_the_prison_notices_what_it_must(monkeypatch):
    monkeypatch.setattr(prison, "SECONDS", 0.5)

    def misbehave(number):
        match number:
            case 0:
                raise KeyError("x")
            case 1:
                os.abort()
            case 2:
                bytearray(2 * prison.EXTRA_MEMORY)
            case 3:
                while True:
                    pass
            case 4:
                raise LvloraError("a \x1b[31m name")

    findings = prison.judge(range(6), misbehave)
    words = dict(findings.broken)
    assert "KeyError" in words[0]
    assert "SIGABRT" in words[1]
    assert "MemoryError" in words[2]
    assert "over 5 s" in words[3]
    assert "control characters" in words[4]
    assert findings.read == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", READERS)
def test_mutated_files_break_nothing(name):
    """Some seconds of what ``fuzz.py`` does for minutes."""
    fuzz = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, fuzz, "--reader", name, "--minutes", "0.1", "--seed", "7"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


class _Touch:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_pickle_in_any_disguise_is_not_run(tmp_path):
    mark = tmp_path / "pwned"
    payload = pickle.dumps(_Touch(str(mark)))
    pickle.loads(payload)
    assert mark.exists()  # it does what it says, where somebody loads it
    mark.unlink()
    for name, reader in READERS.items():
        if name == "metrics":  # lines that are no JSON are passed over
            continue
        read = reader.reading(_new(tmp_path / name))
        with pytest.raises(LvloraError):
            read(payload)
        assert not mark.exists()
    model = _new(tmp_path / "model")
    for file in ("pytorch_model.bin", "model.pt", "adapter_model.bin", "training_args.bin"):
        (model / file).write_bytes(payload)
    (model / "config.json").write_text('{"model_type": "qwen2"}')
    data = tmp_path / "d.csv"
    data.write_text("time,x\n" + "".join(f"{i},{i % 3 + 1}\n" for i in range(30)))
    with pytest.raises(LvloraError, match=r"safetensors"):
        command(["forecast", str(data), "--model", str(model), "--runs", str(tmp_path / "runs")])
    assert not mark.exists()


def _new(path):
    path.mkdir()
    return path


NAMES = (
    *("../outside", "..", ".", "a/../../outside", "/tmp/outside", "runs/../../outside", "x\0y"),
    *("x" * 300, "-rf", "\x1b[31mred", "a\nb", "con:x", "~root", "$HOME", "`id`", "%2e%2e"),
    *("\u202ex", "..\\outside", " ", "latest/../../x", "ledger.sqlite"),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "words",
    [
        ("forecast", "d.csv", "--model", "bundled", "--adapter"),
        ("report",),
        ("train", "d.csv", "--model", "bundled", "--resume"),
        ("sweep", "--status", "--study"),
        ("flops", "--ledger", "--close"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_leads_nowhere(name, words, tmp_path, monkeypatch):
    """No name of a run, a study or an adapter reads or writes outside of the runs."""
    inside = _new(tmp_path / "inside")
    monkeypatch.chdir(inside)
    (inside / "runs").mkdir()
    Path("d.csv").write_text("time,x\n" + "".join(f"{i},{i % 3 + 1}\n" for i in range(30)))
    before = sorted(tmp_path.rglob("*"))
    arguments = (
        [*words[:-1], f"{words[-1]}={name}"] if words[-1].startswith("--") else [*words, "--", name]
    )
    with pytest.raises(LvloraError) as caught:  # the runs hold nothing to be named
        command(arguments)
    assert "\x1b" not in caught.value.message
    created = [p for p in sorted(tmp_path.rglob("*")) if p not in before]
    assert not [p for p in created if inside / "runs" not in p.parents], created
    shutil.rmtree(inside)
