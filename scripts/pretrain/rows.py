"""Rows of tokens from the mixture, batch by batch."""

from __future__ import annotations

import concurrent.futures
import functools
from dataclasses import dataclass

import mixture
import numeric_tokenizer as tokenizer
import numpy as np
from spellings import VOCABULARIES, Vocabulary

from lvlora.text.codec import Codec, TokenAlphabet
from lvlora.text.windows import Batch, collate

POSITIONS = 4096
STEP_TOKENS = 8192
POOL = 1024
"""Rows drawn at a time; a batch takes its rows from one pool."""
NUMBERS = (256, 512, 1024, 2048, 4096)
"""Numbers of a row; where they are more than `POSITIONS` tokens, so many tokens."""
SHARES = (0.27, 0.27, 0.27, 0.1, 0.09)
"""How often a step has such rows."""

TokenRow = tuple[np.ndarray, np.ndarray]
"""Up to a row's tokens and one more, and which of them are no targets."""


@dataclass(frozen=True)
class Rows:
    """Everything that decides the batches.

    Attributes:
        clean_futures: noise, counts and rounding of an observer end with the history.
        related: some rows are groups of related series.
    """

    vocabulary: str = "numbers"
    clean_futures: bool = False
    related: bool = True
    seed: int = 0

    @property
    def spelling(self) -> Vocabulary:
        """Tokens of several symbols."""
        return VOCABULARIES[self.vocabulary]

    @property
    def drawing(self) -> mixture.Drawing:
        """Options of the mixture: only symbols write a third decimal in few tokens."""
        tokens = self.spelling.fewest, self.spelling.usual
        thirds = self.vocabulary == "symbols"
        return mixture.Drawing(*tokens, thirds, self.clean_futures, self.related)

    def shape(self, step: int) -> tuple[int, int]:
        """Return the rows of a step and the tokens of each."""
        numbers = int(np.random.default_rng((self.seed, step)).choice(NUMBERS, p=SHARES))
        length = min(POSITIONS, numbers * self.spelling.usual)
        return STEP_TOKENS // length, length


class SimulatedBatches:
    """Batches of freshly simulated series; a pool is a pure function of (seed, tokens, place)."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.alphabet = tokenizer.alphabet(rows.spelling.several)
        self.places: list[int] = []
        self.taken: dict[int, int] = {}
        self.pools: dict[tuple[int, int], concurrent.futures.Future[list[TokenRow]]] = {}
        self.thread = concurrent.futures.ThreadPoolExecutor(1)

    def _pool(self, length: int, k: int) -> list[TokenRow]:
        rng = np.random.default_rng((self.rows.seed, length, k))
        rows = mixture.draw(rng, POOL, length, self.rows.drawing)
        return [token_row(row, length, self.alphabet) for row in rows]

    def _place(self, index: int) -> int:
        """Return how many batches of the same length there are before the ``index``-th."""
        while len(self.places) <= index:
            _, length = self.rows.shape(len(self.places))
            self.places.append(self.taken.get(length, 0))
            self.taken[length] = self.places[-1] + 1
        return self.places[index]

    def batch(self, index: int) -> Batch:
        """Return the rows of a step; histories are no targets."""
        n, length = self.rows.shape(index)
        k, place = divmod(self._place(index) * n, POOL // n * n)
        for pool in (k, k + 1):  # the next pool is simulated while this one trains
            if (length, pool) not in self.pools:
                task = functools.partial(self._pool, length, pool)
                self.pools[length, pool] = self.thread.submit(task)
        self.pools.pop((length, k - 1), None)
        rows = self.pools[length, k].result()[place : place + n]
        longest = np.zeros(length + 1, dtype=np.int64), np.ones(length + 1, dtype=bool)
        padded = collate([*rows, longest])
        return Batch(padded.inputs[:-1], padded.targets[:-1])


def token_row(row: mixture.Row, length: int, alphabet: TokenAlphabet) -> TokenRow:
    """Write a row's series one after the other, each after the start token."""
    ids, is_known = [], []
    for part in row.parts:
        steps = Codec(row.decimals, part.values.shape[1]).encode_steps(part.values)
        history = alphabet.encode("".join(steps[: part.first]))
        future = alphabet.encode("".join(steps[part.first :]))
        ids += [np.array(alphabet.beginning), history, future]
        n_known = len(alphabet.beginning) + len(history)
        is_known += [np.ones(n_known, dtype=bool), np.zeros(len(future), dtype=bool)]
    return np.concatenate(ids)[: length + 1], np.concatenate(is_known)[: length + 1]
