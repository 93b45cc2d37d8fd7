"""Which base model and which adapter --model and --adapter mean together; nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvlora.errors import ModelError
from lvlora.model.adapters import files as adapter_files
from lvlora.model.adapters.files import AdapterInfo
from lvlora.model.adapters.search import find_adapter
from lvlora.model.catalogue import ModelSource, cached_snapshot, resolve
from lvlora.model.loading import weights_sha256
from lvlora.settings.forecasting import AdapterSettings


@dataclass(frozen=True)
class Choice:
    """A base model and an adapter that go together; nothing is loaded yet."""

    source: ModelSource
    info: AdapterInfo | None


def choose(settings: AdapterSettings, runs: Path, note: Callable[[str], None]) -> Choice:
    """Resolve --model and --adapter.

    - An adapter brings its own base model, unless --model names one.
    - The newest run's adapter is only a default: if it was made for another base than --model
      names, it is left out with a note. An adapter that was named must fit.

    Raises:
        ModelError: what was named is not there.
    """
    folder = find_adapter(settings.adapter, runs)
    if folder is None:
        source = resolve(settings.model, settings.revision, keep=settings.cache)
        _say(source, note)
        if settings.adapter is None:
            note("No trained adapter yet (lvlora train makes one): forecasting zero-shot.")
        return Choice(source, None)
    info = adapter_files.read_info(folder)
    if settings.model == "auto":
        return Choice(_base_of(info, keep=settings.cache), info)
    source = resolve(settings.model, settings.revision, keep=settings.cache)
    if settings.adapter is None and not _fits(source, info):
        note(f"The newest adapter ({folder}) was made for {info.base_name}: forecasting zero-shot.")
        return Choice(source, None)
    return Choice(source, info)


def _base_of(info: AdapterInfo, *, keep: bool) -> ModelSource:
    named = str(info.facts.get("model") or info.base_name)
    if not named:
        raise ModelError(
            f"{info.folder}: does not say which base model it belongs to", "Add --model."
        )
    try:
        source = resolve(named, info.facts.get("revision"), keep=keep)
    except ModelError as error:
        raise ModelError(
            f"{info.folder}: its base model {named} is not there", error.hint or "Add --model."
        ) from None
    # only a person may ask for a download, not a file
    if source.kind == "hub" and cached_snapshot(source.location, source.revision) is None:
        raise ModelError(
            f"{info.folder}: its base model {named} is not in the local hub cache",
            f"Add --model {named} to download it.",
        )
    return source


def _fits(source: ModelSource, info: AdapterInfo) -> bool:
    recorded = info.facts.get("base_sha256")
    if recorded:
        return str(recorded) == weights_sha256(source)
    return info.base_name in ("", source.name, source.location)


def _say(source: ModelSource, note: Callable[[str], None]) -> None:
    if source.note:
        note(source.note)
