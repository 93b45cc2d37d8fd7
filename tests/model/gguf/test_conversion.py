"""A .gguf file is read as transformers reads it, and kept for the next time."""

import os
from pathlib import Path

import pytest
import tiny_models
import torch

from lvlora.errors import ModelError
from lvlora.model.catalogue import ModelSource, read_config, resolve
from lvlora.model.devices import Placement
from lvlora.model.gguf import conversion
from lvlora.model.loading import load, load_tokenizer, outline, quiet, weights_sha256

pytest.importorskip("gguf")
CPU = Placement(torch.device("cpu"), torch.float32, "for tests")
BF16 = Placement(torch.device("cpu"), torch.bfloat16, "for tests")
TEXTS = ("1.23", "0.25,1.50;0.27,1.47;", "-1?;", "a bird 12 in the hand\n\n  is'nt\tworth 345")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def by_transformers(file: Path, dtype: torch.dtype) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=dtype, local_files_only=True
        ).eval()


def assert_same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    expected = dict(theirs.named_parameters())
    found = dict(ours.named_parameters())
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert torch.equal(values, expected[name]), name


@pytest.mark.parametrize("placement", [CPU, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("family", "kinds", "tied", "pre"),
    [
        ("qwen2", ("Q8_0", "F16", "Q5_0"), False, "qwen2"),
        ("qwen2", ("F32", "Q4_1"), True, "qwen2"),
        ("llama", ("Q4_0", "BF16"), True, "smollm"),
        ("llama", ("Q8_0",), False, "default"),
    ],
)
def test_the_numbers_are_those_of_transformers(tmp_path, family, kinds, tied, pre, placement):
    file = tiny_models.write_gguf(tmp_path / "tiny.gguf", family, kinds, tied=tied, pre=pre)
    base = load(resolve(str(file)), placement)
    theirs = by_transformers(file, placement.dtype)
    assert type(base.module).__module__.startswith("lvlora"), "not through transformers"
    assert base.shape.tied == tied
    assert base.name == "tiny"
    assert base.sha256 == weights_sha256(resolve(str(file)))
    promised = vars(outline(resolve(str(file)), placement))
    assert promised == {name: getattr(base, name) for name in promised}
    assert_same_weights(base.module, theirs)
    if placement is CPU:  # the sums of attention are in another order, and bfloat16 shows it
        ids = torch.tensor([[3, 9, 200, 17, 3]])
        with torch.no_grad():
            hidden = base.module.model(ids).last_hidden_state
            ours = base.module.lm_head(hidden)
            # rows in a wrong order would be off by the size of the logits, not by roundings
            torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-4, atol=1e-4)
    again = load(resolve(str(file)), placement, through_transformers=True)
    assert type(again.module) is type(theirs)
    assert_same_weights(again.module, theirs)


@pytest.mark.parametrize("pre", ["qwen2", "smollm", "default"])
def test_the_tokens_are_those_of_transformers(tmp_path, pre):
    from transformers import AutoTokenizer

    file = tiny_models.write_gguf(tmp_path / "tiny.gguf", "qwen2", ("F32",), tied=True, pre=pre)
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    ours = load_tokenizer(resolve(str(file)))
    for text in TEXTS:
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False) == expected
        assert ours.decode(expected) == text
    assert ours.bos_token_id == theirs.bos_token_id
    assert ours.encode("<s>", add_special_tokens=False) == [ours.bos_token_id]


def test_it_is_converted_once(tmp_path, monkeypatch):
    file = tiny_models.write_gguf(
        tmp_path / "tiny.gguf", "qwen2", ("Q8_0",), tied=False, pre="qwen2"
    )
    first = load(resolve(str(file)), CPU)
    assert [f.name for f in conversion.root().iterdir()] == [f"{first.sha256[:32]}-float32"]
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "convert", lambda *_: pytest.fail("it is converted again"))
        again = load(resolve(str(file)), CPU)
    assert_same_weights(again.module, first.module)
    abandoned = conversion.root() / ".killed.part"
    abandoned.mkdir()
    os.utime(abandoned, (1000, 1000))
    load(resolve(str(file)), BF16)
    assert len(list(conversion.root().iterdir())) == 2


def test_without_room_for_a_cache_it_works_all_the_same(tmp_path, monkeypatch):
    file = tiny_models.write_gguf(
        tmp_path / "tiny.gguf", "qwen2", ("Q8_0",), tied=False, pre="qwen2"
    )
    monkeypatch.setenv("HF_HOME", str(file))  # a file is where the folder would be
    base = load(resolve(str(file)), CPU)
    # the weights are mapped from a file that is gone
    assert_same_weights(base.module, by_transformers(file, torch.float32))


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    file = tiny_models.write_gguf(
        tmp_path / "tiny.gguf", "qwen2", ("Q8_0",), tied=False, pre="qwen2"
    )
    for content in (file.read_bytes()[:-1000], b"", b"GGUF", b"GGUF" + bytes(100), b"x" * 1000):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"tiny\.gguf"):
            load(resolve(str(file)), CPU)
    assert list(conversion.root().iterdir()) == []


def test_what_is_no_plain_model_is_left_to_transformers(tmp_path):
    file = tiny_models.write_gguf(tmp_path / "tiny.gguf", "qwen2", ("F32",), tied=True, pre="qwen2")
    assert read_config(resolve(str(file)))["vocab_size"] == 258
    content = file.read_bytes()
    for old, new in ((b"rope.freq_base", b"rope.freq_case"), (b"qwen2", b"qwen9")):
        file.write_bytes(content.replace(old, new))
        assert read_config(ModelSource("gguf", "tiny", str(file))) is None
