"""Saved states are whole or passed over, and never the only one is deleted."""

import json
import resource
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from lvlora.errors import LvloraError
from lvlora.train.run_folder import latest_state, restore_tensors, save_state


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


def _save(folder, step, parameters, optimizer, **facts):
    return save_state(folder, step, parameters, [optimizer], facts)


def test_a_restored_training_goes_on_as_if_nothing_had_happened(tmp_path):
    parameters, optimizer = _training()
    _advance(parameters, optimizer, 3)
    _save(tmp_path, 3, parameters, optimizer, note="n", flops=str(10**20))
    _advance(parameters, optimizer, 3)

    again, fresh = _training(seed=1)
    state, warnings = latest_state(tmp_path)
    assert warnings == []
    assert state.step == 3
    assert state.facts == {"note": "n", "flops": str(10**20)}
    restore_tensors(state.tensors, tmp_path, again, [fresh])
    _advance(again, fresh, 3)
    for name in parameters:
        assert torch.equal(parameters[name], again[name])


def test_the_newest_are_kept_and_later_ones_of_another_past_go(tmp_path):
    parameters, optimizer = _training()
    for step in (2, 4, 6):
        _save(tmp_path, step, parameters, optimizer)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000006"]
    (tmp_path / "step-00000006/state.safetensors").write_bytes(b"broken")
    assert latest_state(tmp_path)[0].step == 4
    _save(tmp_path, 5, parameters, optimizer)  # the run went on from 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_saving_the_same_state_again_touches_nothing(tmp_path):
    parameters, optimizer = _training()
    folder = _save(tmp_path, 1, parameters, optimizer, a=1)
    inode = (folder / "state.safetensors").stat().st_ino
    _save(tmp_path, 1, parameters, optimizer, a=1)
    assert (folder / "state.safetensors").stat().st_ino == inode
    _save(tmp_path, 1, parameters, optimizer, a=2)
    assert latest_state(tmp_path)[0].facts == {"a": 2}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGES = [
    *(
        (name, damage)
        for name in ("state.safetensors", "manifest.json")
        for damage in (
            _flip,
            lambda path: path.write_bytes(path.read_bytes()[:-20]),
            lambda path: path.write_bytes(b""),
            Path.unlink,
        )
    ),
    ("manifest.json", lambda path: path.write_text("[1, 2]")),
    ("manifest.json", lambda path: path.write_text("[" * 100_000)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_state_is_passed_over_by_name(tmp_path, name, damage):
    parameters, optimizer = _training()
    for step in (1, 2):
        _advance(parameters, optimizer)
        _save(tmp_path, step, parameters, optimizer, spent=["123456789", "987654321"], best=0.25)
    damage(tmp_path / "step-00000002" / name)
    state, (warning,) = latest_state(tmp_path)
    assert state.step == 1
    assert str(tmp_path / "step-00000002") in warning


def test_every_bit_of_a_manifest_matters(tmp_path):
    parameters, optimizer = _training()
    folder = _save(tmp_path, 7, parameters, optimizer, spent=["123", "987"], best=0.25)
    manifest = folder / "manifest.json"
    content = manifest.read_bytes()
    reference = json.loads(content)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 1
        manifest.write_bytes(bytes(broken))
        state, _ = latest_state(tmp_path)
        if state is not None:
            assert json.loads(bytes(broken)) == reference


def test_a_state_of_other_parameters_is_refused(tmp_path):
    parameters, optimizer = _training()
    _save(tmp_path, 1, parameters, optimizer)
    state, _ = latest_state(tmp_path)
    other = {"a": nn.Parameter(torch.zeros(2, 2))}
    with pytest.raises(LvloraError, match="other parameters"):
        restore_tensors(state.tensors, tmp_path, other, [torch.optim.AdamW(other.values())])


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limits here")
def test_a_full_disk_keeps_the_old_state(tmp_path):
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
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert latest_state(tmp_path)[0].step == 1
