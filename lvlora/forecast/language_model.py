"""A base model, with or without an adapter, as a forecaster of series."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.answers import ModelFacts
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Part, Progress
from lvlora.forecast.plan import DEFAULT_DECIMALS, Group, OutlinedModel
from lvlora.forecast.pricing import Trace, Usage, updates_in
from lvlora.forecast.reading import Reading, joint_scale, last_steps
from lvlora.forecast.sampling import STREAM_SEPARATOR, Sampling
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.settings.base import NumberFormat
from lvlora.text.scaling import Scale
from lvlora.text.spelling import spelling


class LanguageModel(OutlinedModel):
    """Forecasts of a loaded model.

    Args:
        base, head: the model; head: None makes one of the base's.
        decimals: of each number; scale: of a data set; without one each history has its own.
        adapter: its name.
        max_memory: bytes for the caches of futures that are decoded together; None for a default.
        made_for: decimals that the model was made for, where that is known.
        made_beside: the known columns that an adapter was trained with; None without an adapter.
        widths: how far futures are moved from their median; None leaves them as they are drawn.

    Attributes:
        name: of the model and its adapter, for tables.
        usage: what all calls so far have cost.
    """

    base: BaseModel

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
        number_format: NumberFormat = "point",
        made_for: int | None = None,
        made_beside: tuple[str, ...] | None = None,
        widths: Widths | None = None,
    ) -> None:
        updates = updates_in(base.module)
        super().__init__(
            base, updates, decimals, number_format, scale, max_memory, max_rows, adapter
        )
        head = NumericHead(base.module, base.alphabet) if head is None else head
        self.made_for, self.made_beside, self.widths = made_for, made_beside, widths
        self.usage = Usage()
        self.decoder = Decoder(base, head, name=self.name)

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, decimals={self.decimals})"

    def unlike_training(self, known: Sequence[str]) -> list[str]:
        """Return warnings where the model was made for other decimals or known columns."""
        warnings = []
        if self.made_for not in (None, self.decimals):
            warnings.append(
                f"{self.name} was made for {self.made_for} decimals, and reads and writes "
                f"{self.decimals}: expect larger errors. Leave --decimals out to write as it does."
            )
        if self.made_beside not in (None, tuple(known)):
            names = ", ".join(self.made_beside or ()) or "no known columns"
            warnings.append(
                f"{self.name} was trained beside {names}, and is given "
                f"{', '.join(known) or 'none'}: expect larger errors (--known)."
            )
        return warnings

    def facts(self) -> ModelFacts:
        """Return the facts about the model."""
        placement = self.base.placement
        return ModelFacts(
            name=self.base.name,
            adapter=self.adapter,
            sha256=self.base.sha256,
            dtype=placement.dtype_name,
            device=str(placement.device),
            widths=None if self.widths is None else self.widths.sha256,
        )

    @contextlib.contextmanager
    def traced(self) -> Iterator[Trace]:
        """Account for what is computed inside the block, which an interruption may end."""
        trace = Trace()
        try:
            yield trace
        finally:
            self.usage.add(trace, self.price_of(trace))

    def parts(
        self, groups: Sequence[Group], sampling: Sampling, progress: Progress
    ) -> Iterator[Part]:
        for group in groups:
            with self.usage.work(group.price_bound):
                begin, before = time.perf_counter(), self.usage.price
                forecasts = self._forecasts(group, sampling, progress)
                seconds = time.perf_counter() - begin
                part = Part(group.places, forecasts, seconds, self.usage.price - before)
            yield part

    def _forecasts(self, group: Group, sampling: Sampling, progress: Progress) -> list[Forecast]:
        histories, horizon, views = group.histories, group.horizon, group.views
        # each history is read at several scales, among which its samples are shared
        samples = [np.empty((sampling.n_futures, horizon, h.values.shape[1])) for h in histories]
        everything = [(i, reading) for i, readings in enumerate(views) for reading in readings]
        for alike in sorted({reading.alike for _, reading in everything}):
            # those that are read alike go together: no series changes how another is read
            together = [(i, reading) for i, reading in everything if reading.alike == alike]
            drawn = self._draw([r for _, r in together], sampling, progress)
            for (i, reading), numbers in zip(together, drawn, strict=True):
                places = np.ix_(reading.samples, range(horizon), reading.columns)
                samples[i][places] = reading.original(numbers)
        forecasts = []
        for history, of_one, readings in zip(histories, samples, views, strict=True):
            first = [reading for reading in readings if reading.samples[0] == 0]
            forecasts.append(
                Forecast(
                    series=history.id,
                    time=first[0].steps.wanted,
                    samples=of_one,
                    scale=joint_scale(first),
                    context=min(reading.steps_read(history) for reading in first),
                    calendar=history.calendar,
                    history=history,
                )
            )
        if self.widths is None or not self.widths.serves(sampling):
            return forecasts
        return [self.widths.apply(forecast) for forecast in forecasts]

    def _draw(
        self,
        readings: Sequence[Reading],
        sampling: Sampling,
        progress: Progress,
    ) -> list[FloatArray]:
        """Numbers (samples, H, K + V) in text units of readings that are ``alike``.

        A horizon that is too long for the model is drawn in pieces, and after each the history is
        read again with what was drawn. From then on every sample has a past of its own.
        """
        at_once, horizon = readings[0].steps_at_once, readings[0].horizon
        alphabet = self.base.alphabet
        grammars = {r.grammar for r in readings}
        longest = max(spelling(g, alphabet.tokens).longest_number for g in grammars)
        known = max(r.known_tokens(alphabet) for r in readings)
        a_step = longest * readings[0].grammar.codec.n_variables + known
        pasts = [[r.numbers] * len(r.samples) for r in readings]
        drawn: list[list[list[FloatArray]]] = [[[] for _ in r.samples] for r in readings]
        for begin in range(0, horizon, at_once):
            steps = min(at_once, horizon - begin)
            prompts = _prompts(readings, pasts, begin, begin + steps)
            read = max(alphabet.count(prompt.text) for prompt in prompts)
            with self.traced() as trace:
                texts = self.decoder.decode(
                    prompts,
                    steps,
                    sampling,
                    max_rows=self.rows_at_a_time(read + steps * a_step),
                    trace=trace,
                    progress=progress if begin + steps == horizon else None,
                )
            in_order = iter([text for of_prompt in texts for text in of_prompt])
            for i, reading in enumerate(readings):
                for s in range(len(reading.samples)):
                    # the known columns of the first step were given with the history
                    first = reading.known_texts(begin, begin + 1)[0]
                    numbers = reading.codec.decode(first + next(in_order))
                    drawn[i][s].append(numbers)
                    past = np.concatenate([pasts[i][s], numbers])
                    pasts[i][s] = last_steps(reading.codec, past, reading.history_tokens, alphabet)
        return [np.stack([np.concatenate(pieces) for pieces in of_one]) for of_one in drawn]


def _prompts(
    readings: Sequence[Reading], pasts: Sequence[Sequence[FloatArray]], begin: int, stop: int
) -> list[Prompt]:
    """Texts to continue at a step of the horizon: of a reading, later of each of its samples."""
    prompts = []
    for reading, past in zip(readings, pasts, strict=True):
        first, *beginnings = reading.known_texts(begin, stop)
        if begin == 0:
            text = reading.codec.encode(reading.numbers) + first
            names = [(reading.name, text, reading.samples)]
        else:
            names = [
                (
                    STREAM_SEPARATOR.join((reading.name, str(begin), str(sample))),
                    reading.codec.encode(numbers) + first,
                    (0,),
                )
                for sample, numbers in zip(reading.samples, past, strict=True)
            ]
        prompts += [Prompt(n, t, reading.grammar, s, tuple(beginnings)) for n, t, s in names]
    return prompts
