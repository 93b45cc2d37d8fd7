"""`lvlora doctor`: a look at the installation, with advice for each problem."""

import importlib.metadata

import pytest

from lvlora.cli import doctor
from lvlora.model import catalogue
from lvlora.model.native import building


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A bundled model that is there, and a hub cache that is empty."""
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path)
    monkeypatch.setattr(catalogue, "cached_snapshot", lambda hub_id, revision=None: None)


@pytest.fixture
def check(run_lvlora, healthy):
    """``check("models", code=1)``: one of the checks, as JSON."""

    def run(name: str, *words: object, **options):
        ran = run_lvlora(["doctor", *words, "--json"], **options)
        assert ran.json["healthy"] == (ran.exit_code == 0)
        return {check["name"]: check for check in ran.json["checks"]}[name]

    return run


def test_a_good_installation(run_lvlora, healthy):
    ran = run_lvlora(["doctor"], code=0)
    assert "torch" in ran.stdout
    assert "Next: lvlora train" in ran.stderr
    answer = run_lvlora(["doctor", "--json"], code=0).json
    assert (answer["schema_version"], answer["healthy"]) == (1, True)
    checks = {check["name"]: check for check in answer["checks"]}
    assert list(checks) == "packages processor decoder GPU memory disk models".split()
    assert all(check["status"] in ("ok", "note") and check["found"] for check in checks.values())
    assert "bundled" in checks["models"]["found"]
    assert "qwen2.5-0.5b" in checks["models"]["advice"]


def test_models_of_the_cache_are_named(check, monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "cached_snapshot", lambda hub_id, revision=None: tmp_path)
    models = check("models")
    assert "smollm2-135m" in models["found"]
    assert not models["advice"]


def test_a_missing_model_is_a_problem_with_advice(check, monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path / "nowhere")
    models = check("models", code=1)
    assert models["status"] == "problem"
    assert "pip install" in models["advice"]


def test_missing_packages_are_named_and_extras_are_no_need(check, monkeypatch):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("optuna", "pyarrow"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert check("packages", code=1)["advice"] == "pip install optuna"


def test_a_check_that_fails_does_not_hide_the_others(check, monkeypatch):
    def broken(runs) -> tuple:
        raise OSError("libcuda is odd")

    monkeypatch.setitem(doctor._LOOKS, "GPU", broken)
    assert "libcuda is odd" in check("GPU", code=1)["found"]
    assert check("disk")["status"] == "ok"


def test_a_disk_that_cannot_be_written(check, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    disk = check("disk", "--runs", tmp_path / "a" / "b")
    assert disk["status"] == "problem"
    assert str(tmp_path) in disk["found"]


def test_more_threads_than_cores(check, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 10_000)
    processor = check("processor")
    assert processor["status"] == "note"
    assert "--threads" in processor["advice"]


def test_the_reason_why_pytorch_decodes_instead(run_lvlora, check, monkeypatch):
    monkeypatch.setattr(building, "library", lambda dtype: None)
    without = check("decoder", env={"CC": "no-such-compiler"})
    assert without["status"] == "note"
    assert "install a C compiler" in without["advice"]
    off = run_lvlora(["doctor"], env={"LVLORA_NATIVE": "0"})
    assert "LVLORA_NATIVE=0" in off.stdout
    assert "not a setting" not in off.stderr
