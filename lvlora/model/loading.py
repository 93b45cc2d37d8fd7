"""Loading a base model, by our own modules or through transformers: hub, folder, GGUF or bundled.

Nothing from outside is executed: safetensors and GGUF only, never pickles or remote code. Nothing
is downloaded unless a hub model was named.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lvlora import durable
from lvlora.errors import LvloraError, ModelError, reason
from lvlora.flops.shape import ModelShape
from lvlora.model import attention, elementwise
from lvlora.model.catalogue import ModelSource, cached_snapshot, hub_cache, read_config
from lvlora.model.devices import Placement, give_back_freed_memory, keep_freed_memory
from lvlora.model.distrust import check_files, check_sizes
from lvlora.model.gguf import converted
from lvlora.model.reading import is_as_it_is, is_plain, read_alphabet, read_model
from lvlora.settings.base import NumberFormat
from lvlora.text.codec import TokenAlphabet

_FEWEST_OF_LANGUAGE = 10_000
"""Tokens of the smallest vocabulary of a language model."""
_POSITIONS = "max_position_embeddings"
_HUB_SECONDS = 10.0
"""How long the hub may take to say whether it has a model."""


@dataclass
class Outline:
    """A base model as its configuration and its tokenizer tell it: no weights are opened for it.

    Attributes:
        name: for people and adapter files.
        alphabet: where the numeric symbols are in its vocabulary.
        shape: for FLOP prices.
        placement: device and dtype, with the reason.
        max_positions: tokens that the model can attend to.
    """

    name: str
    alphabet: TokenAlphabet
    shape: ModelShape
    placement: Placement
    max_positions: int

    @property
    def number_format(self) -> NumberFormat:
        """How a training writes numbers for it."""
        return number_format_of(self.shape.vocab)


def number_format_of(n_tokens: int) -> NumberFormat:
    """How numbers are written for a model of so many tokens: without a point, in fewer of them.

    Language models forecast better so (docs/notes/log/2026-11-results.md, "How numbers are
    written"); a model of numbers alone, as the bundled one, was made with a point.
    """
    return "digits" if n_tokens >= _FEWEST_OF_LANGUAGE else "point"


@dataclass
class BaseModel(Outline):
    """A loaded causal language model and what lvlora must know of it.

    Attributes:
        module: transformers' model or our own (`llama`), in eval mode, frozen.
        sha256: of the weight files (a run refuses another base than its own).
    """

    module: nn.Module
    sha256: str


def load_tokenizer(source: ModelSource) -> Any:
    """Only the tokenizer; ModelError if it can't be had."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    source = unpacked(source)
    loader: Any = AutoTokenizer
    if source.kind != "hub":
        folder = Path(source.location)
        check_files(folder, trusted=source.kind == "bundled")
        if is_as_it_is(folder):  # of Qwen2 the other would split all digits
            loader = PreTrainedTokenizerFast
    return _from_pretrained(loader, source)


def unpacked(source: ModelSource) -> ModelSource:
    """Return the folder of a model that is on this machine; a hub model elsewhere as it is.

    A .gguf file is converted to a folder, once.

    Raises:
        ModelError: a folder of the working directory has the name of a hub model.
    """
    if source.kind == "gguf":
        return ModelSource("folder", source.name, str(converted(Path(source.location))))
    if source.kind == "hub":
        folder = cached_snapshot(source.location, source.revision)
        if folder is not None:
            return ModelSource("folder", source.name, str(folder))
        if Path(source.location).is_dir():  # transformers would take it
            raise ModelError(
                f"the folder {source.location} hides the hub's model of that name",
                f"Run lvlora in another folder, or mean it by --model ./{source.location}",
            )
    return source


def has_weights(source: ModelSource) -> bool:
    """Whether the weights are on this machine; they may still be broken."""
    if source.kind == "hub":
        return cached_snapshot(source.location, source.revision) is not None
    return source.kind == "gguf" or any(Path(source.location).glob("*.safetensors"))


def outline(source: ModelSource, placement: Placement) -> Outline:
    """Read the outline of a model without its weights; only they may be missing.

    Raises:
        ModelError: missing, broken or unsuitable configuration or tokenizer.
        SettingsError: a missing extra.
    """
    source = unpacked(source)
    config, alphabet = read_config(source), None
    if config is None:  # not downloaded yet
        config = _config_through_transformers(source)
    else:
        ModelShape.from_config(config, name=source.name)  # refuses what is not supported
        if source.kind != "hub":
            folder = Path(source.location)
            check_files(folder, trusted=source.kind == "bundled")
            if is_plain(config):
                alphabet = read_alphabet(folder, source.name)
    if alphabet is None:
        alphabet = alphabet_of(load_tokenizer(source), source.name)
    shape = replace(
        ModelShape.from_config(config, name=source.name), alphabet_rows=len(alphabet.tokens)
    )
    if max(*alphabet.ids, *alphabet.beginning) >= shape.vocab:
        raise ModelError(
            f"{source.location}: its tokenizer has tokens beyond the model's vocabulary of "
            f"{shape.vocab:,}",
            "Tokenizer and weights are of two models: download the folder again, whole.",
        )
    positions = shape.max_positions or _config_through_transformers(source)[_POSITIONS]
    return Outline(source.name, alphabet, shape, placement, int(positions))


def load(
    source: ModelSource,
    placement: Placement,
    *,
    outlined: Outline | None = None,
    through_transformers: bool = False,
) -> BaseModel:
    """Load weights and tokenizer, check the alphabet, freeze everything.

    Args:
        outlined: of this model, where it was made already.
        through_transformers: as a model of transformers' own class, whatever it is (to save it).

    Raises:
        ModelError: missing, broken or unsuitable model; SettingsError: a missing extra.
    """
    if source.kind in ("folder", "bundled") and not has_weights(source):
        raise ModelError(
            f"{source.location}: the folder has no *.safetensors",
            "Only safetensors are read; pickled weights (.bin, .pt) could run a program.",
        )
    keep_freed_memory()
    folder = unpacked(source)
    known = outlined or outline(folder, placement)
    give_back_freed_memory()  # reading 150,000 words takes some 250 MB
    module = _load(folder, known, through_transformers)
    module.train(False)
    module.to(placement.device)
    # nothing of a hub's generation config (repetition penalty, top-k, …) is ever used
    return BaseModel(
        name=source.name,
        alphabet=known.alphabet,
        shape=known.shape,
        placement=placement,
        max_positions=known.max_positions,
        module=module,
        sha256=weights_sha256(source),
    )


def _load(source: ModelSource, known: Outline, through_transformers: bool) -> nn.Module:
    """By our own modules where they can, else through transformers; frozen."""
    if source.kind == "hub":
        module = _load_through_transformers(source, known.placement)
        folder = Path(unpacked(source).location)  # it was downloaded only now
        check_files(folder)
        check_sizes(folder, known.shape)
        return module
    folder = Path(source.location)
    check_sizes(folder, known.shape)
    config = read_config(source)
    if config is not None and is_plain(config) and not through_transformers:
        own = read_model(folder, config, known.shape, known.placement.dtype)
        if own is not None:
            return own.requires_grad_(False)
    return _load_through_transformers(source, known.placement)


def _config_through_transformers(source: ModelSource) -> dict[str, Any]:
    """The configuration with all its defaults, downloaded where it is not here."""
    from transformers import AutoConfig

    content: dict[str, Any] = _from_pretrained(AutoConfig, source).to_dict()
    return content


def _load_through_transformers(source: ModelSource, placement: Placement) -> nn.Module:
    """By transformers' own class; frozen."""
    from transformers import AutoModelForCausalLM

    module: nn.Module
    module, report = _from_pretrained(
        AutoModelForCausalLM,
        source,
        dtype=placement.dtype,
        attn_implementation=attention.register(),
        use_safetensors=True,
        output_loading_info=True,
    )
    # transformers would go on with random numbers in their place
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"{source.location}: the weights lack {missing[0]} (and {len(missing) - 1} more)",
            "The files are not complete, or belong to another config.json.",
        )
    module.requires_grad_(False)
    elementwise.slim(module)
    return module


def alphabet_of(tokenizer: Any, name: str) -> TokenAlphabet:
    """The alphabet in a transformers tokenizer's vocabulary, with its start token if it has one."""

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return ids

    return TokenAlphabet.from_tokenizer(encode, tokenizer.bos_token_id, name, tokenizer.get_vocab)


def weights_sha256(source: ModelSource) -> str:
    """SHA-256 over the weight files' bytes, in name order."""
    path = Path(source.location)
    if source.kind == "hub":
        snapshot = cached_snapshot(source.location, source.revision)
        if snapshot is None:
            return ""
        path = snapshot
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        with durable.open_regular(file) as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _from_pretrained(loader: Any, source: ModelSource, **keywords: Any) -> Any:
    """Load by a class of transformers: a folder without any network, a hub model by download."""
    with quiet(), _model_errors(source):
        keywords["trust_remote_code"] = False
        if source.kind != "hub":
            return loader.from_pretrained(source.location, local_files_only=True, **keywords)
        from huggingface_hub import model_info

        # without a network a download would be tried again and again, for a minute
        model_info(source.location, revision=source.revision, timeout=_HUB_SECONDS)
        return loader.from_pretrained(
            source.location,
            revision=source.revision or "main",
            cache_dir=str(hub_cache()),
            **keywords,
        )


@contextlib.contextmanager
def _model_errors(source: ModelSource) -> Iterator[None]:
    """transformers' many exceptions as one sentence and a hint."""
    try:
        yield
    except (LvloraError, MemoryError):
        raise
    except Exception as error:  # whatever the loaders of three libraries make of a broken file
        hint = {
            "hub": "Check the name and the network, or set HF_HOME to a cache that has it; "
            "--model bundled needs neither.",
        }.get(source.kind, "The folder needs config.json, *.safetensors and tokenizer.json.")
        raise ModelError(
            f"{source.location}: the model cannot be loaded: {reason(error)}", hint
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' notes and progress bars away from our stderr."""
    import transformers.utils.logging

    hf_logging: Any = transformers.utils.logging
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    level = hf_logging.get_verbosity()
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def read_safetensors(path: Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file; ModelError naming the file if it is broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        durable.open_regular(path).close()
        return load_file(str(path), device=str(device))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file", "Download or copy the model's folder again, whole."
        ) from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path}: is not a readable safetensors file ({reason(error)})",
            "Download or copy it again: it is damaged.",
        ) from None
