"""Saved states are whole or passed over, and never the only one is deleted."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lvlora.errors import LvloraError
from lvlora.train import checkpoint


def _training(seed=0):
    torch.manual_seed(seed)
    parameters = {"a": nn.Parameter(torch.randn(3, 4)), "b": nn.Parameter(torch.randn(5))}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.1)
    return parameters, optimizer


def _advance(parameters, optimizer, n=1):
    for _ in range(n):
        loss = sum((p**2).sum() for p in parameters.values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def _save(folder, step, parameters, optimizer, keep=2, **facts):
    return checkpoint.save(folder, step, parameters, [optimizer], facts, keep)


def test_a_restored_training_goes_on_as_if_nothing_had_happened(tmp_path):
    parameters, optimizer = _training()
    _advance(parameters, optimizer, 3)
    _save(tmp_path, 3, parameters, optimizer, note="n", flops=str(10**20))
    _advance(parameters, optimizer, 3)

    again, fresh = _training(seed=1)
    state, warnings = checkpoint.latest(tmp_path)
    assert warnings == []
    assert state.step == 3
    assert state.facts == {"note": "n", "flops": str(10**20)}
    checkpoint.restore(state.tensors, tmp_path, again, [fresh])
    _advance(again, fresh, 3)
    for name in parameters:
        assert torch.equal(parameters[name], again[name])


def test_the_newest_are_kept_and_later_ones_of_another_past_go(tmp_path):
    parameters, optimizer = _training()
    for step in (2, 4, 6):
        _save(tmp_path, step, parameters, optimizer)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000006"]
    (tmp_path / "step-00000006/state.safetensors").write_bytes(b"broken")
    assert checkpoint.latest(tmp_path)[0].step == 4
    _save(tmp_path, 5, parameters, optimizer)  # the run went on from 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_saving_the_same_state_again_touches_nothing(tmp_path):
    parameters, optimizer = _training()
    folder = _save(tmp_path, 1, parameters, optimizer, keep=1, a=1)
    inode = (folder / "state.safetensors").stat().st_ino
    _save(tmp_path, 1, parameters, optimizer, keep=1, a=1)
    assert (folder / "state.safetensors").stat().st_ino == inode
    _save(tmp_path, 1, parameters, optimizer, keep=1, a=2)
    assert checkpoint.latest(tmp_path)[0].facts == {"a": 2}


def _damages():
    def flip(path: Path, where: float) -> None:
        content = bytearray(path.read_bytes())
        content[min(int(where * len(content)), len(content) - 1)] ^= 4
        path.write_bytes(bytes(content))

    for name in ("state.safetensors", "manifest.json"):
        for where in (0.0, 0.3, 0.55, 0.8, 0.97):
            yield name, lambda path, where=where: flip(path, where)
        yield name, lambda path: path.write_bytes(path.read_bytes()[:-20])
        yield name, lambda path: path.write_bytes(b"")
        yield name, Path.unlink
    yield "manifest.json", lambda path: path.write_text("[1, 2]")
    yield "manifest.json", lambda path: path.write_text("[" * 100_000)


@pytest.mark.parametrize(("name", "damage"), list(_damages()))
def test_a_damaged_state_is_passed_over_by_name(tmp_path, name, damage):
    parameters, optimizer = _training()
    for step in (1, 2):
        _advance(parameters, optimizer)
        _save(tmp_path, step, parameters, optimizer, spent=["123456789", "987654321"], best=0.25)
    before = (tmp_path / "step-00000002" / name).read_bytes()
    damage(tmp_path / "step-00000002" / name)
    state, warnings = checkpoint.latest(tmp_path)
    if not warnings:  # a flipped bit in a space of the JSON says the same
        after = (tmp_path / "step-00000002" / name).read_bytes()
        assert json.loads(before) == json.loads(after)
        return
    assert state.step == 1
    assert len(warnings) == 1
    assert str(tmp_path / "step-00000002") in warnings[0]


def test_every_bit_of_a_manifest_matters(tmp_path):
    parameters, optimizer = _training()
    folder = _save(tmp_path, 7, parameters, optimizer, spent=["123", "987"], best=0.25)
    manifest = folder / "manifest.json"
    content = manifest.read_bytes()
    whole = json.loads(content)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 1
        manifest.write_bytes(bytes(broken))
        state, _ = checkpoint.latest(tmp_path)
        if state is not None:
            assert json.loads(bytes(broken)) == whole


def test_a_state_of_other_parameters_is_refused(tmp_path):
    parameters, optimizer = _training()
    _save(tmp_path, 1, parameters, optimizer)
    state, _ = checkpoint.latest(tmp_path)
    other = {"a": nn.Parameter(torch.zeros(2, 2))}
    with pytest.raises(LvloraError, match="other parameters"):
        checkpoint.restore(state.tensors, tmp_path, other, [torch.optim.AdamW(other.values())])


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limits here")
def test_a_full_disk_keeps_the_old_state_and_says_how_much_is_needed(tmp_path):
    parameters, optimizer = _training()
    _advance(parameters, optimizer)
    _save(tmp_path, 1, parameters, optimizer)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, before[1]))
    try:
        with pytest.raises(LvloraError) as caught:
            _save(tmp_path, 2, parameters, optimizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "step-00000002" in caught.value.message
    assert "212 bytes" in caught.value.hint  # 17 values, twice 17 moments, two counts of steps
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.latest(tmp_path)[0].step == 1


_KILLED = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from lvlora.train import checkpoint
torch.set_num_threads(1)
p = {"a": nn.Parameter(torch.ones(4))}
o = torch.optim.AdamW(p.values())  # the first one imports much
p["a"].sum().backward(); o.step()

def saves(folder, at):
    calls = 0
    def counting(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), 9)
            return function(*args, **kwargs)
        return call
    checkpoint.save(folder, 1, p, [o], {})
    for module, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "unlink"),
                         (checkpoint, "save_file"), (checkpoint.shutil, "rmtree")):
        setattr(module, name, counting(getattr(module, name)))
    for step in (2, 3, 4):
        checkpoint.save(folder, step, p, [o], {})
    os._exit(0)

at, killed = 0, True
while killed:
    at += 1
    child = os.fork()
    if child == 0:
        saves(Path(sys.argv[1]) / str(at), at)
    killed = os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    state, warnings = checkpoint.latest(Path(sys.argv[1]) / str(at))
    assert state is not None and warnings == [], (at, warnings)
    assert killed or state.step == 4
print(at)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_before_any_write_or_rename_there_is_a_state(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
