"""The rows of a batch that are decoded together: what each has written, and what it is fed next.

A forced token enters together with its predecessor, so no call is spent on it; so do known columns
at the beginning of a step, which are given. Behind a first digit stands a guess, the point; it is
confirmed by the choice that is made after the digit, or taken back; no draw changes by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvlora.forecast.sampling import Draws, Floats, Ints, NotFinite, Sampling, choose
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.grammar import START, Grammar
from lvlora.text.spelling import Spelling, spelling


@dataclass(frozen=True)
class Prompt:
    """A history to go on from: a name for its random stream, its text, its grammar.

    Attributes:
        text: with the known columns of the first step to come, if there are any.
        samples: which of its samples are drawn from this text; None is all.
        beginnings: the known columns of each further step, as they stand before what is chosen.
    """

    series: str
    text: str
    grammar: Grammar
    samples: tuple[int, ...] | None = None
    beginnings: tuple[str, ...] = ()


@dataclass
class Chunk:
    """Input of one row in a call.

    Attributes:
        certain: tokens that are written.
        guess: one that may follow them, and what is given then; empty where none is likely.
    """

    certain: list[int]
    guess: list[int]

    @property
    def tokens(self) -> list[int]:
        """All that is fed."""
        return [*self.certain, *self.guess]


class _Automaton:
    """The grammars of all rows as one table; a row's states are offset by its grammar's place."""

    def __init__(self, spellings: Sequence[Spelling]) -> None:
        distinct = list(dict.fromkeys(spellings))
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
        self.start: Ints = np.array([place[g] for g in spellings], dtype=np.int64)


class Rows:
    """One sample of one series each.

    Args:
        rows: (index of its prompt, number of the sample) of each.

    Attributes:
        out: tokens of each row, as places in the alphabet.
        taken_back: guesses that were not confirmed.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[tuple[int, int]],
        horizon: int,
        sampling: Sampling,
        alphabet: TokenAlphabet,
    ) -> None:
        self.out: list[list[int]] = [[] for _ in rows]
        self.taken_back = 0
        self._sampling, self._tokens = sampling, alphabet.tokens
        self._auto = _Automaton([spelling(prompts[p].grammar, alphabet.tokens) for p, _ in rows])
        self._state = self._auto.start.copy()
        self._draws = Draws(sampling, [(prompts[p].series, s) for p, s in rows])
        self._steps_left = np.full(len(rows), horizon, dtype=np.int64)
        places = {p for p, _ in rows}
        spelled = {p: [alphabet.spell(t) for t in prompts[p].beginnings] for p in places}
        # of the step that is the last but so many
        self._given = [dict(enumerate(reversed(spelled[p]), 1)) for p, _ in rows]

    def begin(self, logits: Floats) -> dict[int, int]:
        """The first choice of each row, from (rows, tokens) logits after the histories."""
        return self._pick(list(range(len(self.out))), logits)

    def feed(self, chosen: dict[int, int]) -> dict[int, Chunk]:
        """Write the rows' chosen tokens and what they force; what the rows that go on are fed."""
        chunks: dict[int, Chunk] = {}
        for i, token in sorted(chosen.items()):
            before = len(self.out[i])
            going = self._emit(i, token)
            while going and (forced := int(self._auto.forced[self._state[i]])) >= 0:
                going = self._emit(i, forced)
            if going:
                chunks[i] = Chunk(self.out[i][before:], self._guessed(i))
        return chunks

    def settle(self, chunks: dict[int, Chunk], logits: Floats) -> tuple[dict[int, int], Ints]:
        """Choose after what was fed, and once more after a guess that is confirmed.

        Args:
            logits: as `Continuation.feed` gives them.

        Returns:
            the next token of each row that goes on, and how many of its tokens each row keeps.

        Raises:
            NotFinite: with the row whose logits are not.
        """
        n_kept = np.zeros(len(self.out), dtype=np.int64)
        fed = list(chunks)
        n_kept[fed] = [len(chunk.certain) for chunk in chunks.values()]
        looked = np.array([1 + bool(chunk.guess) for chunk in chunks.values()], dtype=np.int64)
        place = np.cumsum(looked) - looked
        chosen = self._pick(fed, logits[place])
        confirmed = [n for n, i in enumerate(fed) if chunks[i].guess[:1] == [chosen[i]]]
        self.taken_back += int((looked == 2).sum()) - len(confirmed)
        going = []
        for n in confirmed:
            i = fed[n]
            n_kept[i] += len(chunks[i].guess)
            if self._emit(i, chosen.pop(i)):  # nothing is forced behind a guess
                going.append(n)
        if going:
            chosen |= self._pick([fed[n] for n in going], logits[place[going] + 1])
        return chosen, n_kept

    def texts(self) -> list[str]:
        """Return the texts of the rows."""
        return ["".join(self._tokens[t] for t in o) for o in self.out]

    def _pick(self, which: list[int], logits: Floats) -> dict[int, int]:
        """Row → the token chosen from its logits."""
        positions = np.array([len(self.out[i]) for i in which], dtype=np.int64)
        draws = self._draws.at(which, positions)
        try:
            tokens = choose(logits, self._auto.legal[self._state[which]], self._sampling, draws)
        except NotFinite as error:
            raise NotFinite(which[error.row]) from None
        return dict(zip(which, tokens.tolist(), strict=True))

    def _guessed(self, i: int) -> list[int]:
        """The token that is likely to be chosen next, and what is given after it."""
        state, steps_left = self._state[i], int(self._steps_left[i])
        guess = int(self._auto.guess[state])
        if guess < 0:
            return []
        forced = (
            self._given[i].get(steps_left - 1, []) if self._auto.ends_step[state, guess] else []
        )
        return [guess, *forced]

    def _emit(self, i: int, token: int) -> bool:
        """Append a token to a row, and what is given after it; whether the row goes on."""
        self.out[i].append(token)
        state = self._state[i]
        if self._auto.ends_step[state, token]:
            self._steps_left[i] -= 1
            self.out[i] += self._given[i].get(int(self._steps_left[i]), [])
        self._state[i] = self._auto.transitions[state, token]
        return bool(self._steps_left[i] > 0)
