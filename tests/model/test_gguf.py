"""A .gguf file is read as transformers reads it, and kept for the next time."""

from pathlib import Path

import pytest
import tiny_models
import torch

from lvlora.errors import ModelError
from lvlora.model import gguf
from lvlora.model.catalogue import resolve
from lvlora.model.devices import Placement
from lvlora.model.loading import load, load_tokenizer, outline, quiet, weights_sha256

pytest.importorskip("gguf")
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
    result = dict(ours.named_parameters())
    assert result.keys() == expected.keys()
    for name, values in result.items():
        assert torch.equal(values, expected[name]), name


@pytest.fixture
def write(tmp_path):
    """A function that writes a file of tiny weights."""

    def write(family="qwen2", kinds=("Q8_0",), *, tied=False, pre="qwen2"):
        return tiny_models.write_gguf(tmp_path / "tiny.gguf", family, kinds, tied=tied, pre=pre)

    return write


@pytest.mark.parametrize("placement", [tiny_models.CPU, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("family", "kinds", "tied", "pre"),
    [
        ("qwen2", ("Q8_0", "F16", "Q5_0"), False, "qwen2"),
        ("llama", ("Q4_0", "BF16"), True, "smollm"),
    ],
)
def test_the_numbers_are_those_of_transformers(write, family, kinds, tied, pre, placement):
    source = resolve(str(write(family, kinds, tied=tied, pre=pre)))
    base, theirs = load(source, placement), by_transformers(Path(source.location), placement.dtype)
    assert type(base.module).__module__.startswith("lvlora"), "not through transformers"
    assert base.shape.tied == tied
    assert base.name == "tiny"
    assert base.sha256 == weights_sha256(source)
    promised = vars(outline(source, placement))
    assert promised == {name: getattr(base, name) for name in promised}
    assert_same_weights(base.module, theirs)
    again = load(source, placement, through_transformers=True)
    assert type(again.module) is type(theirs)
    assert_same_weights(again.module, theirs)


@pytest.mark.parametrize("pre", ["qwen2", "smollm", "default"])
def test_the_tokens_are_those_of_transformers(write, pre):
    from transformers import AutoTokenizer

    file = write(pre=pre)
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    ours = load_tokenizer(resolve(str(file)))
    for text in TEXTS:
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False) == expected
        assert ours.decode(expected) == text
    assert ours.bos_token_id == theirs.bos_token_id
    assert ours.encode("<s>", add_special_tokens=False) == [ours.bos_token_id]


def test_it_is_converted_once_and_again_where_a_file_is_missing(write, monkeypatch):
    file = write()
    place = gguf.converted(file)
    with monkeypatch.context() as patch:
        patch.setattr(gguf, "_convert", lambda *_: pytest.fail("it is converted again"))
        assert gguf.converted(file) == place
    (place / "tokenizer.json").unlink()
    assert (gguf.converted(file) / "tokenizer.json").is_file()
    assert list(gguf.root().iterdir()) == [place]


def test_a_file_that_is_not_whole_is_refused(write):
    file = write()
    for content in (file.read_bytes()[:-1000], b"", b"GGUF", b"GGUF" + bytes(100), b"x" * 1000):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"tiny\.gguf"):
            load(resolve(str(file)), tiny_models.CPU)
    assert list(gguf.root().iterdir()) == []
