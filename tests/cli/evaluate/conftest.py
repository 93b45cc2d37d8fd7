"""What tests of baseline and evaluate share: short data, two trained runs."""

import shutil
from pathlib import Path

import pytest

SIMULATED = ["-n", "14", "--n-steps", "30", "--duration", "60"]


@pytest.fixture
def data(run_lvlora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.h5"
    run_lvlora(["simulate", path, *SIMULATED], code=0)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_folder) -> Path:
    """The folder of two runs on the same data as `data`'s."""
    from lvlora.cli.program.app import main

    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["simulate", "data.h5", *SIMULATED, "--quiet"]) == 0
        for rank in ("1", "2"):
            args = ["train", "data.h5", "--model", str(tiny_folder("qwen2")), "--rank", rank]
            args += ["--max-steps", "1", "--seq-len", "64", "--no-validation", "--threads", "1"]
            args += ["--out", f"runs/rank-{rank}", "--json"]
            assert main(args) == 0
    return place / "runs"


@pytest.fixture
def runs(trained, data) -> list[str]:
    """Two trained runs, by name, to work with."""
    shutil.copytree(trained, "runs")
    return ["rank-1", "rank-2"]
