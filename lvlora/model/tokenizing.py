"""Series, or any text, as tokens of a model, and what the text loses; no weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import split_ids
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import alphabet_of, load_tokenizer
from lvlora.model.settings import TokenizeSettings
from lvlora.text import scaling
from lvlora.text.alphabet import SYMBOLS
from lvlora.text.answers import (
    Merged,
    RoundTrip,
    ScaleUsed,
    Token,
    Tokenize,
    TokenizedSeries,
    TokenizerOf,
    TokenizeText,
)
from lvlora.text.codec import Codec

_RULES = {
    "dataset": "of the data set: the {percentile:g}th percentile of the training part becomes "
    "{dataset:g}",
    "history": "of a lone series: its largest value becomes {history:g}",
    "variable": "of a lone series, a scale for each variable that another's would erase: the "
    "largest value becomes {history:g}",
    "given": "as given by --scale",
}


def tokenize_text(text: str, source: ModelSource) -> TokenizeText:
    """The tokens of a text: lvlora's where all its symbols are, else the tokenizer's own."""
    tokenizer = _Tokenizer(source)
    in_alphabet = all(symbol in SYMBOLS for symbol in text)
    ids = tokenizer.alphabet.encode(text).tolist() if in_alphabet else tokenizer.own(text)
    return TokenizeText(
        **tokenizer.facts(),
        text=text,
        ids=ids,
        tokens=tokenizer.tokens(ids),
        in_alphabet=in_alphabet,
        own_merging=tokenizer.difference(text, ids) if in_alphabet else None,
    )


def tokenize(
    dataset: Dataset, chosen: Dataset, settings: TokenizeSettings, source: ModelSource
) -> Tokenize:
    """Text, ids, tokens and round-trip error of series.

    Args:
        dataset: whose training part gives the scale.
        chosen: the series of it that are shown.
        settings: scale, decimals, number_format, and the steps to show.
        source: whose tokenizer it is.
    """
    tokenizer = _Tokenizer(source)
    scale = _scale(settings, dataset)
    codec = Codec(settings.decimals, len(dataset.variables), settings.number_format)
    values = [s.values for s in chosen]
    lost = scaling.lost(values, [scale] * len(values), settings.decimals).tolist()
    return Tokenize(
        source=dataset.source,
        **tokenizer.facts(),
        variables=list(dataset.variables),
        decimals=settings.decimals,
        number_format=settings.number_format,
        scale=ScaleUsed(
            divisors=list(scale.divisors),
            rule=scale.rule,
            offsets=list(scale.offsets),
            explanation=_RULES[scale.rule].format(
                percentile=scaling.DATASET_PERCENTILE,
                dataset=scaling.DATASET_TARGET,
                history=scaling.HISTORY_TARGET,
            ),
            lost=lost,
        ),
        series=[_tokenized(s, scale, codec, tokenizer, settings.steps) for s in chosen],
    )


class _Facts(TypedDict):
    model: TokenizerOf
    vocabulary_size: int
    start_token: Token | None
    alphabet: dict[str, int]
    merged_tokens: int


class _Tokenizer:
    """A model's tokenizer, and what of it texts are written with."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._tokenizer: Any = load_tokenizer(source)
        self.alphabet = alphabet_of(self._tokenizer, source.name)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The vocabulary's strings."""
        return [str(token) for token in self._tokenizer.convert_ids_to_tokens(list(ids))]

    def own(self, text: str) -> list[int]:
        """Return the tokenizer's own ids of a text."""
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    def facts(self) -> _Facts:
        """Return the facts that every record has."""
        start = self.alphabet.start
        return {
            "model": TokenizerOf(name=self._source.name, kind=self._source.kind),
            "vocabulary_size": len(self._tokenizer),
            "start_token": None
            if start is None
            else Token(id=start, token=self.tokens([start])[0]),
            "alphabet": dict(zip(SYMBOLS, self.alphabet.ids, strict=False)),
            "merged_tokens": len(self.alphabet.tokens) - len(SYMBOLS),
        }

    def difference(self, text: str, ids: Sequence[int]) -> Merged | None:
        """How the tokenizer's own merging of a text differs, if it does."""
        own = self.own(text)
        return None if own == list(ids) else Merged(ids=own, tokens=self.tokens(own))


def _tokenized(
    series: Series, scale: scaling.Scale, codec: Codec, tokenizer: _Tokenizer, n_shown: int
) -> TokenizedSeries:
    """Encode and decode a whole series; its first ``n_shown`` steps are shown."""
    scaled = scale.apply(series.values)
    steps = codec.encode_steps(scaled)
    text = "".join(steps)
    decoded = codec.decode(text)
    shown = "".join(steps[:n_shown])
    ids = tokenizer.alphabet.encode(shown).tolist()
    n_tokens = tokenizer.alphabet.count(text)
    return TokenizedSeries(
        id=series.id,
        text=shown,
        ids=ids,
        tokens=tokenizer.tokens(ids),
        steps_shown=len(steps[:n_shown]),
        steps=len(series),
        n_tokens=n_tokens,
        tokens_per_step=n_tokens / len(series),
        round_trip=RoundTrip(
            max_error=_largest(scale.invert(decoded) - series.values),
            max_error_half_units=_largest((decoded - scaled) / codec.half_unit),
        ),
        own_merging=tokenizer.difference(shown, ids),
    )


def _largest(errors: NDArray[np.float64]) -> float:
    """The largest absolute value; 0 of missing values alone."""
    return float(np.nan_to_num(np.abs(errors)).max(initial=0.0))


def _scale(settings: TokenizeSettings, dataset: Dataset) -> scaling.Scale:
    """As in training: of the training part of a data set, or of a lone series."""
    if settings.scale is not None:
        return scaling.Scale((settings.scale,) * len(dataset.variables), "given")
    if len(dataset) == 1:
        return scaling.of_history(dataset.series[0])
    return scaling.of_dataset(dataset.select(split_ids(dataset, seed=0).train))
