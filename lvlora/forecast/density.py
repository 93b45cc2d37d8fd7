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
from lvlora.forecast.decoding import Decoder
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.likelihood import log_probabilities
from lvlora.forecast.plan import Plan
from lvlora.forecast.pricing import Call, Trace, most_attended
from lvlora.forecast.reading import Reading
from lvlora.forecast.sampling import NotFinite
from lvlora.model.native.engine import in_pages
from lvlora.text.codec import MISSING, VALUE_SEPARATOR
from lvlora.text.grammar import START
from lvlora.text.spelling import Spelling, spelling

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
        given: values of the variables before it in the same step that it is conditional on; NaN
            for one that is missing.
        values: (n,) centres of bins, ascending; probabilities: (n,) of the bins.
        width: of each bin.
        missing: probability of a missing value.
        remainder: probability of all that is not listed.
        cut: the part of it that more calls would have followed.
    """

    series: str
    time: float
    variable: int
    given: tuple[float, ...]
    values: FloatArray
    probabilities: FloatArray
    width: float
    missing: float
    remainder: float
    cut: float = 0.0

    @property
    def densities(self) -> FloatArray:
        """(n,) probabilities per original unit."""
        return self.probabilities / self.width

    @property
    def mode(self) -> float:
        """The most probable value; NaN if a missing one is more probable than any other."""
        if not len(self.values) or self.missing > self.probabilities.max():
            return float("nan")
        return float(self.values[self.probabilities.argmax()])

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
    results, plan = [], forecaster.plan
    readings = plan.readings(histories, 1, context)
    with forecaster.usage.work(lambda: _at_most(plan, readings, threshold, calls)) as work:
        for history, of_one in zip(histories, readings, strict=True):
            densities: list[Density] = []
            for reading in of_one:
                trace = Trace()
                try:
                    walk = _Walk(forecaster, reading, threshold, calls, trace)
                    densities += _densities(walk, history, reading)
                finally:  # what an interrupted walk did was spent, too
                    work.add(trace, plan.price_of(trace))
            results.append(sorted(densities, key=lambda density: density.variable))
    return results


def at_most(
    plan: Plan,
    histories: Sequence[Series],
    *,
    threshold: float = THRESHOLD,
    calls: int = CALLS,
    context: int | None = None,
) -> Price:
    """The most that `next_step` with these arguments can cost.

    Args:
        plan: of the forecaster.
    """
    return _at_most(plan, plan.readings(histories, 1, context), threshold, calls)


def _at_most(
    plan: Plan, planned: Sequence[Sequence[Reading]], threshold: float, calls: int
) -> Price:
    price, alphabet = NOTHING, plan.base.alphabet
    for reading in (reading for readings in planned for reading in readings):
        history = alphabet.count(_text(reading)) + 1
        begin = Call(1, history, in_pages(history), 1)
        price += plan.price_of(Trace([begin], [history]))
        ways = spelling(reading.grammar, alphabet.tokens)
        longest = ways.longest_number
        branches = int(1 / threshold) + 1
        for variable in range(len(reading.least)):
            # where one of several tokens is next; what is forced is no branch
            levels = range(0 if variable else 1, ways.most_branchings)
            rows = sum(min(branches, len(alphabet.tokens) ** level) for level in levels)
            rows = min(rows, calls * BRANCHES)
            width = (variable + 1) * longest - 1
            capacity = most_attended(history, width + 1)
            # one after another or together, a branch costs the same
            branch = Trace([Call(1, width, capacity, width)], futures=[(history, width)])
            price += rows * plan.price_of(branch)
    return price


def _densities(walk: _Walk, history: Series, reading: Reading) -> list[Density]:
    time, scale = float(reading.steps.time[0]), reading.own_scale
    densities: list[Density] = []
    before, state = "", START
    known: tuple[float, ...] = ()
    for variable in range(len(reading.least)):
        leaves, remainder, cut = walk.numbers(before, state)
        missing = leaves.pop(MISSING, 0.0)
        texts = sorted(leaves, key=float)
        # "-0.00" is another path to what "0.00" says
        values = [reading.codec.value(t) for t in texts]
        numbers, places = np.unique(values, return_inverse=True)
        probabilities = np.zeros(len(numbers))
        np.add.at(probabilities, places, [leaves[t] for t in texts])
        divisor, offset = scale.pairs[variable]
        width, least = 10.0**-reading.codec.decimals * divisor, reading.least[variable]
        centres = numbers * divisor + offset
        # below an offset a text has a sign, but no future is below the least
        possible = centres + 0.5 * width >= least
        remainder += float(probabilities[~possible].sum())
        numbers, probabilities = numbers[possible], probabilities[possible]
        density = Density(
            history.id,
            time,
            reading.columns[variable],
            known,
            np.maximum(centres[possible], least),
            probabilities,
            width,
            missing,
            remainder,
            cut,
        )
        densities.append(density)
        if variable < len(reading.least) - 1:
            gap = np.isnan(density.mode)
            likeliest = np.nan if gap else float(numbers[probabilities.argmax()])
            text = reading.codec.number(likeliest) + VALUE_SEPARATOR
            before, state = before + text, walk.after(text, state)
            known = (*known, density.mode)
    return densities


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
        self.decoder: Decoder = forecaster.decoder
        self.alphabet = forecaster.base.alphabet
        self.ways: Spelling = spelling(reading.grammar, self.alphabet.tokens)
        self.series = reading.name
        self.threshold, self.calls = threshold, calls
        self.trace = trace
        self.continued = self.decoder.continuation(trace)
        self.first: FloatArray = self.continued.begin([_text(reading)])[0]
        self.history_tokens = trace.histories[-1]
        width = self.ways.longest_number * len(reading.least)
        rows = forecaster.plan.rows_at_a_time(self.history_tokens + width)
        self.max_rows = min(BRANCHES, rows)

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
        left = self.calls * BRANCHES
        while open_ and left > 0:
            n = min(len(open_), self.max_rows, left)
            level = [heapq.heappop(open_) for _ in range(n)]
            left -= n
            logits = self._logits([before + text for _, text, _ in level])
            states = np.array([at for _, _, at in level])
            try:
                shares = np.exp(log_probabilities(logits, self.ways.legal[states]))
            except NotFinite:
                raise self.decoder.broken(self.series, self.continued.kept(0)) from None
            for (mass, text, at), row in zip(level, shares, strict=True):
                for token in np.flatnonzero(self.ways.legal[at]):
                    child, end, whole = self._forced(text, at, int(token))
                    part = -mass * float(row[token])
                    if whole:
                        leaves[child] = part
                    elif part < self.threshold:
                        remainder += part
                    else:
                        heapq.heappush(open_, (-part, child, end))
        cut = -sum(mass for mass, _, _ in open_)
        return leaves, remainder + cut, cut

    def after(self, text: str, state: int) -> int:
        """The spelling's state after a text that it allows."""
        return self.ways.walk(self.alphabet.spell(text), state)

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
