"""Model folders that promise more than they hold, or would keep a machine busy: refused at once."""

import json
import shutil
import time
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
from safetensors.torch import load_file, save_file

from lvlora.model import distrust
from lvlora.model.catalogue import resolve
from lvlora.model.loading import weights_sha256

WORDS = ["--adapter", "none", "--horizon", "2", "--samples", "1"]
SECONDS = 30
"""On a busy machine; without the checks each takes minutes."""


@pytest.fixture
def model(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(1))
    return shutil.copytree(tiny_folder("qwen2"), tmp_path / "model")


@pytest.fixture
def refused(run_lvlora, model):
    def run() -> str:
        begun = time.monotonic()
        ran = run_lvlora(["forecast", "data.csv", "--model", model, *WORDS], code=4)
        assert time.monotonic() - begun < SECONDS
        assert "memory" not in ran.stderr
        return ran.stderr

    return run


def in_shards(model: Path, *names: str) -> None:
    """The weights in two files of these names, relative to the model's folder."""
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    weight_map = {}
    for i, name in enumerate(names):
        part = dict(list(tensors.items())[i :: len(names)])
        (model / name).parent.mkdir(exist_ok=True)
        save_file(part, model / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": weight_map}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])  # by our loader, and by transformers'
@pytest.mark.parametrize("outside", ["../outside.safetensors", "sub/b.safetensors", "b.weights"])
def test_no_weights_that_are_in_no_hash(refused, model, tiny_folder, family, outside):
    shutil.rmtree(model)
    shutil.copytree(tiny_folder(family), model)
    in_shards(model, "a.safetensors", outside)
    assert outside in refused()


def test_another_file_of_weights_is_not_followed(refused, model):
    (model / "sub").mkdir()
    shutil.move(model / "model.safetensors", model / "sub" / "w.safetensors")
    shutil.copy(model / "sub" / "w.safetensors", model / "other.safetensors")
    tiny_models.edit(model / "config.json", transformers_weights="sub/w.safetensors")
    assert "transformers_weights" in refused()


def test_every_shard_is_in_the_hash(run_lvlora, model):
    in_shards(model, "a.safetensors", "b.safetensors")
    source = resolve(str(model))
    before = weights_sha256(source)
    ran = run_lvlora(["forecast", "data.csv", "--model", model, *WORDS, "--json"])
    assert ran.json["model"]["sha256"] == before
    for name in ("a.safetensors", "b.safetensors"):
        content = bytearray((model / name).read_bytes())
        content[-1] ^= 1
        (model / name).write_bytes(content)
        assert weights_sha256(source) != before
        before = weights_sha256(source)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 2**31, "layer_types": None},
        {"num_hidden_layers": 10**6, "layer_types": None},
        {"num_hidden_layers": 10**6, "layer_types": ["full_attention"] * 10**6},
        {"num_hidden_layers": 1, "layer_types": ["full_attention"]},
        {"hidden_size": 2**31},
        {"intermediate_size": 2**40},
        {"vocab_size": 2**40},
        {"num_attention_heads": 2**20, "head_dim": 2**20},
        {"num_labels": 10**9},
        {"id2label": {str(i): "x" for i in range(10**5)}},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_sizes_that_the_weights_do_not_have(refused, model, changes):
    tiny_models.edit(model / "config.json", **changes)
    assert str(model) in refused() or "model:" in refused()


def nested(n: int, part: object) -> object:
    return {"type": "Sequence", "normalizers": [part] * n}


DOUBLES = {"type": "Replace", "pattern": {"String": "1"}, "content": "11"}
BOMBS = {
    "doubling": ("normalizer", nested(40, DOUBLES)),
    "growing for each symbol": (
        "normalizer",
        nested(8, {"type": "Replace", "pattern": {"Regex": "."}, "content": "1" * 50}),
    ),
    "searching": (
        "pre_tokenizer",
        {
            "type": "Split",
            "pattern": {"Regex": "^(?:(?:1|1)+)+(?=x)(?:1+)+$"},
            "behavior": "Isolated",
            "invert": False,
        },
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_tokenizer_that_blows_up(refused, model, monkeypatch, bomb):
    monkeypatch.setattr(distrust, "_CPU_SECONDS", 1)  # a bomb takes any number of them
    key, content = BOMBS[bomb]
    tiny_models.edit(model / "tokenizer.json", **{key: content})
    assert "tokenizer.json: a short text breaks this tokenizer" in refused()


def test_a_strange_tokenizer_that_does_nothing_bad_is_tried_and_used(run_lvlora, model):
    part = {"type": "Replace", "pattern": {"Regex": "x+"}, "content": "y"}
    tiny_models.edit(model / "tokenizer.json", normalizer=nested(3, part))
    run_lvlora(["forecast", "data.csv", "--model", model, *WORDS], code=0)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "tokenizer.json", "added_tokens.json"])
def test_a_hundred_thousand_special_tokens(refused, model, tiny_folder, family, file):
    shutil.rmtree(model)
    shutil.copytree(tiny_folder(family), model)
    many = [f"<{i}>" for i in range(10**5)]
    if file == "tokenizer.json":
        added = [{"id": 20 + i, "content": text} for i, text in enumerate(many)]
        tiny_models.edit(model / file, added_tokens=added)
    elif file == "added_tokens.json":
        (model / file).write_text(json.dumps({text: 20 + i for i, text in enumerate(many)}))
    else:
        tiny_models.edit(model / file, extra_special_tokens=many)
    assert file in refused()


@pytest.mark.parametrize(
    ("family", "file", "changes", "key"),
    [
        ("qwen2", "config.json", {"hidden_act": [1]}, "hidden_act"),
        ("gemma2", "config.json", {"final_logit_softcapping": "x"}, "final_logit_softcapping"),
        ("gemma2", "config.json", {"sliding_window": None}, "sliding_window"),
        ("qwen2", "config.json", {"eos_token_id": 16}, "eos_token_id"),
        ("qwen2", "config.json", {"rope_scaling": {"type": "linear", "factor": 0}}, "factor"),
        ("qwen2", "tokenizer_config.json", {"bos_token": 3}, "bos_token"),
    ],
)
def test_values_of_another_type_are_named(refused, model, tiny_folder, family, file, changes, key):
    shutil.rmtree(model)
    shutil.copytree(tiny_folder(family), model)
    tiny_models.edit(model / file, **changes)
    assert key in refused()
