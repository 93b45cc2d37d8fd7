"""Models to score: the adapters that were named, and their base models without one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.durable import sha256_of
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.open_model import open_forecaster
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.sampling import Sampling
from lvlora.model.choice import Choice, choose
from lvlora.narrator import Narrator

_ABSURD = 10**30
"""FLOPs that no training has spent."""


@dataclass(frozen=True)
class Candidate:
    """A model to score; nothing is loaded yet.

    Attributes:
        decimals: None for the adapter's own.
    """

    choice: Choice
    decimals: int | None

    def name(self, forecaster: LanguageModel, taken: Iterable[str]) -> str:
        """Return the name for tables, longer where another model has the same."""
        if forecaster.name not in taken:
            return forecaster.name
        if self.choice.info is None:
            return f"{forecaster.name}, {forecaster.decimals} decimals"
        return f"{forecaster.base.name} + {self.choice.info.folder}"

    @property
    def training_price(self) -> Price | None:
        """Return the FLOPs of the run until it made the adapter; nothing without one.

        None where the adapter does not say.
        """
        if self.choice.info is None:
            return NOTHING
        stored = self.choice.info.facts.get("flops")
        counts = (
            [stored.get(name) for name in NOTHING.to_dict()] if isinstance(stored, dict) else []
        )
        known = [n for n in counts if type(n) is int and 0 <= n < _ABSURD]
        return Price(*known) if counts and len(known) == len(counts) else None

    def open(self, settings: EvaluateSettings) -> LanguageModel:
        """Load it, as ``lvlora forecast`` does: without its own scale it has each history's.

        The same histories then have the same forecasts in both commands.
        """
        return open_forecaster(
            self.choice,
            settings,
            self.decimals,
            max_memory=settings.max_memory,
            as_drawn=settings.as_drawn,
        )

    def identity(self, forecaster: LanguageModel, sampling: Sampling) -> dict[str, Any]:
        """All that decides its forecasts of given histories, as JSON."""
        info, base = self.choice.info, forecaster.base
        files = [] if info is None else sorted(info.folder.glob("adapter_*"))
        return {
            "base": base.sha256,
            "adapter": {f.name: sha256_of(f) for f in files if f.is_file()},
            "device": [base.placement.device.type, str(base.placement.dtype)],
            "decimals": forecaster.decimals,
            **({} if forecaster.number_format == "point" else {"number_format": "digits"}),
            "gaps": "filled",  # as version 0.1.0 did not
            "scale": None if forecaster.scale is None else forecaster.scale.to_dict(),
            **({} if forecaster.widths is None else {"widths": forecaster.widths.sha256}),
            "sampling": asdict(sampling),
        }


def candidates(settings: EvaluateSettings, data: Dataset, narrator: Narrator) -> list[Candidate]:
    """The adapters in their order, then the base model of each without one.

    Args:
        data: the whole data set; an adapter that nobody named was trained on it.

    Raises:
        ModelError: what was named is not there.
    """
    named = settings.adapter or (None,)
    notes: set[str] = set()

    def note(message: str) -> None:
        if message not in notes:
            notes.add(message)
            narrator.note(message)

    chosen = [choose(settings.with_adapter(name), settings.runs, data, note) for name in named]
    candidates = [Candidate(choice, settings.decimals) for choice in chosen]
    if settings.zero_shot:
        for choice in chosen:
            if choice.info is not None:
                candidates.append(
                    Candidate(Choice(choice.source, None), _decimals(settings, choice))
                )
    return list(_different(candidates))


def _decimals(settings: EvaluateSettings, choice: Choice) -> int | None:
    """Those of the adapter, so that both are compared on the same text."""
    facts = {} if choice.info is None else choice.info.facts
    if settings.decimals is None and isinstance(facts.get("decimals"), int):
        return int(facts["decimals"])
    return settings.decimals


def _different(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    seen = set()
    for candidate in candidates:
        info, source = candidate.choice.info, candidate.choice.source
        decimals = DEFAULT_DECIMALS if candidate.decimals is None else candidate.decimals
        key = (
            (source.kind, source.location, source.revision),
            decimals if info is None else info.folder.resolve(),
        )
        if key not in seen:
            seen.add(key)
            yield candidate
