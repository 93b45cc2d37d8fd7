"""Loading base models: every family, and everything that can be wrong with a folder."""

import json
import shutil
from pathlib import Path
from time import perf_counter

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from lvlora.errors import ModelError
from lvlora.model.catalogue import resolve
from lvlora.model.devices import Placement
from lvlora.model.loading import (
    alphabet_of,
    load,
    load_tokenizer,
    outline,
    weights_sha256,
)
from lvlora.model.reading import read_alphabet
from lvlora.text.codec import SYMBOLS


def refused(folder: Path, message: str | None = None) -> ModelError:
    with pytest.raises(ModelError, match=message) as caught:
        load(resolve(str(folder)), tiny_models.CPU)
    assert str(folder) in caught.value.message or folder.name in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    return caught.value


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_family(tiny_folder, family, dtype, capfd):
    source = resolve(str(tiny_folder(family)))
    capfd.readouterr()
    base = load(source, Placement(torch.device("cpu"), dtype, ""))
    # progress bars and notes of transformers are not ours
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert base.name == family
    assert base.shape.model_type == tiny_models.FAMILIES[family][0]
    assert base.shape.parameter_count()["total"] == sum(p.numel() for p in base.module.parameters())
    assert {p.dtype for p in base.module.parameters()} == {dtype}
    assert not any(p.requires_grad for p in base.module.parameters())
    assert not base.module.training
    assert base.alphabet.start == 15
    assert base.max_positions == 512
    assert len(base.sha256) == 64
    expected = tiny_models.build(family)
    for (name, ours), theirs in zip(
        base.module.named_parameters(), expected.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs.to(dtype)), name


def test_loading_needs_no_network_and_uses_no_hub(tiny_folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was made")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    load(resolve(str(tiny_folder("llama"))), tiny_models.CPU)


def test_without_a_network_the_hub_is_asked_once_and_soon(monkeypatch, tmp_path):
    """Downloads are tried again for a minute where nothing answers."""
    request = []

    def nobody(*args, **kwargs):
        request.append(args)
        raise OSError(-2, "Name or service not known")

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", nobody)
    monkeypatch.setattr("socket.getaddrinfo", nobody)
    begin = perf_counter()
    with pytest.raises(ModelError, match="nobody/nothing") as caught:
        load(resolve("nobody/nothing"), tiny_models.CPU)
    assert "Check the name and the network" in caught.value.hint
    assert perf_counter() - begin < 10
    assert len(request) <= 2


def test_the_hash_is_of_the_weights_alone(folder, tiny_folder):
    source = resolve(str(folder))
    before = weights_sha256(source)
    assert before == weights_sha256(resolve(str(tiny_folder("qwen2"))))
    (folder / "README.md").write_text("x")
    assert weights_sha256(source) == before
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert weights_sha256(source) != before


def test_weights_in_parts(folder, tiny_folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: f for f, part in parts.items() for n in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    base, reference = (
        load(resolve(str(folder)), tiny_models.CPU),
        tiny_models.load_tiny(tiny_folder("qwen2")),
    )
    for ours, theirs in zip(base.module.parameters(), reference.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    (folder / "b.safetensors").unlink()
    refused(folder, "names b.safetensors, which is not there")


@pytest.mark.parametrize("cut", [0, 200, -1])
def test_truncated_weights(folder, cut):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:cut])
    refused(folder, "not a readable safetensors file")


def test_weights_that_lack_a_tensor_are_not_filled_up_at_random(folder):
    tensors = load_file(folder / "model.safetensors")
    removed = "model.layers.1.mlp.up_proj.weight"
    del tensors[removed]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, f"lack {removed}")


def test_weights_of_another_shape(folder, tiny_folder):
    config = json.loads((folder / "config.json").read_text()) | {"intermediate_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "is stored as 48 x 32, and config.json makes it 64 x 32|stored as 32 x 48")


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "gpt2"},
        {"model_type": None},
        {"hidden_size": "many"},
        {"hidden_size": -3},
        {"num_attention_heads": 0},
        {"num_hidden_layers": 10**9},
        {"hidden_act": "os.system"},
    ],
)
def test_a_config_that_makes_no_sense(folder, changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder)


def test_no_tokenizer(folder):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    refused(folder, "cannot be loaded|tokenizer")


@pytest.mark.parametrize("content", [b"{", b'{"model": 3}', b"\xff"])
def test_a_broken_tokenizer(folder, content):
    (folder / "tokenizer.json").write_bytes(content)
    refused(folder, r"tokenizer\.json")
    for read in (load_tokenizer, lambda source: outline(source, tiny_models.CPU)):
        with pytest.raises(ModelError):
            read(resolve(str(folder)))


def test_a_tokenizer_that_merges_digits_has_its_tokens_used(tiny_folder, tmp_path):
    # of Qwen 2 transformers takes the vocabulary alone and splits digits itself
    folder = Path(shutil.copytree(tiny_folder("llama"), tmp_path / "model"))
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokens = [*map(chr, range(32, 127)), "23"]
    model = models.BPE({t: i for i, t in enumerate(tokens)}, [("2", "3")])
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)).save_pretrained(folder)
    source = resolve(str(folder))
    for alphabet in (alphabet_of(load_tokenizer(source), "x"), read_alphabet(folder, "x")):
        assert alphabet.tokens == (*SYMBOLS, "23")
        assert alphabet.encode("0.23,2.30;").tolist() == [*map(tokens.index, ["0", "."]), 95] + [
            tokens.index(c) for c in ",2.30;"
        ]
    refused(folder, "beyond the model's vocabulary")


MALICIOUS = b"cposix\nsystem\n(S'touch %s'\ntR."


def test_pickles_are_never_read(folder, tmp_path):
    mark = tmp_path / "executed"
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "tf_model.h5", "model.pkl"):
        (folder / name).write_bytes(MALICIOUS % str(mark).encode())
    error = refused(folder, "safetensors")
    assert "could run a program" in error.hint
    assert not mark.exists()


def test_code_that_comes_with_a_model_is_never_run(folder, tmp_path):
    mark = tmp_path / "executed"
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModelForCausalLM": "evil.EvilModel",
        "AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = config["auto_map"]
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')")
    # a known model type is loaded by transformers' own class, or it is refused
    try:
        load(resolve(str(folder)), tiny_models.CPU)
    except ModelError:
        pass
    assert not mark.exists()


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("config", [{}, {"max_position_embeddings": "gone"}])
def test_an_outline_needs_no_weights_and_is_what_is_loaded(tmp_path, family, config):
    folder = tiny_models.write(tmp_path / family, family)
    tiny_models.edit(folder / "config.json", **config)
    base = load(resolve(str(folder)), tiny_models.CPU)
    (folder / "model.safetensors").unlink()
    result = outline(resolve(str(folder)), tiny_models.CPU)
    assert vars(result) == {name: getattr(base, name) for name in vars(result)}
    assert result.max_positions == base.module.config.max_position_embeddings
    refused(folder, r"no \*\.safetensors")


def test_a_folder_never_stands_for_a_hub_model_by_its_name(tiny_folder, tmp_path, monkeypatch):
    """transformers would read it; who means it says so by ./"""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    source = resolve("qwen2.5-0.5b")
    shutil.copytree(tiny_folder("qwen2"), source.location)
    for read in (load_tokenizer, lambda s: outline(s, tiny_models.CPU)):
        with pytest.raises(ModelError, match="hides the hub's model") as caught:
            read(source)
        assert f"./{source.location}" in caught.value.hint
    assert load(resolve(f"./{source.location}"), tiny_models.CPU).shape.model_type == "qwen2"
