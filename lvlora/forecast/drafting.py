"""Drafts of the next number, fed to the model together with what is certain.

Knows: numbers as text, their recent course. Does not know: the model, random streams.

Decoding one symbol a call leaves a processor idle where rows are few: a call reads all weights,
whether it feeds two tokens a row or five. So a number's first digits are drafted by extrapolation
and fed along; the model's own choice after each of them confirms the draft or ends it. As in
speculative decoding (Leviathan et al. 2023, arXiv:2211.17192) nothing that is chosen changes, for
a choice depends on the logits before it and on a random number of its own place in the text (a
call of another width moves logits in their last bits, as another batch does).

What may be fed is bounded: no decoding computes more positions than one without drafts would at
worst, with every number as long as the grammar allows (`Allowance`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

from lvlora.text.codec import MINUS, MISSING, POINT, STEP_SEPARATOR, VALUE_SEPARATOR, Codec
from lvlora.text.grammar import Grammar

WIDEST = 8
"""Tokens of a row in one call, at most."""

_MEMORY = 12
"""Steps of a history from which the better way to extrapolate is learned."""
_FADING = 0.7
_LEAST_CHANCE = 0.25
"""A symbol that is confirmed more seldom is not drafted."""

_PLAIN = 5 / 3
"""Tokens of a row in a call without drafts: five of ``d.dd,`` in three calls."""
_PROBE, _PAUSE = 24, 48
"""Calls after which drafts are judged, and for which they rest at first where they do not pay."""


@dataclass
class Course:
    """One variable's recent numbers, in units of the last decimal.

    Attributes:
        recent: up to three, the newest last.
        errors: fading sums of the absolute errors of going on as the last value, as the line
            through the last two, as the parabola through the last three; infinite before the first.
    """

    recent: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=lambda: [math.inf] * 3)

    def add(self, units: int) -> None:
        """The number that came."""
        for order, expected in enumerate(self._ways()):
            before = self.errors[order] if math.isfinite(self.errors[order]) else 0.0
            self.errors[order] = _FADING * before + abs(expected - units)
        self.recent = [*self.recent[-2:], units]

    def expected(self) -> int | None:
        """The number to come, by the way that was best so far; None before the first."""
        ways = self._ways()
        return ways[min(range(len(ways)), key=self.errors.__getitem__)] if ways else None

    def _ways(self) -> list[int]:
        n = len(self.recent)
        if n == 0:
            return []
        last = self.recent[-1]
        ways = [last]
        if n > 1:
            ways.append(2 * last - self.recent[-2])
        if n > 2:
            ways.append(3 * last - 3 * self.recent[-2] + self.recent[-3])
        return ways

    def copy(self) -> Course:
        """One that goes its own way."""
        return Course(list(self.recent), list(self.errors))


class Draft:
    """What may come next in one text."""

    def __init__(self, grammar: Grammar, text: str = "") -> None:
        self.codec: Codec = grammar.codec
        self.signs = grammar.signs
        self.courses = [Course() for _ in range(self.codec.n_variables)]
        self.begun = ""
        """Symbols of the number that is being written."""
        self._variable = 0
        steps = text.split(STEP_SEPARATOR)[-_MEMORY - 1 :]
        for symbol in STEP_SEPARATOR.join(steps):
            self.add(symbol)

    def copy(self) -> Draft:
        """For another future of the same history."""
        new = copy.copy(self)
        new.courses = [course.copy() for course in self.courses]
        return new

    def add(self, symbol: str) -> None:
        """A symbol that is certain."""
        if symbol not in (VALUE_SEPARATOR, STEP_SEPARATOR):
            self.begun += symbol
            return
        if self.begun and self.begun != MISSING:
            self.courses[self._variable].add(int(self.begun.replace(POINT, "")))
        self.begun = ""
        self._variable = 0 if symbol == STEP_SEPARATOR else self._variable + 1

    def ahead(self) -> str:
        """The number's further symbols.

        Without its last decimal, which nobody can guess; a whole number with its separator.
        """
        expected = self.courses[self._variable].expected()
        if expected is None or self.begun == MISSING:
            return ""
        text = self.codec.format_units(expected if self.signs[self._variable] else max(0, expected))
        if not text.startswith(self.begun):
            text = self._nearest(text)
        last = self._variable == self.codec.n_variables - 1
        end = STEP_SEPARATOR if last else VALUE_SEPARATOR
        return text[len(self.begun) : -1] if self.codec.decimals else text[len(self.begun) :] + end

    def _nearest(self, text: str) -> str:
        """The number nearest to ``text`` of those that begin as this one has."""
        begun, decimals = self.begun, self.codec.fraction_digits
        whole, _, fraction = begun.partition(POINT)
        if whole in ("", MINUS):
            whole += "0"
        if not decimals:
            return whole
        # compared without the decimals that are still open
        units, digits = int(whole + fraction), text.replace(POINT, "")
        wanted = int(digits[: len(digits) - decimals + len(fraction)])
        further = abs(wanted) > abs(units) and (wanted < 0) == whole.startswith(MINUS)
        return f"{whole}{POINT}{fraction}".ljust(len(whole) + 1 + decimals, "9" if further else "0")


class Allowance:
    """How wide the calls of a batch may be.

    Without drafts a call is at most two tokens wide and settles one choice of each row. So many
    positions are never exceeded: 2 x the choices of numbers as long as the grammar allows. What
    shorter numbers and confirmed drafts leave over is what drafts may use.
    """

    def __init__(self, most_choices: int) -> None:
        self._left = 2 * most_choices

    def width(self, remaining: int) -> int:
        """Of the next call, at most.

        Args:
            remaining: choices that the slowest row may still have to make.
        """
        return min(WIDEST, self._left - 2 * (remaining - 1))

    def spend(self, width: int) -> None:
        """A call of this width was made."""
        self._left -= width


class Chances:
    """How often a drafted symbol was confirmed, by its place in the number."""

    def __init__(self) -> None:
        self._tried: dict[int, int] = {}
        self._right: dict[int, int] = {}

    def worth_it(self, state: int) -> bool:
        """Whether a draft for this state of the grammar pays."""
        tried = self._tried.get(state, 0)
        return self._right.get(state, 0) + 3 >= _LEAST_CHANCE * (tried + 3)

    def learn(self, state: int, right: bool) -> None:
        """What became of one."""
        self._tried[state] = self._tried.get(state, 0) + 1
        self._right[state] = self._right.get(state, 0) + right


class Balance:
    """Whether drafts shorten the time of a batch, judged by what they did in the last few calls.

    A call takes as long as so many positions of its rows, and ``fixed`` more. The rows go on until
    the slowest of them is there, so its progress is what counts.
    """

    def __init__(self, n_rows: int, fixed: float) -> None:
        self._rows, self._fixed = n_rows, fixed
        self._rest, self._pause = 0, _PAUSE
        self._begin(0)

    def drafts(self, settled: int) -> bool:
        """Whether the next call is to have them.

        Args:
            settled: choices of the row that made the fewest so far, a guessed point not counted.
        """
        if self._rest:
            self._rest -= 1
            if self._rest == 0:
                self._begin(settled)
            return False
        if self._calls == _PROBE:
            taken = self._fixed * self._calls + self._rows * self._width
            plain = (self._fixed + self._rows * _PLAIN) * (settled - self._settled)
            self._begin(settled)
            if taken > plain:
                # tried in vain again, they rest longer
                self._rest = self._pause
                self._pause *= 2
                return False
            self._pause = _PAUSE
        return True

    def spend(self, width: int) -> None:
        """A call of this width was made."""
        self._calls += 1
        self._width += width

    def _begin(self, settled: int) -> None:
        self._settled, self._calls, self._width = settled, 0, 0
