"""From settings, or from names, to a forecaster; and what it has seen already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lvlora.data.dataset import Series
from lvlora.data.splits import Split
from lvlora.errors import ModelError
from lvlora.forecast.calibration import widths
from lvlora.forecast.even_steps import interpolated
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import DEFAULT_DECIMALS, OutlinedModel
from lvlora.forecast.reading import Reading, how_cut, loss_of_text
from lvlora.forecast.settings import ForecastSettings
from lvlora.model import devices
from lvlora.model.adapters.files import AdapterInfo, attach
from lvlora.model.adapters.search import IN_RUN
from lvlora.model.catalogue import BUNDLED_DECIMALS
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import has_weights, load, outline
from lvlora.narrator import Narrator
from lvlora.settings.shared import AdapterSettings, Device, Dtype, ModelSettings
from lvlora.text.codec import checked_format
from lvlora.text.scaling import Scale


def open_forecaster(
    choice: Choice,
    settings: ModelSettings,
    decimals: int | None,
    *,
    max_memory: int | None = None,
    as_drawn: bool = False,
) -> LanguageModel:
    """Load the base model, attach the adapter.

    Args:
        decimals: None for the adapter's own.
        max_memory: as `LanguageModel` has it.
        as_drawn: without the `widths` of the model's folder.

    Raises:
        ModelError: they don't fit together or can't be read.
    """
    base = load(choice.source, devices.choose(settings.device, settings.dtype))
    usual: dict[str, Any] = {"decimals": DEFAULT_DECIMALS, "number_format": base.number_format}
    if choice.info is not None:
        usual = _as_trained(choice.info)
    elif choice.source.kind == "bundled":
        usual["made_for"] = BUNDLED_DECIMALS
    if decimals is not None:
        usual["decimals"] = decimals
    return LanguageModel(
        base,
        None if choice.info is None else attach(base, choice.info),
        **usual,
        max_memory=max_memory,
        widths=None if as_drawn else widths.of_model(choice.source, base),
    )


def open_outlined(
    choice: Choice, settings: ForecastSettings, *, weights: bool = True
) -> OutlinedModel:
    """Return `open_forecaster` for a command; without weights where these are not here.

    Args:
        weights: a model without them is an error.

    Raises:
        ModelError: as `open_forecaster`.
    """
    if weights or choice.info is not None or has_weights(choice.source):
        return open_forecaster(
            choice,
            settings,
            settings.decimals,
            max_memory=settings.max_memory,
            as_drawn=settings.as_drawn,
        )
    base = outline(choice.source, devices.choose(settings.device, settings.dtype))
    return OutlinedModel(
        base,
        decimals=DEFAULT_DECIMALS if settings.decimals is None else settings.decimals,
        number_format=base.number_format,
        max_memory=settings.max_memory,
    )


def _as_trained(info: AdapterInfo) -> dict[str, Any]:
    """Return how an adapter reads and writes, as arguments of `LanguageModel`.

    Raises:
        ModelError: its facts cannot be used.
    """
    facts, (run, name) = info.facts, info.folder.resolve().parts[-2:]
    if name.startswith(IN_RUN):  # of a run: its best or its last
        name = run if name == IN_RUN else f"{run}/{name}"
    try:
        decimals, stored = int(facts.get("decimals", DEFAULT_DECIMALS)), facts.get("scale")
        return {
            "adapter": name,
            "decimals": decimals,
            "made_for": decimals,
            "number_format": checked_format(facts.get("number_format", "point")),
            "scale": None if stored is None else Scale.from_dict(stored),
            "made_beside": tuple(str(name) for name in facts.get("known") or ()),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{info.folder}: lvlora.json cannot be used: {error}",
            "Take it from a copy, or train again.",
        ) from None


def open_model(
    model: str = "auto",
    adapter: str | Path | None = "none",
    *,
    runs: str | Path = "runs",
    decimals: int | None = None,
    max_memory: int | None = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_drawn: bool = False,
) -> LanguageModel:
    """A forecaster by name, for programs: as ``--model`` and ``--adapter`` would choose it.

    >>> open_model("bundled").name
    'lvlora-bundled zero-shot'

    Args:
        model: bundled, a short name, a hub id, a folder, a .gguf file, or auto.
        adapter: a run, an adapter folder, ``latest``, or ``none``; None takes the newest
            run's, if there is one, whatever it was trained on.
        runs: where runs are looked for by name.
        decimals: of each number; None for the adapter's own, else 2.
        max_memory: bytes for the caches of futures that are decoded together.
        dtype, device: as ``--dtype`` and ``--device``.
        as_drawn: futures as the model drew them, without the widths that its folder brings.

    Raises:
        ModelError: what was named is not there, or does not go together.
    """
    named = None if adapter is None else str(adapter)
    settings = AdapterSettings(model=model, adapter=named, dtype=dtype, device=device)
    choice = choose(settings, Path(runs), None, lambda note: None)
    return open_forecaster(
        choice,
        settings,
        decimals,
        max_memory=max_memory,
        as_drawn=as_drawn,
    )


def warn_of_reading(
    model: LanguageModel,
    histories: Sequence[Series],
    readings: Sequence[Sequence[Reading]],
    horizon: int,
    narrator: Narrator,
    *,
    variables: Sequence[str],
    known: Sequence[str],
    context: int | None = None,
    shown: set[str] | None = None,
) -> None:
    """Warn of what a model does not read as it is in the histories.

    Args:
        readings: of each history, at one scale.
        variables, known: names of columns.
        shown: sentences that need no repetition; these are added.
    """
    shown = set() if shown is None else shown
    warnings = (
        *model.unlike_training(known),
        loss_of_text(histories, model.scale, model.decimals, variables, context),
        *how_cut(histories, readings, model.base.max_positions, context),
    )
    notes = interpolated(histories, horizon, context)
    for sentences, say in ((warnings, narrator.warning), (notes, narrator.note)):
        for sentence in sentences:
            if sentence and sentence not in shown:
                shown.add(sentence)
                say(sentence)


def warn_of_seen(
    adapters: Iterable[AdapterInfo | None],
    data_sha256: str,
    split: Split,
    scored: Sequence[str],
    narrator: Narrator,
) -> None:
    """Warn of adapters that were, or may have been, trained on the series that are scored."""
    for info in adapters:
        if info is None or info.facts.get("data_sha256") != data_sha256:
            continue
        # where steps were held out, those that else would validate were trained on, too
        seen = split.train + (split.validation if info.facts.get("held_out") else ())
        n_seen = len(set(seen).intersection(scored))
        if info.facts.get("split_sha256") != split.sha256:
            narrator.warning(
                f"{info.folder} was trained on another split of this data (--split-seed, "
                "--stratify): it has seen some of the series that are scored."
            )
        elif n_seen:
            narrator.warning(
                f"{info.folder} was trained on {n_seen} of the {len(scored)} series that are "
                "scored: on others its error may be larger."
            )
