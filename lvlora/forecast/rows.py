"""The rows of a batch that are decoded together: what each has written, and what it is fed next.

Knows: the grammar, draws, drafts. Does not know: the model, its cache.

A forced symbol enters together with its predecessor, so no call is spent on it. Behind them stand
guesses: the point after a first digit, or all that a draft says of the number. Each is confirmed by
the choice that is made after it, or taken back with all behind it; no draw changes by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvlora.forecast.drafting import Allowance, Balance, Chances, Draft
from lvlora.forecast.sampling import Floats, Ints, NotFinite, Sampling, choose
from lvlora.forecast.streams import stream, uniforms
from lvlora.text.alphabet import INDEX, SYMBOLS
from lvlora.text.codec import STEP_SEPARATOR, VALUE_SEPARATOR
from lvlora.text.grammar import START, Grammar

_SEPARATORS = (INDEX[VALUE_SEPARATOR], INDEX[STEP_SEPARATOR])


@dataclass(frozen=True)
class Prompt:
    """A history to go on from: a name for its random stream, its text, its grammar.

    Attributes:
        samples: which of its samples are drawn from this text; None is all.
    """

    series: str
    text: str
    grammar: Grammar
    samples: tuple[int, ...] | None = None


@dataclass
class Chunk:
    """What one row is fed in a call.

    Attributes:
        symbols: the certain ones, then guesses.
        certain: how many are certain.
    """

    symbols: list[int]
    certain: int


class _Automaton:
    """The grammars of all rows as one table; a row's states are offset by its grammar's place."""

    def __init__(self, grammars: Sequence[Grammar]) -> None:
        distinct = list(dict.fromkeys(grammars))
        offsets = np.cumsum([0] + [len(g.transitions) for g in distinct])
        tables = [
            np.where(g.legal, g.transitions + o, -1)
            for g, o in zip(distinct, offsets[:-1], strict=True)
        ]
        self.transitions = np.concatenate(tables)
        self.legal = np.concatenate([g.legal for g in distinct])
        self.forced = np.concatenate([g.forced for g in distinct])
        self.guess = np.concatenate([g.guess for g in distinct])
        self.ends_step = np.concatenate([g.ends_step for g in distinct])
        place = {g: int(o) + START for g, o in zip(distinct, offsets[:-1], strict=True)}
        self.start: Ints = np.array([place[g] for g in grammars], dtype=np.int64)


class Rows:
    """One sample of one series each.

    Attributes:
        out: symbols of each row.
        taken_back: guesses that were not confirmed.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[tuple[int, int]],
        horizon: int,
        sampling: Sampling,
        *,
        call_cost: float | None,
    ) -> None:
        """Rows that have written nothing.

        Args:
            rows: (index of its prompt, number of the sample) of each.
            call_cost: positions in the time of which the model could be called for none; None
                drafts no numbers.
        """
        grammars = [prompts[p].grammar for p, _ in rows]
        self.out: list[list[int]] = [[] for _ in rows]
        self.taken_back = 0
        self._sampling = sampling
        self._auto = _Automaton(grammars)
        self._state = self._auto.start.copy()
        self._streams = np.array(
            [stream(sampling.seed, prompts[p].series, s) for p, s in rows], dtype=np.uint64
        )
        self._steps_left = np.full(len(rows), horizon, dtype=np.int64)
        self._drafts: list[Draft] = []
        self._balance: Balance | None = None
        self._settled = np.zeros(len(rows), dtype=np.int64)
        if call_cost is not None:
            self._balance = Balance(len(rows), call_cost)
            used = {p for p, _ in rows}
            of_prompt = {p: Draft(prompts[p].grammar, prompts[p].text) for p in used}
            self._drafts = [of_prompt[p].copy() for p, _ in rows]
        self._chances = Chances()
        # the choices of a number, and of a row, if all are as long as can be
        self._a_number = [g.most_choices for g in grammars]
        self._numbers_left = [horizon * g.codec.n_variables for g in grammars]
        self._choices_left = [
            a * n for a, n in zip(self._a_number, self._numbers_left, strict=True)
        ]
        self._allowance = Allowance(max(self._choices_left, default=0))

    def begin(self, logits: Floats) -> dict[int, int]:
        """The first choice of each row, from (rows, symbols) logits after the histories."""
        everyone = np.arange(len(self.out))
        return dict(zip(everyone.tolist(), self._pick(everyone, logits).tolist(), strict=True))

    def feed(self, chosen: dict[int, int]) -> dict[int, Chunk]:
        """Write the rows' chosen symbols and what they force; what the rows that go on are fed."""
        chunks: dict[int, Chunk] = {}
        for i, symbol in chosen.items():
            symbols = [symbol]
            going = self._emit(i, symbol)
            while going and self._auto.forced[self._state[i]] >= 0:
                symbols.append(int(self._auto.forced[self._state[i]]))
                going = self._emit(i, symbols[-1])
            if going:
                chunks[i] = Chunk(symbols, len(symbols))
        if chunks:
            balance, drafting = self._balance, False
            if balance is not None:
                drafting = balance.drafts(int(self._settled[list(chunks)].min()))
            room = self._allowance.width(max(self._choices_left[i] for i in chunks))
            for i, chunk in chunks.items():
                chunk.symbols += self._guesses(i, room - chunk.certain, drafting)
            width = max(len(c.symbols) for c in chunks.values())
            self._allowance.spend(width)
            if balance is not None:
                balance.spend(width)
        return chunks

    def settle(self, chunks: dict[int, Chunk], logits: Floats) -> tuple[dict[int, int], Ints]:
        """Choose after what was fed, and on through every guess that is confirmed.

        Raises NotFinite with the row whose logits are not.

        Args:
            logits: (rows, width, symbols) after each symbol that was fed.

        Returns:
            the next symbol of each row that goes on, and how many of its symbols each row keeps.
        """
        chosen: dict[int, int] = {}
        kept = np.zeros(len(self.out), dtype=np.int64)
        at = {i: chunk.certain - 1 for i, chunk in chunks.items()}
        pending = list(chunks)
        while pending:
            rows = np.array(pending)
            symbols = self._pick(rows, logits[rows, [at[i] for i in pending]])
            pending = []
            for i, symbol in zip(rows.tolist(), symbols.tolist(), strict=True):
                fed = chunks[i].symbols
                kept[i] = at[i] + 1
                guess = fed[kept[i]] if kept[i] < len(fed) else None
                if guess is not None:
                    self._chances.learn(int(self._state[i]), guess == symbol)
                if guess != symbol:
                    self.taken_back += len(fed) - int(kept[i])
                    chosen[i] = symbol
                    continue
                going = self._emit(i, symbol)
                at[i] += 1
                while going and self._auto.forced[self._state[i]] >= 0 and at[i] + 1 < len(fed):
                    at[i] += 1
                    going = self._emit(i, fed[at[i]])
                kept[i] = at[i] + 1
                if going and self._auto.forced[self._state[i]] >= 0:
                    chosen[i] = int(self._auto.forced[self._state[i]])
                elif going:
                    pending.append(i)
        return chosen, kept

    def texts(self) -> list[str]:
        """What the rows have written."""
        return ["".join(SYMBOLS[s] for s in o) for o in self.out]

    def _pick(self, which: Ints, logits: Floats) -> Ints:
        positions = np.array([len(self.out[i]) for i in which], dtype=np.int64)
        draws = uniforms(self._streams[which], positions)
        self._settled[which] += 1
        for i in which:
            self._choices_left[i] -= 1
        try:
            return choose(logits, self._auto.legal[self._state[which]], self._sampling, draws)
        except NotFinite as error:
            raise NotFinite(int(which[error.row])) from None

    def _emit(self, i: int, symbol: int) -> bool:
        """Append a symbol to a row; whether the row goes on."""
        self.out[i].append(symbol)
        if self._drafts:
            self._drafts[i].add(SYMBOLS[symbol])
        state = self._state[i]
        self._settled[i] -= symbol == self._auto.guess[state]
        self._steps_left[i] -= bool(self._auto.ends_step[state, symbol])
        self._state[i] = self._auto.transitions[state, symbol]
        if symbol in _SEPARATORS:
            self._numbers_left[i] -= 1
            self._choices_left[i] = self._a_number[i] * self._numbers_left[i]
        return bool(self._steps_left[i] > 0)

    def _guesses(self, i: int, room: int, drafting: bool) -> list[int]:
        """Symbols worth feeding behind the certain ones of a row."""
        found: list[int] = []
        state = int(self._state[i])
        if drafting:
            for symbol in self._drafts[i].ahead():
                symbol_index = INDEX[symbol]
                following = int(self._auto.transitions[state, symbol_index])
                if len(found) >= room or following < 0:
                    break
                if self._auto.forced[state] < 0 and not self._chances.worth_it(state):
                    break
                found.append(symbol_index)
                state = following
        if not found and room > 0 and self._auto.guess[state] >= 0:
            found.append(int(self._auto.guess[state]))
        return found
