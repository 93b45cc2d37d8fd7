"""Where to compute and how precisely."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lvlora.errors import SettingsError
from lvlora.model import devices


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have other hardware."""

    def pretend(cuda=False, mps=False, cpu_bfloat16=False, gpu_bfloat16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_bfloat16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(devices, "probe_bfloat16", lambda: cpu_bfloat16)

    return pretend


@pytest.mark.parametrize(
    ("hardware", "device", "dtype", "expected"),
    [
        ({}, "auto", "auto", ("cpu", torch.float32)),
        ({"cpu_bfloat16": True}, "auto", "auto", ("cpu", torch.bfloat16)),
        ({"cpu_bfloat16": True}, "cpu", "float32", ("cpu", torch.float32)),
        ({}, "cpu", "bfloat16", ("cpu", torch.bfloat16)),
        ({"cuda": True}, "auto", "auto", ("cuda", torch.bfloat16)),
        ({"cuda": True, "gpu_bfloat16": False}, "auto", "auto", ("cuda", torch.float32)),
        ({"cuda": True, "gpu_bfloat16": False}, "cuda", "bfloat16", ("cuda", torch.bfloat16)),
        ({"cuda": True}, "cpu", "auto", ("cpu", torch.float32)),
        # an Apple GPU must be asked for
        ({"mps": True}, "auto", "auto", ("cpu", torch.float32)),
        ({"mps": True}, "mps", "auto", ("mps", torch.bfloat16)),
    ],
)
def test_choices(machine, hardware, device, dtype, expected):
    machine(**hardware)
    placement = devices.choose(device, dtype)
    assert (placement.device.type, placement.dtype) == expected
    assert placement.reason


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(machine, device):
    machine()
    with pytest.raises(SettingsError, match=f"device {device}") as caught:
        devices.choose(device)
    assert "device cpu" in caught.value.hint


@pytest.mark.parametrize(("half", "single", "native"), [(0.5, 1.0, True), (0.9, 1.0, False)])
def test_the_probe_compares_times(monkeypatch, half, single, native):
    times = {torch.bfloat16: half, torch.float32: single}
    monkeypatch.setattr(devices, "product_seconds", times.__getitem__)
    # the flag alone says nothing of speed
    monkeypatch.setattr(devices, "processor", lambda: "Intel(R) Xeon(R) avx512f avx512_bf16")
    devices.probe_bfloat16.cache_clear()
    assert devices.probe_bfloat16() is native
    devices.probe_bfloat16.cache_clear()


@pytest.mark.parametrize(
    "words", ["AMD EPYC 9B45 avx512f avx512_bf16", "Intel(R) Xeon(R) avx512_bf16 amx_bf16"]
)
def test_a_processor_known_to_multiply_bfloat16_fast_is_not_timed(monkeypatch, words):
    monkeypatch.setattr(devices, "product_seconds", lambda dtype: pytest.fail("it was timed"))
    monkeypatch.setattr(devices, "processor", lambda: words)
    devices.probe_bfloat16.cache_clear()
    assert devices.probe_bfloat16() is True
    devices.probe_bfloat16.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_freed_memory_is_kept_until_it_is_given_back():
    """In a process of its own: what is kept is kept from then on."""
    program = """
import torch
from lvlora.model.devices import give_back_freed_memory, keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if not keep_freed_memory():
    raise SystemExit("skip")
begun = resident()
some = [torch.ones(50_000) for _ in range(500)]  # 100 MB
last = torch.ones(50_000)  # so that the heap's end stays where it is
del some
kept = resident()
give_back_freed_memory()
print(kept - begun, resident() - begun)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if "skip" in done.stderr:
        pytest.skip("another C library")
    saved, given_back = map(int, done.stdout.split())
    assert saved > 90e6
    assert given_back < 20e6
