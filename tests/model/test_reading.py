"""Folders that are read without transformers; all others are left to it, errors and all."""

import copy
import json
import shutil

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers

from lvlora.errors import ModelError
from lvlora.model import llama
from lvlora.model.catalogue import BUNDLED, resolve
from lvlora.model.devices import Placement
from lvlora.model.head import untie_head
from lvlora.model.loading import alphabet_of, load, load_tokenizer
from lvlora.model.reading import is_plain, read_alphabet

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


def is_own(folder):
    return isinstance(load(tiny_models.source(folder), tiny_models.CPU).module, llama.Llama)


@pytest.mark.parametrize(
    ("family", "separate"),
    [("qwen2", True), ("llama", True), ("qwen3", False), ("gemma", False), ("gemma3", False)],
)
def test_two_families_need_no_transformers(tiny_folder, family, separate):
    assert is_own(tiny_folder(family)) == separate


def test_the_bundled_model_needs_none():
    assert isinstance(load(resolve("bundled"), tiny_models.CPU).module, llama.Llama)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
        {"rope_parameters": "gone", "rope_scaling": {"type": "yarn", "factor": 2.0}},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        {"layer_types": ["sliding_attention", "full_attention"]},
        {"use_sliding_window": True},
        {"quantization_config": {"quant_method": "fp8"}},
        {"architectures": ["Qwen2ForSequenceClassification"]},
        {"architectures": "gone"},
        {"model_type": "mistral"},
        {"model_type": "qwen3", "architectures": [None]},
        # a rope of its own beside the plain one: Qwen's way to longer texts
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "default", "rope_theta": 100.0}},
        {"per_layer_config": {"0": {"hidden_act": "gelu"}}},
        {"max_position_embeddings": "gone"},
    ],
)
def test_a_speciality_is_left_to_transformers(folder, change):
    file = folder / "config.json"
    assert is_plain(json.loads(file.read_text()))
    tiny_models.edit(file, **change)
    assert not is_plain(json.loads(file.read_text()))


def test_what_transformers_4_wrote_is_plain(folder):
    tiny_models.edit(
        folder / "config.json",
        rope_parameters="gone",
        layer_types="gone",
        rope_theta=123.0,
        rope_scaling=None,
    )
    base = load(tiny_models.source(folder), tiny_models.CPU)
    assert isinstance(base.module, llama.Llama)
    ids = torch.randint(0, 15, (1, 60), generator=torch.Generator().manual_seed(0))
    other = load(tiny_models.source(folder), tiny_models.CPU, through_transformers=True)
    assert torch.equal(base.module(ids).logits, other.module(ids).logits)
    assert base.shape.rope_theta == 123.0


@pytest.mark.parametrize("weight_map", [["a"], {"a": 3}, {"a": "../model.safetensors"}, None])
def test_an_index_that_names_no_files_of_the_folder(folder, weight_map):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    shutil.copy(folder.parent / "model.safetensors", folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelError, match=r"index\.json: (weight_map|names '\.\./model)"):
        load(tiny_models.source(folder), tiny_models.CPU)


@pytest.mark.parametrize("same", [True, False])
def test_a_tied_head_that_is_stored_nevertheless(folder, same):
    """Another one is the model's own: transformers does not tie it."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    head = tensors["model.embed_tokens.weight"].clone()
    save_file({**tensors, "lm_head.weight": head + (not same)}, file, {"format": "pt"})
    assert is_own(folder) == same


def _narrow(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t.bfloat16() for n, t in tensors.items()}, folder / "model.safetensors")


def test_a_narrower_embedding_stays_in_its_file(folder):
    """Its rows are widened one by one: of 150,000 words fifteen are ever wanted."""
    _narrow(folder)
    module = load(tiny_models.source(folder), tiny_models.CPU).module
    assert module.lm_head.weight is module.model.embed_tokens.weight
    narrow = {n for n, p in module.named_parameters() if p.dtype == torch.bfloat16}
    assert narrow == {"model.embed_tokens.weight"}
    # the numbers are those of a model whose weights are all float32
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    logits = module(ids).logits
    assert logits.dtype == torch.float32
    assert torch.equal(logits, copy.deepcopy(module).float()(ids).logits)


def test_an_untied_narrower_head_is_as_wide_as_the_layers(folder):
    _narrow(folder)
    module = load(tiny_models.source(folder), tiny_models.CPU).module
    untie_head(module)
    assert module.lm_head.weight.dtype == torch.float32
    assert torch.equal(module.lm_head.weight, module.model.embed_tokens.weight.float())


def test_weights_keep_their_memory_map_in_their_own_dtype(folder):
    """What is never touched, such as most of a large embedding, costs no memory."""
    _narrow(folder)
    base = load(
        tiny_models.source(folder), Placement(torch.device("cpu"), torch.bfloat16, "for tests")
    )
    parameters = list(base.module.parameters())
    assert all(p.dtype == torch.bfloat16 for p in parameters)
    first = min(p.data_ptr() for p in parameters)
    last = max(p.data_ptr() + p.nbytes for p in parameters)
    # as near to one another as in the file
    assert last - first <= (folder / "model.safetensors").stat().st_size


def alphabet_in_transformers(folder):
    return alphabet_of(load_tokenizer(tiny_models.source(folder)), "m")


def test_the_bundled_models_alphabet():
    assert read_alphabet(BUNDLED, "bundled") == alphabet_in_transformers(BUNDLED)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(None, None), ("gone", None), ("<s>", 15), (ADDED, 15)],
)
def test_the_start_token(folder, start, expected):
    tiny_models.edit(folder / CONFIG, bos_token=start)
    alphabet = read_alphabet(folder, "m")
    assert alphabet == alphabet_in_transformers(folder)
    assert alphabet.start == expected


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
    assert read_alphabet(folder, "m") == alphabet_in_transformers(folder)


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
