"""`lvlora doctor`: says what is there, what is wrong, and what to do."""

import importlib.metadata

import pytest

from lvlora.cli import doctor


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A bundled model that is there, and a hub cache that is empty."""
    from lvlora.model import catalogue

    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path)
    monkeypatch.setattr(catalogue, "cached_snapshot", lambda hub_id, revision=None: None)


def _checks(ran) -> dict:
    return {check["name"]: check for check in ran.json["checks"]}


def test_a_good_installation(run_lvlora, healthy):
    ran = run_lvlora(["doctor"], code=0)
    assert "torch" in ran.stdout
    assert "Next: lvlora train" in ran.stderr


def test_json(run_lvlora, healthy):
    ran = run_lvlora(["doctor", "--json"])
    assert ran.json["schema_version"] == 1
    assert ran.json["healthy"] is True
    checks = _checks(ran)
    assert list(checks) == [
        *("packages", "processor", "decoder", "GPU", "memory", "disk", "models")
    ]
    for check in checks.values():
        assert check["status"] in ("ok", "note")
        assert check["found"]
    assert "bundled" in checks["models"]["found"]
    assert "qwen2.5-0.5b" in checks["models"]["advice"]


def test_models_of_the_cache_are_named(run_lvlora, healthy, monkeypatch, tmp_path):
    from lvlora.model import catalogue

    monkeypatch.setattr(catalogue, "cached_snapshot", lambda hub_id, revision=None: tmp_path)
    models = _checks(run_lvlora(["doctor", "--json"]))["models"]
    assert "smollm2-135m" in models["found"]
    assert not models["advice"]


def test_a_missing_model_is_a_problem_with_advice(run_lvlora, healthy, monkeypatch, tmp_path):
    from lvlora.model import catalogue

    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path / "nowhere")
    ran = run_lvlora(["doctor", "--json"], code=1)
    assert ran.json["healthy"] is False
    assert _checks(ran)["models"]["status"] == "problem"
    assert "pip install" in _checks(ran)["models"]["advice"]


def test_missing_packages_are_named_and_extras_are_no_need(run_lvlora, healthy, monkeypatch):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("optuna", "pyarrow"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    ran = run_lvlora(["doctor", "--json"], code=1)
    assert _checks(ran)["packages"]["advice"] == "pip install optuna"


def test_a_check_that_fails_does_not_hide_the_others(run_lvlora, healthy, monkeypatch):
    def broken(runs) -> tuple:
        raise OSError("libcuda is odd")

    monkeypatch.setitem(doctor._LOOKS, "GPU", broken)
    ran = run_lvlora(["doctor", "--json"], code=1)
    assert "libcuda is odd" in _checks(ran)["GPU"]["found"]
    assert _checks(ran)["disk"]["status"] == "ok"


def test_a_disk_that_cannot_be_written(run_lvlora, healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    ran = run_lvlora(["doctor", "--runs", tmp_path / "a" / "b", "--json"])
    assert _checks(ran)["disk"]["status"] == "problem"
    assert str(tmp_path) in _checks(ran)["disk"]["found"]


def test_more_threads_than_cores(run_lvlora, healthy, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 10_000)
    processor = _checks(run_lvlora(["doctor", "--json"]))["processor"]
    assert processor["status"] == "note"
    assert "--threads" in processor["advice"]


def test_says_why_pytorch_decodes_instead(run_lvlora, healthy, monkeypatch):
    from lvlora.model.native import building

    monkeypatch.setattr(building, "library", lambda dtype: None)
    without = _checks(run_lvlora(["doctor", "--json"], env={"CC": "no-such-compiler"}))["decoder"]
    assert without["status"] == "note"
    assert "install a C compiler" in without["advice"]
    off = run_lvlora(["doctor", "--json"], env={"LVLORA_NATIVE": "0"})
    assert "LVLORA_NATIVE=0" in _checks(off)["decoder"]["found"]
    assert "not a setting" not in off.stderr
