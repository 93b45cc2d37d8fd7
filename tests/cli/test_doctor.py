"""`lvlora doctor`: says what is there, what is wrong, and what to do."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from lvlora.cli import doctor, installed

ROOT = Path(__file__).parents[2]


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
    ran = run_lvlora(["doctor"])
    assert ran.exit_code == 0, ran.stdout
    assert "torch" in ran.stdout
    assert "Next: lvlora train" in ran.stderr


def test_json(run_lvlora, healthy):
    ran = run_lvlora(["doctor", "--json"])
    assert ran.json["schema_version"] == 1
    assert ran.json["healthy"] is True
    checks = _checks(ran)
    for name in ("python", "packages", "processor", "bfloat16", "GPU", "memory", "disk"):
        assert checks[name]["status"] in ("ok", "note")
        assert checks[name]["found"]
    assert "1 kB" in checks["bundled model"]["found"]
    assert "qwen2.5-0.5b" in checks["hub cache"]["advice"]


def test_a_missing_model_is_a_problem_with_advice(run_lvlora, healthy, monkeypatch, tmp_path):
    from lvlora.model import catalogue

    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path / "nowhere")
    ran = run_lvlora(["doctor", "--json"])
    assert ran.exit_code == 1
    assert ran.json["healthy"] is False
    assert _checks(ran)["bundled model"]["status"] == "problem"
    assert "pip install" in _checks(ran)["bundled model"]["advice"]


def test_missing_packages_are_named(run_lvlora, healthy, monkeypatch):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("optuna", "pyarrow"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(installed.importlib.metadata, "version", version)
    ran = run_lvlora(["doctor", "--json"])
    assert ran.exit_code == 1
    assert _checks(ran)["packages"]["advice"] == "pip install optuna"
    assert "lvlora[parquet]" in _checks(ran)["extra parquet"]["advice"]
    assert _checks(ran)["extra parquet"]["status"] == "ok", "an extra is no need"


def test_every_extra_is_looked_at():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: re.match(r"[\w-]+", wanted[0])[0]
        for name, wanted in project["optional-dependencies"].items()
        if name not in ("all", "dev")
    }
    assert {name: package for name, (package, _) in installed.EXTRAS.items()} == extras


def test_a_machine_without_a_compiler(run_lvlora, healthy, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    ran = run_lvlora(["doctor", "--json"])
    assert ran.exit_code == 0
    assert _checks(ran)["compiler"]["status"] == "note"
    assert "g++" in _checks(ran)["compiler"]["advice"]


def test_a_damaged_ledger_is_a_problem(run_lvlora, healthy, tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    ran = run_lvlora(["doctor", "--runs", tmp_path, "--json"])
    assert ran.exit_code == 1
    assert _checks(ran)["ledger"]["status"] == "problem"
    assert _checks(ran)["ledger"]["advice"]


def test_a_ledger_says_what_was_spent(run_lvlora, healthy, tmp_path):
    from lvlora.flops.ledger import Ledger

    with Ledger.for_runs(tmp_path) as ledger:
        ledger.reserve(
            run="a", phase="train", executed=10**12, coursework=1, command="train", budget=10**13
        )
    found = _checks(run_lvlora(["doctor", "--runs", tmp_path, "--json"]))["ledger"]["found"]
    assert found == "1e12 FLOPs of 1e13, executed"


def test_a_check_that_fails_does_not_hide_the_others(run_lvlora, healthy, monkeypatch):
    def broken() -> list:
        raise OSError("libcuda is odd")

    monkeypatch.setattr(doctor, "_gpu", broken)
    ran = run_lvlora(["doctor", "--json"])
    assert ran.exit_code == 1
    assert "libcuda is odd" in _checks(ran)["GPU"]["found"]
    assert _checks(ran)["disk"]["status"] == "ok"


def test_a_full_or_closed_disk(run_lvlora, healthy, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    ran = run_lvlora(["doctor", "--runs", tmp_path / "a" / "b", "--json"])
    assert _checks(ran)["disk"]["status"] == "problem"
    assert _checks(ran)["hub cache"]["status"] == "note"
    assert "HF_HOME" in _checks(ran)["hub cache"]["advice"]
    assert str(tmp_path) in _checks(ran)["disk"]["found"]


def test_more_threads_than_cores(run_lvlora, healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_usable_cores", lambda: 0)
    ran = run_lvlora(["doctor", "--json"])
    assert _checks(ran)["processor"]["status"] == "note"
    assert "--threads 0" in _checks(ran)["processor"]["advice"]


def test_the_table_fits_80_columns(run_lvlora, healthy):
    table = run_lvlora(["doctor"]).stdout.partition("\n\n")[0]
    assert "found" in table.splitlines()[0]
    assert max(map(len, table.splitlines())) <= 80
