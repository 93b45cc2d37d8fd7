"""The alphabet from a tokenizer.json: transformers' ids, or left to transformers."""

import json

import pytest
import tiny_models
from tokenizers import Tokenizer, models, normalizers

from lvlora.errors import ModelError
from lvlora.model.catalogue import BUNDLED
from lvlora.model.files.tokenizer import read_alphabet
from lvlora.model.loading import alphabet_of, load_tokenizer

ADDED = {
    "__type": "AddedToken",
    "content": "<s>",
    "lstrip": False,
    "normalized": False,
    "rstrip": False,
    "single_word": False,
    "special": True,
}
CONFIG, FILE = "tokenizer_config.json", "tokenizer.json"


def theirs(folder):
    """What transformers makes of it; None where it is refused."""
    try:
        return alphabet_of(load_tokenizer(tiny_models.source(folder)), "m")
    except ModelError:
        return None


def test_the_bundled_models():
    found = read_alphabet(BUNDLED, "bundled")
    assert found is not None
    assert found == theirs(BUNDLED)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(None, None), ("gone", None), ("<s>", 15), (ADDED, 15)],
)
def test_the_start_token(folder, start, expected):
    tiny_models.edit(folder / CONFIG, bos_token=start)
    found = read_alphabet(folder, "m")
    assert found is not None
    assert found.start == expected
    assert found == theirs(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"bos_token": "<not a token>"},
        {"bos_token": {"special": True}},
        {"bos_token": {"content": "<s>"}},
        {"bos_token": 3},
        {"tokenizer_class": "ByT5Tokenizer"},
        {"tokenizer_class": "LlamaTokenizer"},
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": "gone"},
        {"tokenizer_class": "gone"},
        {"added_tokens_decoder": {"99": {"content": "0.25", "special": False}}},
        {"extra_special_tokens": ["0.25"]},
        {"extra_special_tokens": {"x": "0.25"}},
        {"added_tokens_decoder": 3},
    ],
)
def test_what_is_left_to_transformers(folder, change):
    assert read_alphabet(folder, "m") is not None
    tiny_models.edit(folder / CONFIG, **change)
    assert read_alphabet(folder, "m") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [("special_tokens_map.json", {"bos_token": "0"}), ("added_tokens.json", {"0.25": 99})],
)
def test_other_files_that_have_a_say(folder, name, content):
    tiny_models.edit(folder / CONFIG, added_tokens_decoder="gone")
    (folder / name).write_text(json.dumps(content))
    assert read_alphabet(folder, "m") is None


def test_padding_and_truncation_do_not_belong_to_it(folder):
    tokenizer = Tokenizer.from_file(str(folder / FILE))
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / FILE))
    found = read_alphabet(folder, "m")
    assert found is not None
    assert found == theirs(folder)


def test_a_space_before_each_text_makes_other_tokens(folder):
    tokenizer = Tokenizer.from_file(str(folder / FILE))
    vocabulary = {**tokenizer.get_vocab(), **{f" {d}": 50 + d for d in range(10)}}
    tokenizer.model = models.WordLevel(vocabulary, unk_token="?")
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.save(str(folder / FILE))
    assert read_alphabet(folder, "m") is None


def test_a_rule_of_its_own_may_join_digits_that_the_vocabulary_has(folder):
    tiny_models.edit(folder / CONFIG, tokenizer_class="Qwen2Tokenizer")
    assert read_alphabet(folder, "m") is not None
    tokenizer = Tokenizer.from_file(str(folder / FILE))
    vocabulary = {**tokenizer.get_vocab(), "12": 50}
    tokenizer.model = models.WordLevel(vocabulary, unk_token="?")
    tokenizer.save(str(folder / FILE))
    assert read_alphabet(folder, "m") is None


@pytest.mark.parametrize("content", ["", "{", "3", "{}", '{"model": {"type": "WordLevel"}}'])
@pytest.mark.parametrize("name", [CONFIG, FILE])
def test_a_broken_file_is_left_to_transformers(folder, name, content):
    (folder / name).write_text(content)
    assert read_alphabet(folder, "m") is None
