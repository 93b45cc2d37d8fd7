"""How probable a model held the truth: its negative log-likelihood, value by value.

The truth is written as text and fed whole. Each token has the probability that sampling at
temperature 1 gives it: renormalised over what may come next there, where every text has exactly
one spelling (`lvlora.text.spelling`). A number stands for the bin of values that round to it, so

    -log density = -sum of the log-probabilities of its tokens + log(width of the bin)

in nats per original unit, which is LLMTIME's NLL per dimension when it is averaged (Gruver et al.
2023, arXiv:2310.07820, appendix A.1; there the base and the derivative of the scaling, here the
width). What the grammar cannot write (a negative number after a history without any, more digits
than it grants) has the probability 0 and so an infinite negative log-likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lvlora.answers import Price
from lvlora.data.dataset import FloatArray, Series
from lvlora.forecast.continuation import PREFILL_TOKENS
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.plan import Plan
from lvlora.forecast.pricing import Call, Trace
from lvlora.forecast.reading import Reading, last_steps
from lvlora.forecast.sampling import NotFinite, legal_logits
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import MISSING, STEP_SEPARATOR, VALUE_SEPARATOR
from lvlora.text.grammar import ILLEGAL, START
from lvlora.text.spelling import Spelling, spelling

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
    """Tokens to feed, and which of them are scored.

    Attributes:
        row, series: the series and its id.
        history: ids of the text before the truth; truth: tokens of the text that is scored, as
            places in the alphabet; ids: theirs.
        n_steps: of the truth.
        places: positions in ``truth`` of the tokens that count; states: the spelling's there.
        values: (steps, V) sum of zeros to add to, in flat order of ``owners``.
        owners: index of the value that each counted token belongs to.
        impossible: indices of values that cannot be written.
    """

    row: int
    series: str
    first_step: int
    history: Ints
    truth: Ints
    ids: Ints
    n_steps: int
    spelling: Spelling
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
    plan = forecaster.plan
    readings = _readings(plan, histories, futures, context)
    results = [np.full(f.values.shape, np.nan) for f in futures]
    batches = list(_batches(_passages(plan, readings, futures)))
    with forecaster.usage.work(lambda: _price(batches, plan)) as work:
        for batch in batches:
            trace = _trace(batch, plan)
            try:
                log_p = _log_probabilities(batch, forecaster)
            finally:  # an interrupted call was spent, too
                work.add(trace, plan.price_of(trace))
            for passage, tokens in zip(batch, log_p, strict=True):
                series, reading = readings[passage.row]
                widths = 10.0**-reading.codec.decimals * np.asarray(reading.own_scale.divisors)
                n_variables = len(widths)
                n_steps = passage.n_steps
                sums = np.zeros(n_steps * n_variables)
                np.add.at(sums, passage.owners, -tokens)
                sums[passage.impossible] = np.inf
                end = passage.first_step + n_steps
                truth = futures[series].values[passage.first_step : end, reading.columns]
                known = ~np.isnan(truth)
                nll = sums.reshape(n_steps, n_variables) + np.log(widths)
                nll[truth + 0.5 * widths < reading.least] = np.inf  # below an offset are signs
                results[series][passage.first_step : end, reading.columns] = np.where(
                    known, nll, np.nan
                )
    return results


def price(
    plan: Plan,
    histories: Sequence[Series],
    futures: Sequence[Series],
    *,
    context: int | None = None,
) -> Price:
    """Return the exact price of `negative_log_likelihood` with these arguments.

    Args:
        plan: of the forecaster.
    """
    readings = _readings(plan, histories, futures, context)
    return _price(_batches(_passages(plan, readings, futures)), plan)


def _price(batches: Iterable[Sequence[_Passage]], plan: Plan) -> Price:
    trace = Trace()
    for batch in batches:
        trace.add(_trace(batch, plan))
    return plan.price_of(trace)


def _readings(
    plan: Plan, histories: Sequence[Series], futures: Sequence[Series], context: int | None
) -> list[tuple[int, Reading]]:
    """Readings, and which history each is of."""
    return [
        (i, reading)
        for i, (history, future) in enumerate(zip(histories, futures, strict=True))
        for reading in plan.readings([history], len(future), context)[0]
    ]


def _passages(
    plan: Plan, readings: Sequence[tuple[int, Reading]], futures: Sequence[Series]
) -> Iterator[_Passage]:
    """The texts in which each future is read: in pieces where it is too long for one."""
    alphabet = plan.base.alphabet
    for row, (i, reading) in enumerate(readings):
        if reading.steps.resampled:
            continue
        truth = futures[i].values[:, reading.columns]
        numbers = np.column_stack([reading.given, reading.own_scale.apply(truth)])
        past = reading.numbers
        for begin in range(0, len(numbers), reading.steps_at_once):
            part = numbers[begin : begin + reading.steps_at_once]
            yield _passage(row, begin, reading, past, part, alphabet)
            past = last_steps(
                reading.codec, np.concatenate([past, part]), reading.history_tokens, alphabet
            )


def _passage(
    row: int,
    begin: int,
    reading: Reading,
    past: FloatArray,
    part: FloatArray,
    alphabet: TokenAlphabet,
) -> _Passage:
    codec, ways = reading.codec, spelling(reading.grammar, alphabet.tokens)
    n_variables = codec.n_variables - reading.n_known
    begins = _begins(ways, alphabet)
    truth: list[int] = []
    places: list[int] = []
    states: list[int] = []
    owners: list[int] = []
    impossible: list[int] = []
    for place, value in enumerate(part.ravel().tolist()):
        step, column = divmod(place, codec.n_variables)
        variable = column - reading.n_known
        last = variable == n_variables - 1
        number = codec.number(value)
        if variable < 0:  # it is given
            truth += alphabet.spell(number + VALUE_SEPARATOR)
            continue
        owner = step * n_variables + variable
        spelled = alphabet.spell(number + (STEP_SEPARATOR if last else VALUE_SEPARATOR))
        walked = [begins[variable]]
        for token in spelled:
            walked.append(ways.walk([token], walked[-1]))
        if number != MISSING:  # a missing truth is read, and not scored
            if walked[-1] == ILLEGAL:
                impossible.append(owner)
            else:
                places += range(len(truth), len(truth) + len(spelled))
                states += walked[:-1]
                owners += [owner] * len(spelled)
        truth += spelled
    arrays = (np.array(x, dtype=np.int64) for x in (places, states, owners, impossible))
    return _Passage(
        row,
        reading.name,
        begin,
        alphabet.encode(codec.encode(past)),
        np.array(truth, dtype=np.int64),
        np.array(alphabet.ids, dtype=np.int64)[truth],
        len(part),
        ways,
        *arrays,
    )


def _begins(ways: Spelling, alphabet: TokenAlphabet) -> list[int]:
    """The state in which each variable's number begins."""
    begins = [START]
    codec = ways.grammar.codec
    zero = alphabet.spell(codec.format_units(0) + VALUE_SEPARATOR)
    for _ in range(codec.n_variables - 1):
        begins.append(ways.walk(zero, begins[-1]))
    return begins


def _batches(passages: Iterator[_Passage]) -> Iterator[list[_Passage]]:
    """Passages of like length together, as many as one call of a prefill takes."""
    batch: list[_Passage] = []
    for passage in sorted(passages, key=lambda p: (p.n_tokens, p.row, p.first_step)):
        # sorted: the last is the longest
        if batch and (len(batch) + 1) * (passage.n_tokens + 1) > PREFILL_TOKENS:
            yield batch
            batch = []
        batch.append(passage)
    if batch:
        yield batch


def _trace(batch: Sequence[_Passage], plan: Plan) -> Trace:
    lengths = [len(plan.base.alphabet.beginning) + p.n_tokens for p in batch]
    width = max(lengths)
    n_scored = sum(len(p.places) for p in batch)
    return Trace(calls=[Call(len(batch), width, width, n_scored)], histories=lengths)


def _log_probabilities(batch: Sequence[_Passage], forecaster: LanguageModel) -> list[FloatArray]:
    """The log-probability of each token that counts, for each passage."""
    decoder, start = forecaster.decoder, forecaster.base.alphabet.beginning
    width = len(start) + max(p.n_tokens for p in batch)
    tokens = np.full((len(batch), width), int(decoder.backbone.token_ids[0]), dtype=np.int64)
    for row, passage in zip(tokens, batch, strict=True):
        row[: len(start)] = start
        fed = np.concatenate([passage.history, passage.ids])[:-1]
        row[len(start) : len(start) + len(fed)] = fed
    hidden = decoder.backbone.module(
        input_ids=torch.from_numpy(tokens).to(decoder.backbone.device), use_cache=False
    ).last_hidden_state
    by_passage = []
    for i, passage in enumerate(batch):
        # a token is predicted one position before its own
        at = len(start) + len(passage.history) + passage.places - 1
        logits = decoder.backbone.logits(hidden[i, torch.from_numpy(at).to(hidden.device)])
        counted = passage.truth[passage.places]
        try:
            log_p = log_probabilities(logits, passage.spelling.legal[passage.states])
        except NotFinite:
            raise decoder.broken(passage.series) from None
        by_passage.append(log_p[np.arange(len(counted)), counted])
    return by_passage


def log_probabilities(logits: FloatArray, legal: NDArray[np.bool_]) -> FloatArray:
    """(rows, tokens) log-probabilities, renormalised over the legal tokens; -inf for others.

    Raises:
        NotFinite: as `legal_logits`.
    """
    masked = legal_logits(logits, legal)
    masked = masked - masked.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        normalised: FloatArray = masked - np.log(np.exp(masked).sum(axis=1, keepdims=True))
    return normalised
