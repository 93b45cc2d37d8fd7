"""Series as tokens of a model, and what the text loses; no weights are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import split_ids
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import alphabet_of, load_tokenizer, number_format_of
from lvlora.model.settings import TokenizeSettings
from lvlora.text import scaling
from lvlora.text.alphabet import SYMBOLS, TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.document import (
    RoundTrip,
    ScaleUsed,
    Token,
    Tokenize,
    TokenizedSeries,
    TokenizerOf,
)

_RULES = {
    "dataset": "of the data set: the {percentile:g}th percentile of the training part becomes "
    "{dataset:g}",
    "history": "of a lone series: its largest value becomes {history:g}",
    "variable": "of a lone series, a scale for each variable that another's would erase: the "
    "largest value becomes {history:g}",
}


def tokenize(
    dataset: Dataset, chosen: Dataset, settings: TokenizeSettings, source: ModelSource
) -> Tokenize:
    """Text, ids, tokens and round-trip error of series.

    Args:
        dataset: whose training part gives the scale.
        chosen: the series of it that are shown.
        settings: decimals, and the steps to show.
        source: whose tokenizer it is.
    """
    tokenizer: Any = load_tokenizer(source)
    alphabet, as_tokens = alphabet_of(tokenizer, source.name), tokenizer.convert_ids_to_tokens
    start = alphabet.start
    scale, number_format = _scale(dataset), number_format_of(len(tokenizer))
    codec = Codec(settings.decimals, len(dataset.variables), number_format)
    values = [s.values for s in chosen]
    lost = scaling.lost(values, [scale] * len(values), settings.decimals).tolist()
    return Tokenize(
        source=dataset.source,
        model=TokenizerOf(name=source.name, kind=source.kind),
        vocabulary_size=len(tokenizer),
        start_token=None if start is None else Token(id=start, token=str(as_tokens(start))),
        alphabet=dict(zip(SYMBOLS, alphabet.ids, strict=False)),
        merged_tokens=len(alphabet.tokens) - len(SYMBOLS),
        variables=list(dataset.variables),
        decimals=settings.decimals,
        number_format=number_format,
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
        series=[_tokenized(s, scale, codec, alphabet, as_tokens, settings.steps) for s in chosen],
    )


def _tokenized(
    series: Series,
    scale: scaling.Scale,
    codec: Codec,
    alphabet: TokenAlphabet,
    as_tokens: Callable[[list[int]], list[str]],
    n_shown: int,
) -> TokenizedSeries:
    """Encode and decode a whole series; its first ``n_shown`` steps are shown."""
    scaled = scale.apply(series.values)
    steps = codec.encode_steps(scaled)
    text = "".join(steps)
    decoded = codec.decode(text)
    shown = "".join(steps[:n_shown])
    ids = alphabet.encode(shown).tolist()
    n_tokens = alphabet.count(text)
    return TokenizedSeries(
        id=series.id,
        text=shown,
        ids=ids,
        tokens=[str(token) for token in as_tokens(ids)],
        steps_shown=len(steps[:n_shown]),
        steps=len(series),
        n_tokens=n_tokens,
        tokens_per_step=n_tokens / len(series),
        round_trip=RoundTrip(
            max_error=_largest(scale.invert(decoded) - series.values),
            max_error_half_units=_largest((decoded - scaled) / codec.half_unit),
        ),
    )


def _largest(errors: NDArray[np.float64]) -> float:
    """The largest absolute value; 0 of missing values alone."""
    return float(np.nan_to_num(np.abs(errors)).max(initial=0.0))


def _scale(dataset: Dataset) -> scaling.Scale:
    """As in training: of the training part of a data set, or of a lone series."""
    if len(dataset) == 1:
        return scaling.of_history(dataset.series[0])
    return scaling.of_dataset(dataset.select(split_ids(dataset, seed=0).train))
