"""Negative log-likelihood of the truth under a model, value by value, in nats per original unit:

    -log density = -sum of the log-probabilities of its tokens + log(width of the bin)

A number stands for the bin of values that round to it. Its mean is LLMTIME's NLL per dimension
(Gruver et al. 2023, arXiv:2310.07820, appendix A.1). A number that the grammar cannot write has the
probability 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray, Series
from lvlora.forecast.continuation import PREFILL_TOKENS
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.pricing import Call, Trace
from lvlora.forecast.reading import Reading, last_steps, least_values
from lvlora.forecast.sampling import NotFinite, legal_logits
from lvlora.text.codec import MISSING, STEP_SEPARATOR, VALUE_SEPARATOR
from lvlora.text.grammar import ILLEGAL, START, spelling

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """Negative log-likelihood of the known values of some truth.

    Attributes:
        per_dimension: mean over the values, in nats per original unit; infinite as soon as one
            value cannot be written, NaN where there is none.
        possible: the same over the values that can be written.
        n_values: known values; n_impossible: those that the grammar cannot write.
    """

    per_dimension: float
    possible: float
    n_values: int
    n_impossible: int

    @classmethod
    def of(cls, nll: Sequence[FloatArray]) -> Score:
        """Return the score of arrays from `negative_log_likelihood`."""
        values = np.concatenate([np.empty(0), *(x.ravel() for x in nll)])
        values = values[~np.isnan(values)]
        finite = values[np.isfinite(values)]
        return cls(
            float(values.mean()) if len(values) else np.nan,
            float(finite.mean()) if len(finite) else np.nan,
            len(values),
            len(values) - len(finite),
        )


@dataclass(frozen=True)
class _Passage:
    """Text to feed, and which of its tokens are scored.

    Attributes:
        series: index of the history; row: of its reading among all.
        steps: of the truth.
        history: ids of the text before it; truth: its tokens, as places in the alphabet.
        places: positions in ``truth`` of the tokens that count; states: the spelling's there.
        owners: index of the value that each counted token belongs to, in flat order of (steps, V).
        impossible: indices of values that cannot be written.
    """

    series: int
    row: int
    reading: Reading
    steps: slice
    history: Ints
    truth: Ints
    places: Ints
    states: Ints
    owners: Ints
    impossible: Ints

    @property
    def n_tokens(self) -> int:
        """Tokens that are fed: all but the last, which predicts nothing that is scored."""
        return len(self.history) + len(self.truth) - 1


@torch.no_grad()
def negative_log_likelihood(
    forecaster: LanguageModel,
    histories: Sequence[Series],
    futures: Sequence[Series],
    *,
    context: int | None = None,
) -> list[FloatArray]:
    """-log density of each true value under the model, given the true values before it.

    Args:
        histories: as for `Forecaster.predict`; futures: what came next, H steps each.
        context: use only this many last steps of a history.

    Returns:
        an array (H, V) a series: nats per original unit, NaN where the truth is missing, infinite
        where the grammar cannot write it. Known columns are read and not scored. NaN throughout
        where the history was resampled, since the truth is at other times then.

    Raises:
        DataError: a history cannot be read.
        NumericalError: the model gives no finite numbers.
        BudgetError: inside `charged`, what was reserved there does not pay for it.
    """
    results = [np.full(f.values.shape, np.nan) for f in futures]
    batches = _batches(forecaster, histories, futures, context)
    with forecaster.usage.work(_price(forecaster, batches)):
        for batch in batches:
            with forecaster.traced() as trace:
                trace.add(_trace(forecaster, batch))
                log_p = _log_probabilities(batch, forecaster)
            for passage, tokens in zip(batch, log_p, strict=True):
                reading = passage.reading
                widths = 10.0**-reading.codec.decimals * np.asarray(reading.own_scale.divisors)
                truth = futures[passage.series].values[passage.steps, reading.columns]
                sums = np.zeros(truth.size)
                np.add.at(sums, passage.owners, -tokens)
                sums[passage.impossible] = np.inf
                nll = sums.reshape(truth.shape) + np.log(widths)
                nll[truth + 0.5 * widths < least_values(reading.steps.history.values)] = (
                    np.inf
                )  # below an offset are signs
                nll[np.isnan(truth)] = np.nan
                results[passage.series][passage.steps, reading.columns] = nll
    return results


def price(
    model: OutlinedModel,
    histories: Sequence[Series],
    futures: Sequence[Series],
    *,
    context: int | None = None,
) -> Price:
    """Return the exact price of `negative_log_likelihood` with these arguments."""
    return _price(model, _batches(model, histories, futures, context))


def _price(model: OutlinedModel, batches: Sequence[Sequence[_Passage]]) -> Price:
    return sum((model.price_of(_trace(model, batch)) for batch in batches), NOTHING)


def _batches(
    model: OutlinedModel,
    histories: Sequence[Series],
    futures: Sequence[Series],
    context: int | None,
) -> list[list[_Passage]]:
    """Passages of like length together, as many as one call of a prefill takes."""
    readings = [
        (i, reading)
        for i, (history, future) in enumerate(zip(histories, futures, strict=True))
        for reading in model.readings([history], len(future), context)[0]
    ]
    passages = [
        passage
        for row, (i, reading) in enumerate(readings)
        if not reading.steps.resampled
        for passage in _passages(model, i, row, reading, futures[i])
    ]
    batches: list[list[_Passage]] = []
    for passage in sorted(passages, key=lambda p: (p.n_tokens, p.row, p.steps.start)):
        # sorted: the last is the longest
        if not batches or (len(batches[-1]) + 1) * (passage.n_tokens + 1) > PREFILL_TOKENS:
            batches.append([])
        batches[-1].append(passage)
    return batches


def _passages(
    model: OutlinedModel, series: int, row: int, reading: Reading, future: Series
) -> Iterator[_Passage]:
    """The texts in which a future is read: in pieces where it is too long for one."""
    alphabet, codec, past = model.base.alphabet, reading.codec, reading.numbers
    ways = spelling(reading.grammar, alphabet.tokens)
    n_known, n_variables = reading.n_known, len(reading.columns)
    # the state in which each variable's number begins
    begins, zero = [START], alphabet.spell(codec.format_units(0) + VALUE_SEPARATOR)
    for _ in range(n_variables - 1):
        begins.append(ways.walk(zero, begins[-1]))
    truth = reading.own_scale.apply(future.values[:, reading.columns])
    numbers = np.column_stack([reading.known_ahead, truth])
    for begin in range(0, len(numbers), reading.steps_at_once):
        part = numbers[begin : begin + reading.steps_at_once]
        tokens: list[int] = []
        places: list[int] = []
        states: list[int] = []
        owners: list[int] = []
        impossible: list[int] = []
        for (step, column), value in np.ndenumerate(part):
            variable, text = column - n_known, codec.number(float(value))
            if variable < 0:  # it is given
                tokens += alphabet.spell(text + VALUE_SEPARATOR)
                continue
            last, owner = variable == n_variables - 1, step * n_variables + variable
            spelled = alphabet.spell(text + (STEP_SEPARATOR if last else VALUE_SEPARATOR))
            walked = [begins[variable]]
            for token in spelled:
                walked.append(ways.walk([token], walked[-1]))
            # a missing truth is read, and not scored
            if text != MISSING and walked[-1] == ILLEGAL:
                impossible.append(owner)
            elif text != MISSING:
                places += range(len(tokens), len(tokens) + len(spelled))
                states += walked[:-1]
                owners += [owner] * len(spelled)
            tokens += spelled
        scored = (np.array(x, dtype=np.int64) for x in (tokens, places, states, owners, impossible))
        steps = slice(begin, begin + len(part))
        yield _Passage(series, row, reading, steps, alphabet.encode(codec.encode(past)), *scored)
        past = last_steps(codec, np.concatenate([past, part]), reading.history_tokens, alphabet)


def _trace(model: OutlinedModel, batch: Sequence[_Passage]) -> Trace:
    lengths = [len(model.base.alphabet.beginning) + p.n_tokens for p in batch]
    width = max(lengths)
    n_scored = sum(len(p.places) for p in batch)
    return Trace(calls=[Call(len(batch), width, width, n_scored)], histories=lengths)


def _log_probabilities(batch: Sequence[_Passage], forecaster: LanguageModel) -> list[FloatArray]:
    """Return the log-probability of each token that counts, among the legal ones, by passage."""
    decoder, alphabet = forecaster.decoder, forecaster.base.alphabet
    start = np.array(alphabet.beginning, dtype=np.int64)
    width = len(start) + max(p.n_tokens for p in batch)
    tokens = np.full((len(batch), width), int(decoder.token_ids[0]), dtype=np.int64)
    for row, passage in zip(tokens, batch, strict=True):
        fed = np.concatenate([start, passage.history, decoder.token_ids[passage.truth]])[:-1]
        row[: len(fed)] = fed
    hidden = decoder.module(
        input_ids=torch.from_numpy(tokens).to(decoder.device), use_cache=False
    ).last_hidden_state
    by_passage = []
    for i, passage in enumerate(batch):
        # a token is predicted one position before its own
        at = len(start) + len(passage.history) + passage.places - 1
        logits = decoder.logits(hidden[i, torch.from_numpy(at).to(hidden.device)])
        counted = passage.truth[passage.places]
        ways = spelling(passage.reading.grammar, alphabet.tokens)
        try:
            masked = legal_logits(logits, ways.legal[passage.states])
        except NotFinite:
            raise decoder.broken(passage.reading.name) from None
        masked = masked - masked.max(axis=1, keepdims=True)
        log_p = masked - np.log(np.exp(masked).sum(axis=1, keepdims=True))
        by_passage.append(log_p[np.arange(len(counted)), counted])
    return by_passage
