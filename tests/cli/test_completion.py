"""What a shell may complete beyond options: models, runs, layers."""

from __future__ import annotations

from lvlora.cli import completion


def test_models():
    assert completion.models("b") == ["bundled"]
    assert "qwen2.5-0.5b" in completion.models("qwen")
    assert completion.models("/some/path") == []
    assert "tinyllama-1.1b" in completion.priced_models("")


def test_runs_with_an_adapter_the_newest_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completion.runs("") == []
    for name in ("20260101T000000Z-a", "20260102T000000Z-b"):
        (tmp_path / "runs" / name / "adapter").mkdir(parents=True)
    (tmp_path / "runs" / "20260103T000000Z-broken").mkdir()
    expected = ["runs/20260102T000000Z-b", "runs/20260101T000000Z-a"]
    assert completion.runs("") == expected
    assert completion.runs("runs/20260101") == expected[1:]
    monkeypatch.setenv("LVLORA_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir("/")
    assert len(completion.runs(str(tmp_path))) == 2


def test_the_last_layer_of_a_list():
    assert completion.linear_layers("q") == ["q_proj"]
    assert completion.linear_layers("q_proj,v") == ["q_proj,v_proj"]
    assert "q_proj,q_proj" not in completion.linear_layers("q_proj,")
    assert "all-linear" in completion.linear_layers("")
