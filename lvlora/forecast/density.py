"""The exact distribution of a series' next values, by walking the tree of their tokens.

A number is a path through the grammar, and its probability the product of its tokens', each
renormalised over what is legal there: what sampling at temperature 1 draws from, without its noise.
Branches are followed while they hold at least ``threshold`` of the mass, the most probable first,
in at most so many calls of the model; the mass of those that are not is the stated remainder, so
that listed probabilities and remainder sum to 1. Every level of the tree holds at most
1 / threshold branches: where digits are nearly uniform these are many, and the calls bound the
cost.

A step's first variable is given the history, and the step's known columns. Each further one is
given these and the most probable value of each variable before it: its distribution is conditional,
not marginal.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray, Series
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import log_probabilities
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.pricing import Call, Trace, most_attended
from lvlora.forecast.reading import Reading
from lvlora.forecast.sampling import NotFinite
from lvlora.model.native.engine import in_pages
from lvlora.text.codec import VALUE_SEPARATOR
from lvlora.text.grammar import START
from lvlora.text.spelling import spelling

THRESHOLD = 1e-4
"""Branches with less of the mass are not followed."""

CALLS = 40
"""Calls of the model for each value of each series."""
BRANCHES = 128
"""The most branches of a call."""


@dataclass(frozen=True)
class Density:
    """The distribution of one variable's next value, in original units.

    Attributes:
        series: its id; time: of the next step; variable: which of the V variables.
        condition: values of the variables before it in the same step that it is conditional on.
        values: (n,) centres of bins, ascending; probabilities: (n,) of the bins.
        width: of each bin.
        remainder: probability of all that is not listed.
        cut: the part of it that more calls would have followed.
    """

    series: str
    time: float
    variable: int
    condition: tuple[float, ...]
    values: FloatArray
    probabilities: FloatArray
    width: float
    remainder: float
    cut: float = 0.0

    @property
    def densities(self) -> FloatArray:
        """(n,) probabilities per original unit."""
        return self.probabilities / self.width

    @property
    def mode(self) -> float:
        """The most probable value; NaN where none is listed."""
        return float(self.values[self.probabilities.argmax()]) if len(self.values) else float("nan")

    @property
    def mean(self) -> float:
        """Return the mean of the listed values."""
        total = self.probabilities.sum()
        return float(self.values @ self.probabilities / total) if total > 0 else float("nan")

    def quantile(self, level: float) -> float:
        """The least listed value that holds ``level`` of the listed mass at or below it."""
        cumulative = np.cumsum(self.probabilities)
        if not len(cumulative):
            return float("nan")
        place = int(np.searchsorted(cumulative, level * cumulative[-1] * (1 - 1e-12)))
        return float(self.values[min(place, len(self.values) - 1)])


@torch.no_grad()
def next_step(
    forecaster: LanguageModel,
    histories: Sequence[Series],
    *,
    threshold: float = THRESHOLD,
    calls: int = CALLS,
    context: int | None = None,
) -> list[list[Density]]:
    """The distribution of every variable's next value, for each history.

    Args:
        threshold: follow branches with at least this probability.
        calls: of the model, of `BRANCHES` branches each, for each value.
        context: use only this many last steps of a history.

    Returns:
        V densities a history, in the order of its variables.

    Raises:
        DataError: a history cannot be read.
        NumericalError: the model gives no finite numbers.
        BudgetError: inside `charged`, what was reserved there does not pay for it.
    """
    results = []

    def bound() -> Price:
        return at_most(forecaster, histories, threshold=threshold, calls=calls, context=context)

    with forecaster.usage.work(bound):
        for readings in forecaster.readings(histories, 1, context):
            densities: list[Density] = []
            for reading in readings:
                with forecaster.traced() as trace:
                    densities += _Walk(forecaster, reading, threshold, calls, trace).densities()
            results.append(sorted(densities, key=lambda density: density.variable))
    return results


def at_most(
    model: OutlinedModel,
    histories: Sequence[Series],
    *,
    threshold: float = THRESHOLD,
    calls: int = CALLS,
    context: int | None = None,
) -> Price:
    """The most that `next_step` with these arguments can cost."""
    price, alphabet = NOTHING, model.base.alphabet
    for reading in (r for readings in model.readings(histories, 1, context) for r in readings):
        history = alphabet.count(_text(reading)) + 1
        begin = Call(1, history, in_pages(history), 1)
        price += model.price_of(Trace([begin], [history]))
        ways = spelling(reading.grammar, alphabet.tokens)
        for variable in range(len(reading.columns)):
            # where one of several tokens is next; what is forced is no branch
            levels = range(0 if variable else 1, ways.most_branchings)
            most = int(1 / threshold) + 1
            rows = sum(min(most, len(alphabet.tokens) ** level) for level in levels)
            width = (variable + 1) * ways.longest_number - 1
            capacity = most_attended(history, width + 1)
            # one after another or together, a branch costs the same
            branch = Trace([Call(1, width, capacity, width)], futures=[(history, width)])
            price += min(rows, calls * BRANCHES) * model.price_of(branch)
    return price


def _text(reading: Reading) -> str:
    """Return the model's text: the history, and the known columns of the next step."""
    return reading.codec.encode(reading.numbers) + reading.known_texts(0, 1)[0]


class _Walk:
    """The tree of tokens after one history."""

    def __init__(
        self,
        forecaster: LanguageModel,
        reading: Reading,
        threshold: float,
        calls: int,
        trace: Trace,
    ) -> None:
        self.decoder, self.alphabet = forecaster.decoder, forecaster.base.alphabet
        self.reading, self.ways = reading, spelling(reading.grammar, self.alphabet.tokens)
        self.threshold, self.calls, self.trace = threshold, calls, trace
        self.continued = self.decoder.continuation(trace)
        self.first: FloatArray = self.continued.begin([_text(reading)])[0]
        self.history_tokens = trace.histories[-1]
        width = self.ways.longest_number * len(reading.columns)
        rows = forecaster.rows_at_a_time(self.history_tokens + width)
        self.max_rows = min(BRANCHES, rows)

    def densities(self) -> list[Density]:
        """The distribution of each variable, given the likeliest values of those before it."""
        reading, codec = self.reading, self.reading.codec
        densities: list[Density] = []
        before, state = "", START
        known: tuple[float, ...] = ()
        for variable, column in enumerate(reading.columns):
            leaves, remainder, cut = self.numbers(before, state)
            texts = sorted(leaves, key=float)
            # "-0.00" is another path to what "0.00" says
            numbers, places = np.unique([codec.value(t) for t in texts], return_inverse=True)
            probabilities = np.zeros(len(numbers))
            np.add.at(probabilities, places, [leaves[t] for t in texts])
            divisor, offset = reading.own_scale.pairs[variable]
            width, least = 10.0**-codec.decimals * divisor, reading.least[variable]
            centres = numbers * divisor + offset
            # below an offset a text has a sign, but no future is below the least
            possible = centres + 0.5 * width >= least
            remainder += float(probabilities[~possible].sum())
            numbers, probabilities = numbers[possible], probabilities[possible]
            density = Density(
                series=reading.steps.history.id,
                time=float(reading.steps.time[0]),
                variable=column,
                condition=known,
                values=np.maximum(centres[possible], least),
                probabilities=probabilities,
                width=width,
                remainder=remainder,
                cut=cut,
            )
            densities.append(density)
            gap = np.isnan(density.mode)
            text = codec.number(np.nan if gap else float(numbers[probabilities.argmax()]))
            known = (*known, density.mode)
            if variable < len(reading.columns) - 1:
                before += text + VALUE_SEPARATOR
                spelled = self.alphabet.spell(text + VALUE_SEPARATOR)
                state = self.ways.walk(spelled, state)
        return densities

    def numbers(self, before: str, state: int) -> tuple[dict[str, float], float, float]:
        """The next number's texts with their probabilities, the mass that is not listed, and the
        part of that which more calls would have followed.

        Args:
            before: what follows the history already; state: the spelling's after it.
        """
        leaves: dict[str, float] = {}
        remainder = 0.0
        # (-probability, text of the number so far, state), the most probable first
        open_ = [(-1.0, "", state)]
        branches_left = self.calls * BRANCHES
        while open_ and branches_left > 0:
            n = min(len(open_), self.max_rows, branches_left)
            level = [heapq.heappop(open_) for _ in range(n)]
            branches_left -= n
            logits = self._logits([before + text for _, text, _ in level])
            states = np.array([at for _, _, at in level])
            try:
                shares = np.exp(log_probabilities(logits, self.ways.legal[states]))
            except NotFinite:
                raise self.decoder.broken(self.reading.name) from None
            for (mass, text, at), row in zip(level, shares, strict=True):
                for token in np.flatnonzero(self.ways.legal[at]):
                    child, end, complete = self._forced(text, at, int(token))
                    part = -mass * float(row[token])
                    if complete:
                        leaves[child] = part
                    elif part < self.threshold:
                        remainder += part
                    else:
                        heapq.heappush(open_, (-part, child, end))
        cut = -sum(mass for mass, _, _ in open_)
        return leaves, remainder + cut, cut

    def _forced(self, text: str, state: int, token: int) -> tuple[str, int, bool]:
        """Append a token and all that must follow it; whether the number is whole then."""
        while True:
            text += self.ways.tokens[token]
            if self.ways.ends_number[token]:
                return text[:-1], state, True
            state = int(self.ways.transitions[state, token])
            token = int(self.ways.forced[state])
            if token < 0:
                return text, state, False

    def _logits(self, texts: Sequence[str]) -> FloatArray:
        """(rows, tokens) after the history and each of the texts."""
        if list(texts) == [""]:
            return self.first[None]
        chunks = [self.alphabet.spell(text) for text in texts]
        after: FloatArray = self.continued.ahead(chunks)
        self.trace.futures += [(self.history_tokens, len(chunk)) for chunk in chunks]
        return after
