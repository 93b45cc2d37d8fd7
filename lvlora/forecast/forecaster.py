"""A base model, with or without an adapter, as a forecaster of series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.flops.budget import Price
from lvlora.forecast.answers import ModelFacts
from lvlora.forecast.calibration.widths import Widths
from lvlora.forecast.decoding import Decoder
from lvlora.forecast.forecast import Forecast
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
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.frames import to_dataset
from lvlora.settings.base import NumberFormat
from lvlora.settings.checked import check_count, check_levels
from lvlora.settings.forecasting import LONGEST_HORIZON
from lvlora.text.codec import Codec, checked_format
from lvlora.text.scaling import Scale
from lvlora.text.spelling import spelling


class Forecaster:
    """Forecasts of a loaded model.

    Attributes:
        name: of the model and its adapter, for tables.
        decimals, number_format: of each number.
        made_for: decimals and number format that the model was made for, where that is known.
        made_beside: the known columns that an adapter was trained with; None without an adapter.
        scale: a data set's scale (from the training split, or stored with the adapter); without
            one each history has its own.
        usage: what all calls so far have cost.
        max_memory: bytes for the caches of futures that are decoded together; None for a default.
        missing: a future may hold missing values (NaN) where the model writes "?"; those of a
            history are not filled in then.
        widths: how far futures are moved from their median; None leaves them as they are drawn.
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
        self.made_beside: tuple[str, ...] | None = None
        self.widths: Widths | None = None
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
            known = tuple(str(name) for name in info.facts.get("known") or ())
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
        forecaster.made_beside = known
        return forecaster

    def __repr__(self) -> str:
        return f"Forecaster({self.name!r}, decimals={self.decimals})"

    @property
    def name(self) -> str:
        """For tables: the model, and its adapter."""
        if self.adapter:
            return f"{self.base.name} + {self.adapter}"
        return zero_shot(self.base.name)

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

    def unlike_known(self, known: Sequence[str]) -> str:
        """A sentence where the adapter was trained beside other known columns, or none."""
        if self.made_beside is None or self.made_beside == tuple(known):
            return ""
        beside = ", ".join(self.made_beside) or "no known columns"
        asked = f"--known {','.join(self.made_beside)}" if self.made_beside else "no --known"
        return (
            f"{self.name} was trained beside {beside}, and is given "
            f"{', '.join(known) or 'none'}: expect larger errors ({asked} gives what it knows)."
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
            widths=None if self.widths is None else self.widths.sha256,
        )

    def predict(
        self,
        histories: Any,
        horizon: int,
        sampling: Sampling | None = None,
        *,
        context: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Forecast]:
        """Draw samples of each history's future.

        Args:
            histories: a `Dataset`, a data frame, a column of one, an array, or one `Series` or
                several of (T, V) values, NaN where missing; V may differ between calls, not within
                one. Columns that are known ahead (`Series.known`) are given to the model.
            horizon: H steps.
            sampling: how many futures S, and how they are drawn; its seed and the ids of the
                series alone decide the draws. Default: as ``lvlora forecast`` draws.
            context: use only this many last steps.
            progress: told how many futures were finished.

        Returns:
            one `Forecast` a history, in order; samples (S, H, V).

        Raises:
            DataError: a history is empty, holds no value, or has steps too long for the model;
                its known columns are not known so far; dates would go beyond the year 9999.
            NumericalError: the model gives no finite numbers.
            BudgetError: inside `charged`, what was reserved there does not pay for it.
        """
        data, sampling = _checked(histories, horizon, sampling)
        histories, plan = data.series, self.plan
        # each history is read at several scales, among which its samples are shared
        planned = plan.views(histories, horizon, sampling, context)
        samples = [np.empty((sampling.n_futures, horizon, h.values.shape[1])) for h in histories]
        everything = [(i, reading) for i, readings in enumerate(planned) for reading in readings]
        if progress is not None:
            n_drawn = sum(len(reading.samples) for _, reading in everything)
            progress = _shared(progress, n_drawn, len(histories) * sampling.n_futures)
        with self.usage.work(lambda: plan.at_most_of(planned)) as work:
            for alike in sorted({reading.alike for _, reading in everything}):
                # those that are read alike go together: no series changes how another is read
                group = [(i, reading) for i, reading in everything if reading.alike == alike]
                drawn = self._draw([r for _, r in group], sampling, work, progress)
                for (i, reading), numbers in zip(group, drawn, strict=True):
                    places = np.ix_(reading.samples, range(horizon), reading.columns)
                    samples[i][places] = reading.original(numbers)
        forecasts = []
        for history, of_one, readings in zip(histories, samples, planned, strict=True):
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
                ).named(data)
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

    def predict_quantiles(
        self,
        histories: Any,
        horizon: int,
        sampling: Sampling | None = None,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> tuple[FloatArray, FloatArray]:
        """Return quantiles and means of each history's future, as arrays in original units.

        Args:
            histories, horizon, sampling: as for `predict`; all histories have V variables.
            levels: probabilities of the quantiles, each between 0 and 1.

        Returns:
            quantiles (n, H, V, levels), see `metrics.quantiles`; means (n, H, V).

        Raises:
            DataError: as `predict`.
        """
        check_levels(levels)
        forecasts = self.predict(histories, horizon, sampling)
        if not forecasts:
            raise DataError("there are no histories to forecast", "Give one series at least.")
        quantiles = np.stack([np.stack([f.quantile(q) for q in levels], -1) for f in forecasts])
        return quantiles, np.stack([f.mean for f in forecasts])

    def at_most(
        self,
        histories: Any,
        horizon: int,
        sampling: Sampling | None = None,
        *,
        context: int | None = None,
    ) -> Price:
        """Return the most that `predict` with these arguments can cost."""
        data, sampling = _checked(histories, horizon, sampling)
        return self.plan.at_most(data.series, horizon, sampling, context)

    @property
    def plan(self) -> Plan:
        """What it will read and cost, which needs no weights."""
        return Plan(
            self.base,
            updates_in(self.base.module),
            decimals=self.decimals,
            number_format=self.number_format,
            scale=self.scale,
            missing=self.missing,
            max_memory=self.max_memory,
            max_rows=self._max_rows,
        )


def _shared(progress: Callable[[int], None], n_drawn: int, n_futures: int) -> Callable[[int], None]:
    """Progress in futures of all variables, though some were drawn variable by variable."""
    drawn = 0

    def advance(n: int) -> None:
        nonlocal drawn
        before, drawn = drawn, drawn + n
        progress(drawn * n_futures // n_drawn - before * n_futures // n_drawn)

    return advance


def zero_shot(base: str) -> str:
    """What a base model without an adapter is called in tables."""
    return f"{base} zero-shot"


def _checked(histories: Any, horizon: int, sampling: Sampling | None) -> tuple[Dataset, Sampling]:
    """Return the arguments of a forecast, or raise an error that names the one that is wrong."""
    check_count("horizon", horizon, at_most=LONGEST_HORIZON)
    if not isinstance(sampling, Sampling | None):
        raise SettingsError(
            f"sampling: should be a Sampling, got {sampling!r}", "lvlora.Sampling(samples=50)"
        )
    return to_dataset(histories, argument="histories"), sampling or Sampling()


def _prompts(
    readings: Sequence[Reading], pasts: Sequence[Sequence[FloatArray]], begin: int, stop: int
) -> list[Prompt]:
    """What is gone on from at a step of the horizon: of a reading, later of each of its samples."""
    prompts = []
    for reading, past in zip(readings, pasts, strict=True):
        first, *given = reading.known_texts(begin, stop)
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
        prompts += [Prompt(n, t, reading.grammar, s, tuple(given)) for n, t, s in names]
    return prompts
