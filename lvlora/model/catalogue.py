"""Models by the name of ``--model``, and adapters by that of ``--adapter``.

Imports no torch, so that the light commands can look for both.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any, Literal

from lvlora import durable
from lvlora.errors import DataError, ModelError, SettingsError, meant
from lvlora.flops.catalogue import find_shape
from lvlora.flops.shape import ModelShape

SHORT_NAMES = {
    "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
    "qwen2.5-3b": "Qwen/Qwen2.5-3B-Instruct",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "qwen3-1.7b": "Qwen/Qwen3-1.7B",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "gemma3-270m": "google/gemma-3-270m-it",
}
"""Short names of hub models; all write one token per digit."""

DEFAULT_HUB_MODEL = SHORT_NAMES["qwen2.5-0.5b"]
BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_DECIMALS = 2
"""Decimals that the bundled model was made for."""

ADAPTER_CONFIG = "adapter_config.json"
"""The file that makes a folder an adapter (PEFT's)."""
IN_RUN = "adapter"
"""Where a run keeps its adapter."""
LATEST = "latest"
"""The text file among the runs that holds the newest run's name."""
RUN_NAME = re.compile(r"[\w][\w.+@-]{0,254}")
"""The form of a run's name."""
_LONGEST_POINTER = 4096
_NONE = "none"
_OTHERWISE = "Name one: --adapter RUN_OR_FOLDER, or --adapter none for the plain model."

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelSource:
    """A base model that has been found, not loaded.

    Attributes:
        kind: where it comes from.
        name: what to call it.
        location: a folder, a .gguf file, or a hub id.
        revision: of a hub model.
        note: what ``auto`` chose and how to get the other, for stderr.
    """

    kind: Literal["bundled", "hub", "folder", "gguf"]
    name: str
    location: str
    revision: str | None = None
    note: str = ""

    def first_note(self, runs: Path) -> str:
        """Return the note until something was spent among these runs, and then nothing."""
        from lvlora.flops.ledger import FILE_NAME as LEDGER

        return "" if lexists(runs / LEDGER) else self.note

    @property
    def for_peft(self) -> str:
        """A hub id or a path that transformers loads; a .gguf file has only its name."""
        if self.kind in ("bundled", "folder"):
            return str(Path(self.location).absolute())
        return self.name


def resolve(model: str, revision: str | None = None) -> ModelSource:
    """Find what ``--model`` names; nothing is loaded or downloaded.

    Raises:
        ModelError: there is no such model.
        SettingsError: a revision for something that has none.
    """
    source = _resolve(model, revision)
    if revision is not None and source.kind != "hub":
        raise SettingsError(
            f"--revision {revision}: {source.name} is not a hub model", "Leave --revision out."
        )
    return source


def _resolve(model: str, revision: str | None) -> ModelSource:
    if model == "auto":
        return _auto(revision)
    if model == "bundled":
        return ModelSource("bundled", "lvlora-bundled", str(BUNDLED))
    if model.lower() in SHORT_NAMES:
        hub_id = SHORT_NAMES[model.lower()]
        return ModelSource("hub", hub_id, hub_id, revision)
    path = Path(os.path.expanduser(model))
    if path.is_dir():
        refuse_adapter(path)
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{model}: the folder has no config.json",
                "A model folder holds config.json, *.safetensors and tokenizer.json.",
            )
        return ModelSource("folder", path.resolve().name, str(path))
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ModelError(f"{model}: not a model file", "Give a .gguf file or a model folder.")
        return ModelSource("gguf", path.stem, str(path))
    looks_like_path = model.startswith((".", "/", "~")) or model.lower().endswith(".gguf")
    if not looks_like_path and _is_hub_id(model):
        return ModelSource("hub", model, model, revision)
    known = ["auto", "bundled", *SHORT_NAMES]
    close = difflib.get_close_matches(model.lower(), known, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise ModelError(
        f"--model {model}: no such file or folder, and no model that lvlora knows by that name",
        f"{hint}Known names: {', '.join(known)}; or a hub id (owner/name), a folder, a .gguf file.",
    )


def _auto(revision: str | None) -> ModelSource:
    if cached_snapshot(DEFAULT_HUB_MODEL, revision) is not None:
        note = f"Using {DEFAULT_HUB_MODEL} from the local hub cache (--model bundled is smaller)."
        return ModelSource("hub", DEFAULT_HUB_MODEL, DEFAULT_HUB_MODEL, revision, note)
    if revision is not None:
        raise SettingsError(
            f"--revision {revision}: {DEFAULT_HUB_MODEL} is not in the local hub cache at it",
            "Add --model qwen2.5-0.5b to download it.",
        )
    note = (
        "Using the bundled model; --model qwen2.5-0.5b takes Qwen2.5-0.5B-Instruct "
        "(about 1 GB from the hub, once)."
    )
    return ModelSource("bundled", "lvlora-bundled", str(BUNDLED), None, note)


def _is_hub_id(model: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return _HUB_ID.fullmatch(model) is not None


def hub_cache() -> Path:
    """The folder of the hub cache, as the environment says now."""
    from huggingface_hub import constants

    home = os.environ.get("HF_HOME")
    cache = os.environ.get("HF_HUB_CACHE")
    return Path(
        os.path.expanduser(cache or (Path(home) / "hub" if home else constants.HF_HUB_CACHE))
    )


def cached_snapshot(hub_id: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model that is in the local cache whole, or None; asks no network.

    Whole is: config, every weight file that its index names, and a tokenizer.
    """
    config = _cached_file(hub_id, "config.json", revision)
    if config is None:
        return None
    folder = config.parent
    names = {path.name for path in folder.iterdir() if path.is_file()}
    weights = {"model.safetensors"}
    if "model.safetensors.index.json" in names:
        try:
            index = durable.read_json_object(folder / "model.safetensors.index.json")
            weights = set(index["weight_map"].values())
        except (DataError, KeyError, TypeError, AttributeError):
            return None
    has_tokenizer = bool(names & {"tokenizer.json", "vocab.json", "tokenizer.model"})
    return folder if weights <= names and has_tokenizer else None


def _cached_file(hub_id: str, name: str, revision: str | None) -> Path | None:
    cache = hub_cache()
    if not (cache / f"models--{hub_id.replace('/', '--')}").is_dir():
        return None  # without the hub's own look, whose import takes longer than all of this
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(hub_id, name, cache_dir=cache, revision=revision or "main")
    return Path(cached) if isinstance(cached, str) else None


def read_config(source: ModelSource) -> dict[str, Any] | None:
    """The model's config.json where it can be read without loading weights, else None."""
    file: Path | None = Path(source.location) / "config.json"
    if source.kind == "hub":
        file = _cached_file(source.location, "config.json", source.revision)
    if file is None:
        return None
    return durable.read_json_object(file, wrong=ModelError)


def shape_of(model: str) -> ModelShape:
    """The model's shape: known by name, from a config.json or a .gguf file, or from the hub cache.

    Raises:
        ModelError: it is not known, and there is no such folder.
    """
    if Path(model).suffix.lower() == ".gguf":
        from lvlora.model.gguf import converted

        source = resolve(model)
        folder = converted(Path(source.location))
        return _with_tokens(replace(find_shape(str(folder)), name=source.name), folder)
    # the catalogue looks into caches and files; a shape that is known by name needs none of it
    if model in ("auto", "bundled"):
        source = resolve(model)
        if source.kind == "bundled":
            shape = replace(find_shape(source.location), name=source.name)
            return _with_tokens(shape, Path(source.location))
        model = source.name
    try:
        return _with_tokens(find_shape(model), Path(model))
    except ModelError:
        if "/" not in model:
            raise
        config = read_config(resolve(model))
        if config is None:
            raise
        return ModelShape.from_config(config, name=model)


def _with_tokens(shape: ModelShape, folder: Path) -> ModelShape:
    """With as many rows of a restricted head as the folder's tokenizer has tokens for numbers."""
    if not (folder / "tokenizer.json").is_file():
        return shape  # a configuration alone: one for each symbol, where it says nothing else
    from lvlora.model.distrust import check_tokenizer
    from lvlora.model.reading import read_alphabet

    check_tokenizer(folder)
    alphabet = read_alphabet(folder, shape.name)
    if alphabet is None:
        from lvlora.model.loading import alphabet_of, load_tokenizer

        source = ModelSource("folder", shape.name, str(folder))
        alphabet = alphabet_of(load_tokenizer(source), shape.name)
    return replace(shape, alphabet_rows=len(alphabet.tokens))


def find_adapter(spec: str | None, runs: Path) -> Path | None:
    """The adapter folder that ``--adapter`` names; nothing is loaded.

    Args:
        spec: ``none``, an adapter folder, a run folder, the name of a run in ``runs``, or
            ``latest``; left out: the newest run if there has been one.
        runs: the folder of the runs.

    Returns:
        a folder with an adapter_config.json; None for ``none``, and where nothing was asked for
        and there is no run yet.

    Raises:
        ModelError: what was named is not there or has no adapter.
    """
    if spec == _NONE:
        return None
    name, option = spec, f"--adapter {spec}"
    if spec is None or spec == LATEST:
        name, option = latest_run(runs), f"{runs / LATEST}"
    if name is None and spec is None:
        return None
    if name is None:
        raise ModelError(f"--adapter {LATEST}: there is no run in {runs} yet", _OTHERWISE)
    # what a user names may be a path, too; "" would be the working directory
    named = [Path(os.path.expanduser(name))] if spec == name and name else []
    places = [*named, *_inside(runs, name)]
    for place in places:
        if (adapter := _adapter_in(place)) is not None:
            return adapter
    for place in places:
        if _is_folder(place):
            raise ModelError(
                f"{option}: {place} has no adapter ({ADAPTER_CONFIG} is missing)",
                "A run has one once its first best step is saved; a PEFT adapter folder holds "
                f"{ADAPTER_CONFIG} and adapter_model.safetensors. {_OTHERWISE}",
            )
    raise ModelError(
        f"{option}: no folder, and no run in {runs}, is called {name!r}", _suggestion(name, runs)
    )


def refuse_adapter(folder: Path) -> None:
    """ModelError where a base model's folder holds an adapter.

    transformers would load the base that the adapter names, wherever that is.
    """
    if (folder / ADAPTER_CONFIG).exists():
        raise ModelError(
            f"{folder}: the folder holds an adapter, not a base model",
            f"Use --adapter {folder}, and --model for its base.",
        )


def latest_run(runs: Path) -> str | None:
    """The name in ``runs/latest``, or None where there is no such file.

    Raises:
        ModelError: the file is no name of a run.
    """
    pointer = runs / LATEST
    try:
        content = durable.read_bounded(pointer, _LONGEST_POINTER)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(
            f"{pointer}: cannot be read ({error.strerror or error})", _OTHERWISE
        ) from None
    name = content.decode("utf-8", errors="replace").strip()
    if not RUN_NAME.fullmatch(name):
        raise ModelError(f"{pointer}: does not hold the name of a run", _OTHERWISE)
    return name


def run_names(runs: Path) -> list[str]:
    """Names of the runs that have an adapter, newest (by name: they begin with the time) first."""
    try:
        folders = [p for p in runs.iterdir() if _adapter_in(p) is not None]
    except OSError:
        return []
    return sorted((p.name for p in folders), reverse=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, a NUL
        return False


def _adapter_in(folder: Path) -> Path | None:
    for place in (folder, folder / IN_RUN):
        try:
            if (place / ADAPTER_CONFIG).is_file():
                return place
        except (OSError, ValueError):
            return None
    return None


def _inside(runs: Path, name: str) -> list[Path]:
    """Return the folder of a run, never one outside of ``runs``."""
    if not RUN_NAME.fullmatch(name):
        return []
    folder = runs / name
    return [folder] if folder.resolve().parent == runs.resolve() else []


def _suggestion(spec: str, runs: Path) -> str:
    names = run_names(runs)
    guess = meant(Path(spec).name, [*names, LATEST, _NONE], cutoff=0.5)
    if not names:
        return f"{guess}There is no run with an adapter yet: lvlora train makes one."
    if not guess:  # a run is remembered by the end of its name
        close = [n for n in names if spec and spec.lower() in n.lower()][:1]
        guess = f"Did you mean {close[0]}? " if close else ""
    return f"{guess}Runs with an adapter: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
