"""The base model and the adapter that --model and --adapter name together; nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvlora.data.dataset import Dataset
from lvlora.errors import ModelError
from lvlora.model import adapters
from lvlora.model.adapters import AdapterInfo
from lvlora.model.catalogue import ModelSource, cached_snapshot, find_adapter, resolve
from lvlora.model.loading import weights_sha256
from lvlora.settings.shared import AdapterSettings
from lvlora.text.scaling import sizes_of

_LIKE_SIZES = 10.0
"""The largest factor between sizes of a variable that may be in the same units."""
_NAMELESS = ("standard input", "arrays", "data frame")
"""Sources that name no file: only their content tells them apart."""


@dataclass(frozen=True)
class Choice:
    """A base model and an adapter that go together; nothing is loaded yet."""

    source: ModelSource
    info: AdapterInfo | None


def choose(
    settings: AdapterSettings, runs: Path, data: Dataset | None, note: Callable[[str], None]
) -> Choice:
    """Resolve --model and --adapter.

    - An adapter brings its own base model, unless --model names one.
    - The newest run's adapter is only a default: it is left aside, with a note, where it was
      trained on other data or for another base model, or did not help. An adapter that was named
      must fit.

    Args:
        data: the whole data set; None: there is none to compare with.

    Raises:
        ModelError: what was named is not there.
    """
    folder = find_adapter(settings.adapter, runs)
    if folder is None:
        source = resolve(settings.model, settings.revision)
        _say(source, runs, note)
        if settings.adapter is None:
            note("No trained adapter yet (lvlora train makes one): forecasting zero-shot.")
        return Choice(source, None)
    info = adapters.read_info(folder)
    difference = ""
    if settings.adapter is None and info.facts.get("helps") is False:
        difference = "was no better than the model without it in its validation"
    elif settings.adapter is None and data is not None:
        difference = _difference(info, data)
    if settings.model == "auto" and not difference:
        return Choice(_base_of(info), info)
    source = resolve(settings.model, settings.revision)
    if not difference and settings.adapter is None and not _fits(source, info):
        difference = f"was made for {info.model}"
    if not difference:
        return Choice(source, info)
    _say(source, runs, note)
    note(
        f"The newest adapter {difference}: forecasting zero-shot. To use it: --adapter "
        f"{folder.parent.name}"
    )
    return Choice(source, None)


def _difference(info: AdapterInfo, data: Dataset) -> str:
    """How an adapter's training data differ from these; empty where they are the same.

    They are the same by content, or by the file's name where the variables and their sizes
    agree: a file may have grown since. An adapter made elsewhere says nothing of its data.
    """
    facts = info.facts
    if facts.get("data_sha256") == data.sha256():
        return ""
    source = str(facts.get("data") or "")
    if not source:
        return "does not say which data it was trained on"
    name, here = Path(source).name, Path(data.source).name
    if name != here or source in _NAMELESS:
        return f"was trained on {name}"
    columns = [*(facts.get("variables") or ()), *(facts.get("known") or ())]
    if columns != [*data.variables, *data.known]:
        return f"was trained on other columns of {name} ({', '.join(map(str, columns))})"
    # an adapter of version 0.1.0 has no sizes
    for variable, then, now in zip(
        data.variables, facts.get("sizes") or (), sizes_of(data), strict=False
    ):
        if max(then, now) > _LIKE_SIZES * min(then, now):
            return f"was trained on {name} with {variable} in other units"
    return ""


def _base_of(info: AdapterInfo) -> ModelSource:
    named = info.model
    if not named:
        raise ModelError(
            f"{info.folder}: does not say which base model it belongs to", "Add --model."
        )
    try:
        source = resolve(named, info.facts.get("revision"))
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


def _say(source: ModelSource, runs: Path, note: Callable[[str], None]) -> None:
    if message := source.first_note(runs):
        note(message)
