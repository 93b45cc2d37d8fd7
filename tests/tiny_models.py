"""Tiny random models of every family, as plain folders; the tests' stand-ins for real ones."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numeric_tokenizer as tokenizer
import torch

from lvlora.model.catalogue import ModelSource
from lvlora.model.devices import Placement
from lvlora.model.loading import BaseModel, load
from lvlora.text.codec import SYMBOLS

CPU = Placement(torch.device("cpu"), torch.float32, "for tests")

SIZES: dict[str, Any] = {
    "vocab_size": tokenizer.START_ID + 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": tokenizer.START_ID,
    "eos_token_id": None,
    "pad_token_id": tokenizer.START_ID,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
    "llama": ("llama", {"tie_word_embeddings": False}),
    "gemma": ("gemma", {"head_dim": 8}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "sliding_window": 16,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 16,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
}
"""Name to (transformers' model type, what differs from `SIZES`)."""

NATIVE = "native "
"""Before a family's name: of sizes that are whole vectors, which the compiled decoder takes."""
_WHOLE_VECTORS = {"hidden_size": 64, "intermediate_size": 96}

PAIRS = "23 99 999 0. 10 100 5; 0.2 -1 ?, .7 00 12 1. 47".split()
"""Merged pairs without a system, each of two that come before it or of symbols."""


def triples(folder: Path) -> None:
    """Write a tokenizer that cuts numbers into up to three digits from the left, as Llama 3's."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    two = [f"{n:02}" for n in range(100)]
    three = [f"{n:03}" for n in range(1000)]
    merges = [(t[:-1], t[-1]) for t in two + three]
    model = models.BPE(_places([*_ASCII, *two, *three]), merges)
    model.ignore_merges = True
    built = Tokenizer(model)
    split = pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), behavior="isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    built.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    built.decoder = decoders.ByteLevel()
    _save(built, folder)


def pairs(folder: Path) -> None:
    """Write a tokenizer that merges some pairs, as those do that were made of frequent ones."""
    from tokenizers import Tokenizer, models

    built = Tokenizer(models.BPE(_places([*_ASCII, *PAIRS]), [(t[:-1], t[-1]) for t in PAIRS]))
    _save(built, folder)


def whole_numbers(folder: Path) -> None:
    """Write a tokenizer with one token for each number below ten and the separator behind it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    numbers = [*(f"{n // 100}.{n % 100:02}" for n in range(1000)), "?"]
    tokens = [number + separator for number in numbers for separator in ",;"]
    built = Tokenizer(models.WordLevel(_places([*SYMBOLS, *tokens]), unk_token="?"))
    split = Regex(r"[0-9]\.[0-9][0-9][,;]|\?[,;]|.")
    built.pre_tokenizer = pre_tokenizers.Split(split, behavior="isolated")
    _save(built, folder)


_ASCII = list(map(chr, range(33, 127)))


def _places(tokens: list[str]) -> dict[str, int]:
    return {token: i for i, token in enumerate(["<s>", *tokens])}


def _save(built: Any, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", pad_token="<s>", clean_up_tokenization_spaces=False
    ).save_pretrained(folder)


MERGING: dict[str, tuple[str, Callable[[Path], None], int]] = {
    "triples": ("llama", triples, 1 + 94 + 1100),
    "pairs": ("gemma3", pairs, 1 + 94 + len(PAIRS)),
    "whole": ("qwen2", whole_numbers, 1 + 15 + 2002),
}
"""Kind of a tokenizer that merges symbols to (family, what writes it, size of its vocabulary)."""


def build(family: str, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A model with random weights large enough that no logit is like another."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, differences = FAMILIES[family]
    config = AutoConfig.for_model(model_type, **{**SIZES, **differences, **changes})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 1.0 if "embed" in name else 0.3)
            elif "bias" in name:
                parameter.normal_(0, 0.1)
    return model


def write(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """The same as a folder with config, safetensors and tokenizer.

    Args:
        family: of `FAMILIES`, with the alphabet's tokenizer; or a kind of `MERGING`, with its own;
            with `NATIVE` before it or without.
    """
    if family.startswith(NATIVE):
        return write(folder, family.removeprefix(NATIVE), seed, **{**_WHOLE_VECTORS, **changes})
    if family in MERGING:
        family, save, size = MERGING[family]
        start = {"vocab_size": size, "bos_token_id": 0, "pad_token_id": 0}
        build(family, seed, **{**start, **changes}).save_pretrained(folder)
        save(folder)
        return folder
    build(family, seed, **changes).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def write_gguf(
    file: Path,
    family: str,
    kinds: tuple[str, ...] = ("F32",),
    *,
    tied: bool = True,
    pre: str = "qwen2",
    tokens: Sequence[str] | None = None,
    **sizes: int,
) -> Path:
    """Write a tiny random model as llama.cpp's converter would write it.

    Args:
        family: "qwen2" or "llama".
        kinds: of quantisation, one matrix after the other.
        pre: name of the rule that cuts a text before it is made tokens.
        tokens: all but the last two, "<s>" and "??"; those of a byte-level vocabulary by default.
        sizes: what differs from `SIZES`, widened to whole blocks.
    """
    import gguf
    from tokenizers import pre_tokenizers

    kind = gguf.GGMLQuantizationType
    tokens = [*(tokens or sorted(pre_tokenizers.ByteLevel.alphabet())), "??", "<s>"]
    start = {"vocab_size": len(tokens), "bos_token_id": len(tokens) - 1, "pad_token_id": None}
    model = build(family, **{**_WHOLE_VECTORS, **start, **sizes}, tie_word_embeddings=tied)
    config = model.config
    writer = gguf.GGUFWriter(str(file), family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(500_000.0)
    if family == "llama":
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(["? ?"])  # without any, transformers wants scores
    writer.add_bos_token_id(len(tokens) - 1)
    names = gguf.get_tensor_name_map(
        getattr(gguf.MODEL_ARCH, family.upper()), config.num_hidden_layers
    )
    for i, (name, tensor) in enumerate(model.state_dict().items()):
        if name == "lm_head.weight" and tied:
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        values = tensor.float()
        if family == "llama" and (".q_proj." in name or ".k_proj." in name):
            heads = config.num_attention_heads if ".q_" in name else config.num_key_value_heads
            values = (
                values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape_as(values)
            )
        if tensor.dim() == 1:
            writer.add_tensor(stored, values.numpy())
            continue
        chosen = kind[kinds[i % len(kinds)]]
        packed = gguf.quants.quantize(values.numpy(), chosen)
        writer.add_tensor(stored, packed, raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def edit(file: Path, **changes: Any) -> None:
    """Change a JSON file's keys; "gone" takes one away."""
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({k: v for k, v in {**old, **changes}.items() if v != "gone"}))


def source(folder: Path) -> ModelSource:
    return ModelSource("folder", folder.name, str(folder))


def load_tiny(folder: Path, dtype: torch.dtype = torch.float32, **how: bool) -> BaseModel:
    """A fresh copy of a written model, on the CPU."""
    return load(source(folder), Placement(torch.device("cpu"), dtype, "for tests"), **how)


def cached_writer(root: Path) -> Callable[..., Path]:
    """A `write` into ``root`` that writes each family once."""

    @functools.cache
    def folder_of(family: str) -> Path:
        return write(root / family, family)

    return folder_of
