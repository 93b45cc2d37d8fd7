"""A base model, with or without an adapter, as a forecaster of series.

Knows: scales, texts, contexts, prices of what it ran. Does not know: files of data, terminals.

The three verbs: `predict` (samples), `predict_quantiles`, `to_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Self

import numpy as np

from lvlora.errors import DataError, ModelError
from lvlora.flops.budget import Price
from lvlora.forecast import pricing, views
from lvlora.forecast.answers import ModelFacts
from lvlora.forecast.decoding import STREAM_SEPARATOR, Decoder, Trace
from lvlora.forecast.forecast import Forecast, continue_time
from lvlora.forecast.memory import rows_at_a_time
from lvlora.forecast.reading import Reading, joint_grammar, last_steps, read
from lvlora.forecast.rows import Prompt
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.usage import Usage, Work
from lvlora.model.adapters import files as adapter_files
from lvlora.model.adapters.search import IN_RUN
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.series.dataset import FloatArray, Series
from lvlora.settings.base import NumberFormat
from lvlora.settings.checked import check_count, check_levels
from lvlora.settings.forecasting import LONGEST_HORIZON
from lvlora.settings.spoken import for_programs
from lvlora.text.codec import Codec, checked_format
from lvlora.text.scaling import Scale

DEFAULT_DECIMALS = 2


class Forecaster:
    """Forecasts of a loaded model.

    Attributes:
        name: of the model and its adapter, for tables.
        decimals, number_format: of each number.
        made_for: decimals and number format that the model was made for, where that is known.
        scale: a data set's scale (from the training split, or stored with the adapter); without
            one each history has its own.
        usage: what all calls so far have cost.
        max_memory: bytes for the caches of futures that are decoded together; None for a default.
        missing: a future may hold missing values (NaN) where the model writes "?".
    """

    def __init__(
        self,
        base: BaseModel,
        head: NumericHead | None = None,
        *,
        decimals: int = DEFAULT_DECIMALS,
        scale: Scale | None = None,
        adapter: str | None = None,
        max_memory: int | None = None,
        max_rows: int | None = None,
        missing: bool = False,
        number_format: NumberFormat = "point",
    ) -> None:
        self.base = base
        self.head = head if head is not None else NumericHead(base.module, base.alphabet)
        self.decimals, self.number_format = decimals, number_format
        self.scale = scale
        self.adapter = adapter
        self.usage = Usage()
        self.max_memory = max_memory
        self.missing = missing
        self.made_for: tuple[int, NumberFormat] | None = None
        self._max_rows = max_rows
        self.decoder = Decoder(base, self.head, name=self.name)

    @classmethod
    def with_adapter(
        cls,
        base: BaseModel,
        info: adapter_files.AdapterInfo | None,
        *,
        decimals: int | None = None,
        number_format: NumberFormat | None = None,
    ) -> Self:
        """Attach an adapter and take over its codec and scale; None is zero-shot."""
        if info is None:
            asked = DEFAULT_DECIMALS if decimals is None else decimals
            return cls(base, decimals=asked, number_format=number_format or "point")
        stored = info.facts.get("scale")
        try:
            scale = None if stored is None else Scale.from_dict(stored)
            trained = int(info.facts.get("decimals", DEFAULT_DECIMALS))
            written = checked_format(info.facts.get("number_format", "point"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{info.folder}: lvlora.json cannot be used: {error}",
                "Take it from a copy, or train again.",
            ) from None
        run, name = info.folder.resolve().parts[-2:]
        if name.startswith(IN_RUN):  # of a run: its best or its last
            name = run if name == IN_RUN else f"{run}/{name}"
        forecaster = cls(
            base,
            adapter_files.attach(base, info),
            scale=scale,
            adapter=name,
            decimals=trained if decimals is None else decimals,
            number_format=number_format or written,
        )
        forecaster.made_for = trained, written
        return forecaster

    def __repr__(self) -> str:
        return f"Forecaster({self.name!r}, decimals={self.decimals})"

    @property
    def name(self) -> str:
        """For tables: the model, and its adapter."""
        return (
            f"{self.base.name} + {self.adapter}" if self.adapter else f"{self.base.name} zero-shot"
        )

    @property
    def unlike_made(self) -> str:
        """A sentence where numbers are written otherwise than the model was made for, or none."""
        if self.made_for in (None, (self.decimals, self.number_format)):
            return ""
        decimals, form = self.made_for
        made, asked = (
            Codec(d, 1, f).number(1.5)
            for d, f in ((decimals, form), (self.decimals, self.number_format))
        )
        return (
            f"{self.name} was made for {decimals} decimals (1.5 is {made}), and is read and asked "
            f"for {self.decimals} (1.5 is {asked}): expect larger errors. Leave --decimals and "
            "--number-format out to write as it does."
        )

    def facts(self) -> ModelFacts:
        """Which model this is."""
        placement = self.base.placement
        return ModelFacts(
            name=self.base.name,
            adapter=self.adapter,
            sha256=self.base.sha256,
            dtype=str(placement.dtype).removeprefix("torch."),
            device=str(placement.device),
        )

    @for_programs()
    def predict(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        *,
        context: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Forecast]:
        """Samples of each history's future.

        Args:
            histories: series of (T, V) values, NaN where missing; V may differ between calls, not
                within one.
            horizon: H steps.
            sampling: how many futures S, and how they are drawn; its seed and the ids of the
                series alone decide the draws.
            context: use only this many last steps.
            progress: told how many futures were finished.

        Returns:
            one `Forecast` a history, in order; samples (S, H, V).

        Raises:
            DataError: a history is empty, holds no value, or has steps too long for the model;
                dates would go beyond the year 9999.
            NumericalError: the model gives no finite numbers.
            BudgetError: inside `charged`, what was reserved there does not pay for it.
        """
        planned = self._views(histories, horizon, sampling, context)
        times = [continue_time(h.time, horizon, h.calendar) for h in histories]
        readings = [r for of_one in planned for r in of_one]
        futures: list[list[FloatArray]] = [[] for _ in readings]
        with self.usage.work(lambda: self._at_most(planned, horizon)) as work:
            for piece in sorted({r.piece for r in readings}):
                # those that are read alike go together: no series changes how another is read
                members = [i for i, r in enumerate(readings) if r.piece == piece]
                alike = [readings[i] for i in members]
                found = self._roll(alike, horizon, sampling, work, progress)
                for i, drawn in zip(members, found, strict=True):
                    futures[i] = drawn
        forecasts, at = [], 0
        for history, time, of_one in zip(histories, times, planned, strict=True):
            samples = np.empty((sampling.n_futures, horizon, history.values.shape[1]))
            for reading in of_one:
                samples[list(reading.samples)] = reading.original(np.stack(futures[at]))
                at += 1
            forecasts.append(
                Forecast(
                    series=history.id,
                    time=time,
                    samples=samples,
                    scale=of_one[0].scale,
                    context=len(of_one[0].numbers),
                    calendar=history.calendar,
                    history=history,
                )
            )
        return forecasts

    @for_programs()
    def predict_quantiles(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> tuple[FloatArray, FloatArray]:
        """Quantiles and means of each history's future, as arrays in original units.

        Args:
            histories, horizon, sampling: as for `predict`; all histories have V variables.
            levels: probabilities of the quantiles, each between 0 and 1.

        Returns:
            quantiles (n, H, V, levels), empirical with linear interpolation; means (n, H, V).

        Raises:
            DataError: as `predict`.
        """
        check_levels(levels)
        forecasts = self.predict(histories, horizon, sampling)
        if not forecasts:
            raise DataError("there are no histories to forecast", "Give one series at least.")
        quantiles = np.stack([np.stack([f.quantile(q) for q in levels], -1) for f in forecasts])
        return quantiles, np.stack([f.mean for f in forecasts])

    @for_programs()
    def at_most(
        self,
        histories: Sequence[Series],
        horizon: int,
        sampling: Sampling,
        *,
        context: int | None = None,
    ) -> Price:
        """The most that `predict` with these arguments can cost."""
        return self._at_most(self._views(histories, horizon, sampling, context), horizon)

    def _at_most(self, planned: Sequence[Sequence[Reading]], horizon: int) -> Price:
        return pricing.of_readings(
            planned,
            horizon,
            shape=self.base.shape,
            updates=pricing.updates_in(self.base.module),
            max_rows=self.rows_at_a_time,
        )

    def readings(
        self, histories: Sequence[Series], horizon: int, context: int | None = None
    ) -> list[Reading]:
        """How each history is read; DataError where one can't be."""
        check_count("horizon", horizon, most=LONGEST_HORIZON)
        return [self._read(h, 1.0, horizon, context) for h in histories]

    def _read(self, history: Series, factor: float, horizon: int, context: int | None) -> Reading:
        check_count("context", context, optional=True)
        return read(
            history,
            horizon,
            decimals=self.decimals,
            number_format=self.number_format,
            max_positions=self.base.max_positions,
            stored=self.scale,
            context=context,
            missing=self.missing,
            factor=factor,
        )

    def _views(
        self, histories: Sequence[Series], horizon: int, sampling: Sampling, context: int | None
    ) -> list[list[Reading]]:
        """The readings of each history, its samples shared among them."""
        check_count("horizon", horizon, most=LONGEST_HORIZON)
        return views.read_all(
            lambda h, factor: self._read(h, factor, horizon, context), histories, sampling
        )

    def _roll(
        self,
        readings: Sequence[Reading],
        horizon: int,
        sampling: Sampling,
        work: Work,
        progress: Callable[[int], None] | None,
    ) -> list[list[FloatArray]]:
        """Numbers (H, V) of every sample of readings that have the same ``piece``."""
        piece = readings[0].piece
        # every sample has a history of its own as soon as the first piece is appended to it
        pasts = [[r.numbers] * len(r.samples) for r in readings]
        futures = [[np.empty((0, r.codec.n_variables)) for _ in r.samples] for r in readings]
        for begin in range(0, horizon, piece):
            steps = min(piece, horizon - begin)
            drawn = self._draw(
                readings,
                pasts,
                steps,
                sampling,
                begin,
                work,
                progress if begin + steps == horizon else None,
            )
            for i, (reading, samples) in enumerate(zip(readings, drawn, strict=True)):
                for s, numbers in enumerate(samples):
                    futures[i][s] = np.concatenate([futures[i][s], numbers])
                    past = np.concatenate([pasts[i][s], numbers])
                    pasts[i][s] = last_steps(reading.codec, past, reading.history_tokens)
        return futures

    def _draw(
        self,
        readings: Sequence[Reading],
        pasts: Sequence[Sequence[FloatArray]],
        steps: int,
        sampling: Sampling,
        begin: int,
        work: Work,
        progress: Callable[[int], None] | None,
    ) -> list[list[FloatArray]]:
        """Numbers (steps, V) of the next piece, for each reading and each of its samples."""
        prompts: list[Prompt] = []
        for reading, past in zip(readings, pasts, strict=True):
            if begin == 0:
                text = reading.codec.encode(reading.numbers)
                prompts.append(Prompt(reading.name, text, reading.grammar, reading.samples))
                continue
            for s, numbers in zip(reading.samples, past, strict=True):
                key = STREAM_SEPARATOR.join((reading.name, str(begin), str(s)))
                prompts.append(Prompt(key, reading.codec.encode(numbers), reading.grammar, (0,)))
        longest = steps * joint_grammar(readings).longest_number * readings[0].codec.n_variables
        trace = Trace()
        try:
            texts = self.decoder.decode(
                prompts,
                steps,
                sampling,
                max_rows=self.rows_at_a_time(max(len(p.text) for p in prompts) + longest),
                trace=trace,
                progress=progress,
            )
        finally:  # what an interrupted decoding did was spent, too
            work.add(trace, pricing.price_of(self.base, trace))
        flat = iter([text for group in texts for text in group])
        return [
            [reading.codec.decode(text) for text in islice(flat, len(reading.samples))]
            for reading in readings
        ]

    def rows_at_a_time(self, tokens: int) -> int:
        """Rows of so many tokens that are decoded together; SettingsError where none fits."""
        if self._max_rows is not None:
            return self._max_rows
        return rows_at_a_time(self.base, tokens, self.max_memory)
