"""A base model, with or without an adapter, as a forecaster of series."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray, Series
from lvlora.errors import ModelError
from lvlora.forecast.answers import ModelFacts
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.decoding import Decoder
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster, Part, PlannedForecasts, Progress
from lvlora.forecast.plan import DEFAULT_DECIMALS, Plan
from lvlora.forecast.pricing import updates_in
from lvlora.forecast.reading import Reading, joint_scale, last_steps
from lvlora.forecast.rows import Prompt
from lvlora.forecast.sampling import STREAM_SEPARATOR, Sampling
from lvlora.forecast.trace import Trace
from lvlora.forecast.usage import Usage, Work
from lvlora.model.adapters import files as adapter_files
from lvlora.model.adapters.search import IN_RUN
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.settings.base import NumberFormat
from lvlora.text.codec import checked_format
from lvlora.text.scaling import Scale
from lvlora.text.spelling import spelling


@dataclass(frozen=True)
class Trained:
    """How an adapter reads and writes, as its file says.

    Attributes:
        name: of the adapter.
        decimals, number_format, scale: of its text; known: its known columns.
    """

    name: str
    decimals: int
    number_format: NumberFormat
    scale: Scale | None
    known: tuple[str, ...]

    @classmethod
    def of(cls, info: adapter_files.AdapterInfo) -> Trained:
        """Read it from an adapter's facts.

        Raises:
            ModelError: they cannot be used.
        """
        stored = info.facts.get("scale")
        run, name = info.folder.resolve().parts[-2:]
        if name.startswith(IN_RUN):  # of a run: its best or its last
            name = run if name == IN_RUN else f"{run}/{name}"
        try:
            return cls(
                name,
                int(info.facts.get("decimals", DEFAULT_DECIMALS)),
                checked_format(info.facts.get("number_format", "point")),
                None if stored is None else Scale.from_dict(stored),
                tuple(str(name) for name in info.facts.get("known") or ()),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{info.folder}: lvlora.json cannot be used: {error}",
                "Take it from a copy, or train again.",
            ) from None


class OutlinedModel(Forecaster):
    """A model of which the outline is enough to plan and to price forecasts.

    Attributes:
        plan: how it reads histories.
    """

    kind = "model"

    def __init__(self, plan: Plan, adapter: str | None = None) -> None:
        self.plan, self.adapter = plan, adapter

    @property
    def name(self) -> str:  # type: ignore[override]
        """For tables: the model, and its adapter."""
        name = self.plan.base.name
        return f"{name} + {self.adapter}" if self.adapter else f"{name} zero-shot"

    def planned(
        self,
        histories: Sequence[Series],
        horizons: Sequence[int],
        sampling: Sampling,
        *,
        context: int | None = None,
        at_a_time: int | None = None,
    ) -> PlannedTexts:
        """See `Forecaster.planned`; histories of one horizon are decoded together."""
        groups = []
        for horizon in dict.fromkeys(horizons):
            places = [i for i, of_one in enumerate(horizons) if of_one == horizon]
            size = at_a_time or len(places)
            for begin in range(0, len(places), size):
                of = places[begin : begin + size]
                views = self.plan.views([histories[i] for i in of], horizon, sampling, context)
                groups.append(_Group(of, horizon, views, self.plan.at_most_of(views)))
        return PlannedTexts(self, histories, groups, sampling)


@dataclass(frozen=True)
class _Group:
    """Histories whose forecasts are finished together: their places, readings and price bound."""

    places: list[int]
    horizon: int
    views: list[list[Reading]]
    price_bound: Price


class PlannedTexts(PlannedForecasts):
    """Texts that a model will continue.

    Attributes:
        groups: that are finished one after the other.
    """

    def __init__(
        self,
        model: OutlinedModel,
        histories: Sequence[Series],
        groups: Sequence[_Group],
        sampling: Sampling,
    ) -> None:
        self._model, self._histories, self.groups = model, histories, groups
        self._sampling, self.n_units = sampling, len(histories) * sampling.n_futures
        self.price_bound = sum((group.price_bound for group in groups), NOTHING)

    @property
    def places(self) -> list[list[int]]:
        """See `PlannedForecasts.places`."""
        return [group.places for group in self.groups]

    @property
    def readings(self) -> list[list[Reading]]:
        """Return the readings of each history at its own scale: one, or several of some."""
        by_place = {
            place: [reading for reading in views if reading.samples[0] == 0]
            for group in self.groups
            for place, views in zip(group.places, group.views, strict=True)
        }
        return [by_place[place] for place in sorted(by_place)]

    def parts(self, progress: Progress | None = None) -> Iterator[Part]:
        """See `PlannedForecasts.parts`."""
        model = self._model
        if not isinstance(model, LanguageModel):
            raise ValueError("a model without weights makes no forecasts")
        for group in self.groups:
            begin, before = time.perf_counter(), model.usage.price
            forecasts = model.decoded(
                [self._histories[i] for i in group.places],
                group.horizon,
                group.views,
                group.price_bound,
                self._sampling,
                progress,
            )
            seconds = time.perf_counter() - begin
            yield Part(group.places, forecasts, seconds, model.usage.price - before)


class LanguageModel(OutlinedModel):
    """Forecasts of a loaded model.

    Args:
        base, head: the model; head: None makes one of the base's.
        decimals: of each number; scale: of a data set; without one each history has its own.
        adapter: its name.
        max_memory: bytes for the caches of futures that are decoded together; None for a default.
        missing: a future may hold missing values (NaN) where the model writes "?"; those of a
            history are not filled in then.
        made_for: decimals that the model was made for, where that is known.
        made_beside: the known columns that an adapter was trained with; None without an adapter.
        widths: how far futures are moved from their median; None leaves them as they are drawn.

    Attributes:
        name: of the model and its adapter, for tables.
        usage: what all calls so far have cost.
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
        made_for: int | None = None,
        made_beside: tuple[str, ...] | None = None,
        widths: Widths | None = None,
    ) -> None:
        plan = Plan(
            base,
            updates_in(base.module),
            decimals=decimals,
            number_format=number_format,
            scale=scale,
            missing=missing,
            max_memory=max_memory,
            max_rows=max_rows,
        )
        super().__init__(plan, adapter)
        self.base = base
        self.head = head if head is not None else NumericHead(base.module, base.alphabet)
        self.made_for, self.made_beside, self.widths = made_for, made_beside, widths
        self.usage = Usage()
        self.decoder = Decoder(base, self.head, name=self.name)

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, decimals={self.decimals})"

    @property
    def decimals(self) -> int:
        """Decimals of each number."""
        return self.plan.decimals

    @property
    def number_format(self) -> NumberFormat:
        """Format of each number."""
        return self.plan.number_format

    @property
    def scale(self) -> Scale | None:
        """The scale of a data set; None where each history has its own."""
        return self.plan.scale

    @property
    def unlike_made(self) -> str:
        """A sentence where the model was made for other decimals, or none."""
        if self.made_for in (None, self.decimals):
            return ""
        return (
            f"{self.name} was made for {self.made_for} decimals, and reads and writes "
            f"{self.decimals}: expect larger errors. Leave --decimals out to write as it does."
        )

    def unlike_known(self, known: Sequence[str]) -> str:
        """A sentence where the adapter was trained beside other known columns, or none."""
        if self.made_beside is None or self.made_beside == tuple(known):
            return ""
        beside = ", ".join(self.made_beside) or "no known columns"
        option = f"--known {','.join(self.made_beside)}" if self.made_beside else "no --known"
        return (
            f"{self.name} was trained beside {beside}, and is given "
            f"{', '.join(known) or 'none'}: expect larger errors ({option} gives what it knows)."
        )

    def facts(self) -> ModelFacts:
        """Return the facts about the model."""
        placement = self.base.placement
        return ModelFacts(
            name=self.base.name,
            adapter=self.adapter,
            sha256=self.base.sha256,
            dtype=str(placement.dtype).removeprefix("torch."),
            device=str(placement.device),
            widths=None if self.widths is None else self.widths.sha256,
        )

    def decoded(
        self,
        histories: Sequence[Series],
        horizon: int,
        views: Sequence[Sequence[Reading]],
        price_bound: Price,
        sampling: Sampling,
        progress: Progress | None,
    ) -> list[Forecast]:
        """Forecasts of histories that were planned together.

        Args:
            views: of each history; see `Plan.views`.
        """
        # each history is read at several scales, among which its samples are shared
        samples = [np.empty((sampling.n_futures, horizon, h.values.shape[1])) for h in histories]
        everything = [(i, reading) for i, readings in enumerate(views) for reading in readings]
        if progress is not None:
            n_drawn = sum(len(reading.samples) for _, reading in everything)
            progress = _shared(progress, n_drawn, len(histories) * sampling.n_futures)
        with self.usage.work(lambda: price_bound) as work:
            for alike in sorted({reading.alike for _, reading in everything}):
                # those that are read alike go together: no series changes how another is read
                group = [(i, reading) for i, reading in everything if reading.alike == alike]
                drawn = self._draw([r for _, r in group], sampling, work, progress)
                for (i, reading), numbers in zip(group, drawn, strict=True):
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
        work: Work,
        progress: Callable[[int], None] | None,
    ) -> list[FloatArray]:
        """Numbers (samples, H, K + V) in text units of readings that are ``alike``.

        A horizon that is too long for the model is drawn in pieces, and after each the history is
        read again with what was drawn. From then on every sample has a past of its own.
        """
        at_once, horizon = readings[0].steps_at_once, readings[0].horizon
        alphabet = self.base.alphabet
        grammars = {r.grammar for r in readings}
        longest = max(spelling(g, alphabet.tokens).longest_number for g in grammars)
        known = max((alphabet.count(t) for r in readings for t in r.known_texts()), default=0)
        a_step = longest * readings[0].grammar.codec.n_variables + known
        pasts = [[r.numbers] * len(r.samples) for r in readings]
        drawn: list[list[list[FloatArray]]] = [[[] for _ in r.samples] for r in readings]
        for begin in range(0, horizon, at_once):
            steps = min(at_once, horizon - begin)
            prompts = _prompts(readings, pasts, begin, begin + steps)
            read = max(alphabet.count(prompt.text) for prompt in prompts)
            trace = Trace()
            try:
                texts = self.decoder.decode(
                    prompts,
                    steps,
                    sampling,
                    max_rows=self.plan.rows_at_a_time(read + steps * a_step),
                    trace=trace,
                    progress=progress if begin + steps == horizon else None,
                )
            finally:  # what an interrupted decoding did was spent, too
                work.add(trace, self.plan.price_of(trace))
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


def _shared(progress: Callable[[int], None], n_drawn: int, n_futures: int) -> Callable[[int], None]:
    """Progress in futures of all variables, though some were drawn variable by variable."""
    drawn = 0

    def advance(n: int) -> None:
        nonlocal drawn
        before, drawn = drawn, drawn + n
        progress(drawn * n_futures // n_drawn - before * n_futures // n_drawn)

    return advance


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
