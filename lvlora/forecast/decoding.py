"""Constrained decoding: futures that are valid series of exactly the horizon, many at a time.

Rows (one sample of one series each) are decoded together. A forced token enters together with its
predecessor, so no call is spent on it; so do known columns at the beginning of a step, which are
given. Behind a first digit stands a guess, the point; it is confirmed by the choice that is made
after the digit, or taken back, at the cost of its column of a call; no draw changes by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lvlora.errors import NumericalError
from lvlora.forecast.continuation import (
    Backbone,
    Chunk,
    Continuation,
    NativeContinuation,
    TorchContinuation,
)
from lvlora.forecast.pricing import Trace
from lvlora.forecast.sampling import (
    STREAM_SEPARATOR,
    Draws,
    Floats,
    Ints,
    NotFinite,
    Sampling,
    choose,
)
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.model.lora import largest_scaling, where_it_breaks
from lvlora.model.native.engine import Engine
from lvlora.text.codec import STEP_SEPARATOR, TokenAlphabet
from lvlora.text.grammar import START, Grammar, Spelling, spelling


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


class Decoder(Backbone):
    """A model with its restricted head, ready to continue texts.

    Attributes:
        name: of the model and its adapter, for messages.
    """

    def __init__(self, base: BaseModel, head: NumericHead, *, name: str = "") -> None:
        super().__init__(base, head)
        self.name = name or base.name

    @torch.no_grad()
    def decode(
        self,
        prompts: Sequence[Prompt],
        horizon: int,
        sampling: Sampling,
        *,
        max_rows: int = 256,
        trace: Trace | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """Futures of every prompt, as texts of exactly ``horizon`` steps.

        Rows are decoded ``max_rows`` at a time. The split changes no draw; it changes the logits
        in their last bits, which only moves a draw that lies that near to a boundary.

        Args:
            progress: told how many rows have been finished.

        Raises:
            ValueError: an empty history, for a model without a start token.
            NumericalError: the model gives no finite numbers.
        """
        trace = Trace() if trace is None else trace
        every = tuple(range(sampling.n_futures))
        samples = [every if p.samples is None else p.samples for p in prompts]
        if horizon < 1:
            return [[""] * len(s) for s in samples]
        futures: list[list[str]] = [[] for _ in prompts]
        rows = [(p, s) for p in range(len(prompts)) for s in samples[p]]
        for begin in range(0, len(rows), max_rows):
            part = rows[begin : begin + max_rows]
            texts = self._decode_rows(prompts, part, horizon, sampling, trace)
            for (prompt, _), text in zip(part, texts, strict=True):
                futures[prompt].append(text)
            if progress is not None:
                progress(len(part))
        return futures

    def _decode_rows(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[tuple[int, int]],
        horizon: int,
        sampling: Sampling,
        trace: Trace,
    ) -> list[str]:
        used = list(dict.fromkeys(prompt for prompt, _ in rows))
        batch = Rows(prompts, rows, horizon, sampling, self.base.alphabet)
        continued = self.continuation(trace)
        try:
            logits = continued.begin([prompts[p].text for p in used])
            index = np.array([used.index(p) for p, _ in rows], dtype=np.int64)
            ratios = [horizon / max(1, prompts[p].text.count(STEP_SEPARATOR)) for p, _ in rows]
            continued.repeat(index, np.array(ratios))
            chosen = batch.begin(logits[index])
            while chunks := batch.feed(chosen):
                chosen, n_accepted = batch.settle(chunks, continued.feed(chunks))
                continued.keep(n_accepted)
        except NotFinite as error:
            series = prompts[rows[error.row][0]].series
            raise self.broken(series) from None
        finally:  # what an interrupted decoding wrote was spent, too
            continued.close()
            read = dict(zip(used, trace.histories[-len(used) :], strict=False))
            trace.futures += [
                (read[p], len(o)) for (p, _), o in zip(rows, batch.out, strict=True) if o
            ]
            trace.taken_back += batch.taken_back
        return batch.texts()

    def continuation(self, trace: Trace) -> Continuation:
        """Histories that are read, and gone on from, by what is fastest here."""
        engine = Engine.of(self.base.module, self.head)
        if engine is not None:
            return NativeContinuation(engine, self, trace)
        return TorchContinuation(self, trace)

    def broken(self, series: str) -> NumericalError:
        """Return the error to raise where the logits after a series are not finite.

        Args:
            series: its id, or the name of its random stream (which begins with the id).
        """
        where = where_it_breaks(self.base.module, self.head)
        scaling = largest_scaling(self.base.module)
        times = f" (it multiplies its updates by up to {scaling:.3g})" if scaling else ""
        return NumericalError(
            f"{self.name}: its logits for series {series.partition(STREAM_SEPARATOR)[0]!r} are not "
            f"finite numbers{': ' if where else ''}{where}",
            f"Is its adapter broken{times}? --adapter none tries the base alone."
            if scaling
            else "The model is broken: take it from its source again. "
            "A sound one may need --dtype float32.",
        )
