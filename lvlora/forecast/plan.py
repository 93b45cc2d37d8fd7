"""Readings and price of forecasts, from settings and a model's outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Series
from lvlora.errors import SettingsError
from lvlora.forecast import pricing
from lvlora.forecast.pricing import Updates
from lvlora.forecast.reading import (
    Reading,
    StepTooLong,
    columns_apart,
    read,
    view_factors,
)
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.settings import LONGEST_HORIZON
from lvlora.forecast.trace import Trace
from lvlora.model.cache import in_blocks
from lvlora.model.loading import Outline
from lvlora.settings.base import NumberFormat
from lvlora.settings.checked import check_count
from lvlora.text.scaling import Scale
from lvlora.text.spelling import spelling

DEFAULT_DECIMALS = 2
DEFAULT_BYTES = 2 * 2**30
"""Memory of the caches of futures that are decoded together."""
MOST_ROWS = 1024
"""More rows at once make nothing faster."""
_BESIDES = 3
"""Places of a row beyond its text: the start token, and what is fed to rows that are done."""


@dataclass(frozen=True)
class Plan:
    """How a model forecasts; it needs no weights.

    Attributes:
        base: the model's outline.
        updates: low-rank ones in it.
        decimals, number_format: of each number.
        scale: a data set's scale; without one each history has its own.
        missing: a future may hold missing values, and those of a history are not filled in.
        max_memory: bytes for the caches of futures that are decoded together; None for a default.
        max_rows: rows that are decoded together, whatever their memory.
    """

    base: Outline
    updates: Updates = ()
    decimals: int = DEFAULT_DECIMALS
    number_format: NumberFormat = "point"
    scale: Scale | None = None
    missing: bool = False
    max_memory: int | None = None
    max_rows: int | None = None

    def readings(
        self, histories: Sequence[Series], horizon: int, context: int | None = None
    ) -> list[list[Reading]]:
        """How each history is read at its own scale; DataError where one can't be.

        One reading each, or several of some of the variables (`reading.columns_apart`).
        """
        check_count("horizon", horizon, at_most=LONGEST_HORIZON)
        return [self._read(history, horizon, context, [1.0])[0] for history in histories]

    def views(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        context: int | None = None,
    ) -> list[list[Reading]]:
        """How each history is read at several scales, among which its samples are shared.

        Sample s is drawn from the scale s modulo their number.
        """
        check_count("horizon", horizon, at_most=LONGEST_HORIZON)
        n = min(sampling.views, sampling.n_futures)
        return [
            [
                replace(reading, samples=tuple(range(view, sampling.n_futures, n)))
                for view, readings in enumerate(
                    self._read(history, horizon, context, view_factors(n))
                )
                for reading in readings
            ]
            for history in histories
        ]

    def _read(
        self, history: Series, horizon: int, context: int | None, factors: Sequence[float]
    ) -> list[list[Reading]]:
        """The readings at each scale, the first of which decides what is read together."""
        check_count("context", context, optional=True)
        together: Reading | None = None
        try:
            together = self._read_at(history, horizon, context, factors[0])
        except StepTooLong:
            if history.values.shape[1] == 1:
                raise
        groups = columns_apart(history, context, together)
        if together is not None and not groups:
            others = [self._read_at(history, horizon, context, factor) for factor in factors[1:]]
            return [[reading] for reading in (together, *others)]
        return [
            [self._read_at(history, horizon, context, factor, columns) for columns in groups]
            for factor in factors
        ]

    def _read_at(
        self,
        history: Series,
        horizon: int,
        context: int | None,
        factor: float,
        columns: tuple[int, ...] | None = None,
    ) -> Reading:
        return read(
            history,
            horizon,
            decimals=self.decimals,
            number_format=self.number_format,
            max_positions=self.base.max_positions,
            alphabet=self.base.alphabet,
            stored=self.scale,
            context=context,
            missing=self.missing,
            factor=factor,
            columns=columns,
        )

    def at_most(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        context: int | None = None,
    ) -> Price:
        """The most that forecasts can cost: every number as long as the grammar allows."""
        return self.at_most_of(self.views(histories, horizon, sampling, context))

    def at_most_of(self, planned: Sequence[Sequence[Reading]]) -> Price:
        """The same of `views`."""
        readings = [r for of_one in planned for r in of_one]
        price = NOTHING
        for alike in {r.alike for r in readings}:
            price += self._at_most_alike([r for r in readings if r.alike == alike])
        return price

    def _at_most_alike(self, group: Sequence[Reading]) -> Price:
        """Return the price bound of readings that are decoded together."""
        price, alphabet = NOTHING, self.base.alphabet
        # all go on until the one with most choices is done
        ways = [spelling(g, alphabet.tokens) for g in {r.grammar for r in group}]
        n_variables = group[0].grammar.codec.n_variables
        at_once, horizon = group[0].steps_at_once, group[0].horizon
        most_samples = max(len(r.samples) for r in group)
        # known columns are fed with the choice before them
        known = [max((alphabet.count(t) for t in r.known_texts()), default=0) for r in group]
        a_step = n_variables * max(w.longest_number for w in ways) + max(known)
        for begin in range(0, horizon, at_once):
            steps = min(at_once, horizon - begin)
            first = begin == 0
            history_tokens = max(
                most
                + (
                    alphabet.count(r.codec.encode(r.numbers))
                    if first
                    else max(r.history_tokens, a_step)
                )
                for r, most in zip(group, known, strict=True)
            )
            price += pricing.at_most(
                self.base.shape,
                self.updates,
                # later pieces read one history a future
                n_prompts=len(group) * (1 if first else most_samples),
                n_futures=most_samples if first else 1,
                history_tokens=history_tokens,
                n_calls=steps * n_variables * max(w.most_choices for w in ways),
                n_tokens=steps * a_step,
                widest=max(w.widest for w in ways) + max(known),
                max_rows=self.rows_at_a_time(history_tokens + steps * a_step),
            )
        return price

    def price_of(self, trace: Trace) -> Price:
        """Return the price of what was computed, in both conventions."""
        return pricing.price_of(self.base.shape, self.updates, trace)

    def rows_at_a_time(self, tokens: int) -> int:
        """Rows of so many tokens that are decoded together: as many as their caches fit.

        Without a limit they fit into `DEFAULT_BYTES`, and a single row may be larger.

        Raises:
            SettingsError: not even one row fits into the limit that was given.
        """
        if self.max_rows is not None:
            return self.max_rows
        row, limit = row_bytes(self.base, tokens), self.max_memory
        rows = (DEFAULT_BYTES if limit is None else limit) // row
        if rows < 1 and limit is not None:
            raise SettingsError(
                f"--max-memory {limit:,}: the cache of one future of {tokens:,} tokens takes "
                f"{row:,} bytes with {self.base.name}",
                "Allow more, or shorten --context or --horizon.",
            )
        return max(1, min(MOST_ROWS, rows))


def row_bytes(base: Outline, tokens: int) -> int:
    """Keys and values of all layers for one row of so many tokens, in whole blocks."""
    shape = base.shape
    places = in_blocks(tokens + _BESIDES)
    item = base.placement.dtype.itemsize
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * places * item
