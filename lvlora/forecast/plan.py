"""Readings and price of forecasts, from settings and a model's outline.

Each history is read by itself: what else is forecast with it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Series
from lvlora.errors import DataError, SettingsError
from lvlora.forecast import pricing, reading
from lvlora.forecast.forecaster import Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.pricing import Call, Trace, Updates
from lvlora.forecast.reading import Reading, even_steps, last_steps, view_factors
from lvlora.forecast.sampling import STREAM_SEPARATOR, Sampling
from lvlora.forecast.settings import LONGEST_HORIZON
from lvlora.model.cache import in_blocks
from lvlora.model.loading import Outline
from lvlora.model.native.engine import in_pages
from lvlora.settings.base import NumberFormat
from lvlora.settings.fields import check_count
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar, spelling
from lvlora.text.scaling import Scale, scale_with_known

DEFAULT_DECIMALS = 2
DEFAULT_BYTES = 2 * 2**30
"""Memory of the caches of futures that are decoded together."""
MOST_ROWS = 1024
"""More rows at once make nothing faster."""
_BESIDES = 3
"""Places of a row beyond its text: the start token, and what is fed to rows that are done."""
_LEAST_CONTEXT = 0.5
"""A long horizon is forecast in pieces that leave at least this share of the window to history."""
_ENOUGH_STEPS = 64
"""Where the text of all variables leaves fewer, each variable is read by itself."""
_SMALL_CUT = 0.1
"""Unless no more than this share is cut: the other variables say more than so few steps."""


@dataclass(frozen=True)
class Group:
    """Histories of one horizon whose forecasts are finished together."""

    places: list[int]
    histories: list[Series]
    views: list[list[Reading]]
    price_bound: Price


class StepTooLong(DataError):
    """Not even two steps of a history fit into what a model reads."""


@dataclass(frozen=True)
class OutlinedModel(Forecaster):
    """A language model of which the outline is enough to plan and to price forecasts."""

    base: Outline
    updates: Updates = ()
    """Low-rank ones in it."""
    decimals: int = DEFAULT_DECIMALS
    number_format: NumberFormat = "point"
    scale: Scale | None = None
    """Of a data set; without one each history has its own."""
    max_memory: int | None = None
    """Bytes for the caches of futures that are decoded together; None for a default."""
    adapter: str | None = None
    """Its name."""

    kind: ClassVar[str] = "model"  # type: ignore[misc]

    @property
    def name(self) -> str:  # type: ignore[override]
        """For tables: the model, and its adapter."""
        return (
            f"{self.base.name} + {self.adapter}" if self.adapter else f"{self.base.name} zero-shot"
        )

    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedForecasts:
        """See `Forecaster.planned`; histories of one horizon are decoded together."""
        groups, own_scale, n_futures = [], {}, 0
        for horizon in dict.fromkeys(horizons):
            places = [i for i, of_one in enumerate(horizons) if of_one == horizon]
            size = at_a_time or len(places)
            for begin in range(0, len(places), size):
                chosen = places[begin : begin + size]
                of = [histories[i] for i in chosen]
                views = self.views(of, horizon, sampling, context)
                groups.append(Group(chosen, of, views, self.price_bound(views)))
                for place, readings in zip(chosen, views, strict=True):
                    own_scale[place] = at_own_scale(readings)
                    n_futures += sum(len(reading.samples) for reading in readings)
        return PlannedForecasts(
            lambda progress: self.parts(groups, sampling, progress),
            n_futures,
            sum((group.price_bound for group in groups), NOTHING),
            [group.places for group in groups],
            [own_scale[place] for place in sorted(own_scale)],
        )

    def parts(
        self, groups: Sequence[Group], sampling: Sampling, progress: Progress
    ) -> Iterator[Part]:
        """Make planned forecasts."""
        raise ValueError("a model without weights makes no forecasts")

    def readings(
        self, histories: Sequence[Series], horizon: int, context: int | None = None
    ) -> list[list[Reading]]:
        """Return how each history is read at its own scale: all variables at once, or in groups.

        Raises:
            DataError: one cannot be read.
        """
        return self.views(histories, horizon, Sampling(greedy=True), context)

    def views(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        context: int | None = None,
    ) -> list[list[Reading]]:
        """Return how each history is read at several scales, among which its samples are shared.

        Sample s is drawn from the scale s modulo their number.
        """
        check_count("horizon", horizon, at_most=LONGEST_HORIZON)
        check_count("context", context, optional=True)
        n, factors = sampling.n_futures, view_factors(min(sampling.views, sampling.n_futures))
        views = []
        for history in histories:
            whole, groups = self._together(history, horizon, context)
            views.append(
                [
                    replace(
                        whole
                        if whole is not None and view == 0
                        else self._read_at(history, horizon, context, factor, columns),
                        samples=tuple(range(view, n, len(factors))),
                    )
                    for view, factor in enumerate(factors)
                    for columns in groups
                ]
            )
        return views

    def _together(
        self, history: Series, horizon: int, context: int | None
    ) -> tuple[Reading | None, Sequence[tuple[int, ...] | None]]:
        """Return the reading of all variables, else the groups of them that are read together."""
        n_variables = history.values.shape[1]
        try:
            reading = self._read_at(history, horizon, context, 1.0)
            n_steps = len(reading.steps.history)
            enough = min(_ENOUGH_STEPS, (1 - _SMALL_CUT) * n_steps)
            if n_variables == 1 or len(reading.numbers) >= enough:
                return reading, [None]
        except StepTooLong:
            if n_variables == 1:
                raise
        # a variable without a value has nothing to be read from, and stays beside another
        has_values = np.isfinite(history.values[-(context or len(history)) :]).any(axis=0)
        groups: list[tuple[int, ...]] = [(i,) for i in np.flatnonzero(has_values).tolist()]
        groups[-1] += tuple(np.flatnonzero(~has_values).tolist())
        return None, groups

    def _read_at(
        self,
        history: Series,
        horizon: int,
        context: int | None,
        factor: float,
        columns: tuple[int, ...] | None = None,
    ) -> Reading:
        """Read some variables of a history, None for all, at a scale that is multiplied."""
        if len(history) == 0:
            raise DataError(f"series {history.id!r}: the history is empty", "Leave it out.")
        alphabet, stored = self.base.alphabet, self.scale
        name, n_all = history.id, history.values.shape[1]
        if columns is not None:
            name = STREAM_SEPARATOR.join((name, *map(str, columns)))
            history = replace(history, values=history.values[:, columns])
            stored = None if stored is None else stored.of_columns(columns, n_all)
        steps = even_steps(history, horizon, context)
        used, horizon = steps.history, len(steps.time)
        n_known, n_variables = steps.known.shape[1], used.values.shape[1]
        codec = Codec(self.decimals, n_known + n_variables, self.number_format)
        scale = scale_with_known(used, steps.known[: len(used)], stored).times(factor)
        numbers = scale.apply(np.column_stack([steps.known[: len(used)], used.values]))
        ahead = steps.known[len(used) :]
        room = self.base.max_positions - 1  # the start token
        # a future step is taken to be as long as the average past one; rotary positions a little
        # beyond the model's range do no harm
        per_step = alphabet.count(codec.encode(numbers)) / len(numbers)
        readable = int(room / per_step)
        if readable < 2:
            raise StepTooLong(
                f"series {history.id!r}: one step of its {codec.n_variables} variables takes "
                f"{per_step:.0f} tokens, and the model reads {self.base.max_positions}",
                "Choose fewer variables by --columns, or fewer --decimals.",
            )
        fits = len(numbers) + horizon <= readable
        at_once = horizon if fits else min(horizon, max(1, int(readable * (1 - _LEAST_CONTEXT))))
        history_tokens = room - int(at_once * per_step)
        # below an offset a text has a sign, and what it says is seldom negative
        moved = [offset != 0.0 for offset in scale.offsets[n_known:]]
        future_codec = replace(codec, n_variables=n_variables)
        return Reading(
            codec=codec,
            scale=scale,
            numbers=numbers if fits else last_steps(codec, numbers, history_tokens, alphabet),
            known_ahead=scale.part(0, n_known).apply(ahead) if n_known else ahead,
            grammar=Grammar.for_history(
                future_codec,
                future_codec.encode(numbers[:, n_known:]),
                signed=moved,
            ),
            bounds=reading.bounds_of_future(used.values, horizon),
            steps_at_once=at_once,
            history_tokens=history_tokens,
            name=name,
            columns=tuple(range(n_all)) if columns is None else columns,
            steps=steps,
        )

    def price_bound(self, views: Sequence[Sequence[Reading]]) -> Price:
        """Return the most that forecasts of `views` cost: every number as long as may be."""
        readings = [r for of_one in views for r in of_one]
        groups = [[r for r in readings if r.alike == a] for a in {r.alike for r in readings}]
        return sum((self._bound_of_alike(group) for group in groups), NOTHING)

    def _bound_of_alike(self, group: Sequence[Reading]) -> Price:
        """Return the price bound of readings that are decoded together."""
        price, alphabet = NOTHING, self.base.alphabet
        # all go on until the one with most choices is done
        ways = [spelling(g, alphabet.tokens) for g in {r.grammar for r in group}]
        n_variables = group[0].grammar.codec.n_variables
        at_once, horizon = group[0].steps_at_once, group[0].horizon
        most_samples = max(len(r.samples) for r in group)
        # known columns are fed with the choice before them
        known = [r.known_tokens(alphabet) for r in group]
        a_step = n_variables * max(w.longest_number for w in ways) + max(known)
        widest = max(w.widest for w in ways) + max(known)
        rows = len(group) * most_samples
        for begin in range(0, horizon, at_once):
            steps = min(at_once, horizon - begin)
            history_tokens = max(
                most
                + (
                    max(r.history_tokens, a_step)
                    if begin
                    else alphabet.count(r.codec.encode(r.numbers))
                )
                for r, most in zip(group, known, strict=True)
            )
            n_calls = steps * n_variables * max(w.most_choices for w in ways)
            n_tokens = steps * a_step
            # later pieces read one history a future
            n_prompts = rows if begin else len(group)
            # a history is read again where its futures go on in the next group of rows
            groups = -(-rows // self.rows_at_a_time(history_tokens + n_tokens))
            n_reads = min(rows, n_prompts + groups - 1)
            read = history_tokens + 1  # the start token
            # PyTorch multiplies whole blocks of both together, the native decoder pages of each
            further = n_tokens + widest
            attended = max(in_blocks(read + further), in_pages(read) + in_pages(further))
            reading = Trace([Call(n_reads, read, in_pages(read), n_reads)])
            step = Trace([Call(rows, widest, attended, widest * rows)])
            price += self.price_of(reading) + n_calls * self.price_of(step)
            price += n_reads * self.price_of(Trace(histories=[read]))
            price += rows * self.price_of(Trace(futures=[(read, n_tokens)]))
        return price

    def price_of(self, trace: Trace) -> Price:
        """Return the price of what was computed, in both conventions."""
        return pricing.price_of(self.base.shape, self.updates, trace)

    def rows_at_a_time(self, tokens: int) -> int:
        """Rows of so many tokens that are decoded together: as many as their caches fit.

        Without a limit they fit into `DEFAULT_BYTES`, and a single row may be larger.

        Raises:
            SettingsError: not even one row fits into `max_memory`.
        """
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


def at_own_scale(views: Sequence[Reading]) -> list[Reading]:
    """Those of a history's readings that are at its own scale: one, or one a group of variables."""
    return [reading for reading in views if reading.samples[0] == 0]
