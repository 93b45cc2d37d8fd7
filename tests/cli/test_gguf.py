"""Commands with a base model in a .gguf file."""

from pathlib import Path

import pytest

pytest.importorskip("gguf")
TINY = Path(__file__).parents[1] / "hostile" / "corpus" / "gguf" / "tiny.gguf"
EXAMPLE = Path(__file__).parents[2] / "examples" / "trajectory.csv"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_gguf_file_is_converted_once(run_lvlora, tmp_path):
    line = ["forecast", EXAMPLE, "--model", TINY, "--adapter", "none", "--horizon", "1"]
    ran = run_lvlora([*line, "--samples", "1", "--json"], code=0)
    converted = list((tmp_path / "hf").glob("lvlora-gguf/*/config.json"))
    assert len(converted) == 1
    again = run_lvlora([*line, "--samples", "1", "--json"])
    assert again.json["series"] == ran.json["series"]


def test_its_shape_is_priced_without_its_weights(run_lvlora, tmp_path):
    ran = run_lvlora(["flops", "--model", TINY, "--json"], code=0)
    assert ran.json["trainable_parameters"] > 0
