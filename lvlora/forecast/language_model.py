"""A base model, with or without an adapter, as a forecaster of series; and how it is opened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.splits import Split
from lvlora.errors import ModelError
from lvlora.forecast import widths
from lvlora.forecast.answers import ModelFacts
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.forecaster import Forecast, Part, Progress
from lvlora.forecast.plan import DEFAULT_DECIMALS, Group, OutlinedModel, at_own_scale
from lvlora.forecast.pricing import Trace, Usage, updates_in
from lvlora.forecast.reading import (
    Reading,
    how_cut,
    joint_scale,
    last_steps,
    loss_of_text,
    notes_on_filled,
)
from lvlora.forecast.sampling import STREAM_SEPARATOR, Sampling
from lvlora.forecast.settings import SamplingSettings
from lvlora.model import devices
from lvlora.model.adapters import AdapterInfo, attach
from lvlora.model.catalogue import BUNDLED_DECIMALS, IN_RUN
from lvlora.model.choice import Choice, choose
from lvlora.model.devices import Placement
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel, load
from lvlora.narrator import Narrator
from lvlora.settings.fields import checked
from lvlora.settings.shared import AdapterSettings, Device, Dtype
from lvlora.text.codec import checked_format
from lvlora.text.grammar import spelling
from lvlora.text.scaling import Scale


class LanguageModel(OutlinedModel):
    """Forecasts of a loaded model; `usage` has what all calls so far have cost.

    Args:
        head: None makes one of the base's.
        made_for: decimals that the model was made for, where that is known.
        made_beside: the known columns that an adapter was trained with; None without an adapter.
        widths: how far futures are moved from their median; None leaves them as they are drawn.
        form: other fields of `OutlinedModel`.
    """

    base: BaseModel

    def __init__(
        self,
        base: BaseModel,
        head: NumericHead | None = None,
        *,
        made_for: int | None = None,
        made_beside: tuple[str, ...] | None = None,
        widths: widths.Widths | None = None,
        **form: Any,
    ) -> None:
        super().__init__(base, updates_in(base.module), **form)
        head = NumericHead(base.module, base.alphabet) if head is None else head
        self.made_for, self.made_beside, self.widths = made_for, made_beside, widths
        self.usage = Usage()
        self.decoder = Decoder(base, head, name=self.name)

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, decimals={self.decimals})"

    def unlike_training(self, known: Sequence[str]) -> Iterator[str]:
        """Return warnings where the model was made for other decimals or known columns."""
        if self.made_for not in (None, self.decimals):
            yield (
                f"{self.name} was made for {self.made_for} decimals, and reads and writes "
                f"{self.decimals}: expect larger errors. Leave --decimals out to write as it does."
            )
        if self.made_beside not in (None, tuple(known)):
            names = ", ".join(self.made_beside or ()) or "no known columns"
            yield (
                f"{self.name} was trained beside {names}, and is given "
                f"{', '.join(known) or 'none'}: expect larger errors (--known)."
            )

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
        forecasts = []
        for history, views in zip(group.histories, group.views, strict=True):
            first = at_own_scale(views)
            wanted = first[0].steps.wanted
            forecasts.append(
                Forecast(
                    series=history.id,
                    time=wanted,
                    samples=np.empty((sampling.n_futures, len(wanted), history.values.shape[1])),
                    scale=joint_scale(first),
                    context=min(reading.steps_read(history) for reading in first),
                    calendar=history.calendar,
                    history=history,
                )
            )
        # each history is read at several scales, among which its samples are shared
        every = [(i, reading) for i, views in enumerate(group.views) for reading in views]
        for alike in sorted({reading.alike for _, reading in every}):
            # those that are read alike go together: no series changes how another is read
            together = [(i, reading) for i, reading in every if reading.alike == alike]
            drawn = self._draw([reading for _, reading in together], sampling, progress)
            for (i, reading), numbers in zip(together, drawn, strict=True):
                steps = range(len(reading.steps.wanted))
                places = np.ix_(reading.samples, steps, reading.columns)
                forecasts[i].samples[places] = reading.original(numbers)
        if self.widths is None or not self.widths.serves(sampling):
            return forecasts
        return [self.widths.apply(forecast) for forecast in forecasts]

    def _draw(
        self, readings: Sequence[Reading], sampling: Sampling, progress: Progress
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


def open_forecaster(
    choice: Choice, placement: Placement, settings: SamplingSettings
) -> LanguageModel:
    """Load the base model and attach the adapter, which says how numbers are written.

    Raises:
        ModelError: they don't fit together or can't be read.
    """
    source, info = choice.source, choice.info
    base = load(source, placement)
    form: dict[str, Any] = {"number_format": base.number_format}
    if info is not None:
        form = _as_trained(info)
    elif source.kind == "bundled":
        form["made_for"] = BUNDLED_DECIMALS
    if settings.decimals is not None:
        form["decimals"] = settings.decimals
    return LanguageModel(
        base,
        None if info is None else attach(base, info),
        widths=None if settings.as_drawn else widths.of_model(source, base),
        max_memory=settings.max_memory,
        **form,
    )


def _as_trained(info: AdapterInfo) -> dict[str, Any]:
    """Return how an adapter reads and writes, as arguments of `LanguageModel`.

    Raises:
        ModelError: its facts cannot be used.
    """
    facts, (run, name) = info.facts, info.folder.resolve().parts[-2:]
    if name.startswith(IN_RUN):  # of a run: its best or its last
        name = run if name == IN_RUN else f"{run}/{name}"
    try:
        decimals, stored = int(facts.get("decimals", DEFAULT_DECIMALS)), facts.get("scale")
        return {
            "adapter": name,
            "decimals": decimals,
            "made_for": decimals,
            "number_format": checked_format(facts.get("number_format", "point")),
            "scale": None if stored is None else Scale.from_dict(stored),
            "made_beside": tuple(str(name) for name in facts.get("known") or ()),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{info.folder}: lvlora.json cannot be used: {error}",
            "Take it from a copy, or train again.",
        ) from None


def open_model(
    model: str = "auto",
    adapter: str | Path | None = "none",
    *,
    runs: str | Path = "runs",
    decimals: int | None = None,
    max_memory: int | None = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_drawn: bool = False,
) -> LanguageModel:
    """A forecaster by name, for programs: as ``--model`` and ``--adapter`` would choose it.

    >>> open_model("bundled").name
    'lvlora-bundled zero-shot'

    Args:
        model: bundled, a short name, a hub id, a folder, a .gguf file, or auto.
        adapter: a run, an adapter folder, ``latest``, or ``none``; None takes the newest
            run's, if there is one, whatever it was trained on.
        runs: where runs are looked for by name.
        decimals: of each number; None for the adapter's own, else 2.
        max_memory: bytes for the caches of futures that are decoded together.
        dtype, device: as ``--dtype`` and ``--device``.
        as_drawn: futures as the model drew them, without the widths that its folder brings.

    Raises:
        ModelError: what was named is not there, or does not go together.
    """
    named = None if adapter is None else str(adapter)
    settings = AdapterSettings(model=model, adapter=named, dtype=dtype, device=device)
    options = {"decimals": decimals, "max_memory": max_memory, "as_drawn": as_drawn}
    choice = choose(settings, Path(runs), None, lambda note: None)
    placement = devices.choose(device, dtype)
    return open_forecaster(choice, placement, checked(SamplingSettings, options))


def warn_of_reading(
    model: LanguageModel,
    data: Dataset,
    readings: Sequence[Sequence[Reading]],
    horizon: int,
    narrator: Narrator,
    *,
    context: int | None = None,
    shown: set[str] | None = None,
) -> None:
    """Warn of what a model does not read as it is in the histories of a data set.

    Args:
        readings: of each history, at one scale.
        shown: sentences that need no repetition; these are added.
    """
    shown = set() if shown is None else shown
    histories = data.series
    warnings = (
        *model.unlike_training(data.known),
        loss_of_text(histories, model.scale, model.decimals, data.variables, context),
        *how_cut(histories, readings, model.base.max_positions, context),
    )
    notes = notes_on_filled(histories, horizon, context)
    for sentences, say in ((warnings, narrator.warning), (notes, narrator.note)):
        for sentence in sentences:
            if sentence and sentence not in shown:
                shown.add(sentence)
                say(sentence)


def warn_of_seen(
    adapters: Iterable[AdapterInfo | None],
    data_sha256: str,
    split: Split,
    scored: Sequence[str],
    narrator: Narrator,
) -> None:
    """Warn of adapters that were, or may have been, trained on the series that are scored."""
    for info in adapters:
        if info is None or info.facts.get("data_sha256") != data_sha256:
            continue
        # where steps were held out, those that else would validate were trained on, too
        seen = split.train + (split.validation if info.facts.get("held_out") else ())
        n_seen = len(set(seen).intersection(scored))
        if info.facts.get("split_sha256") != split.sha256:
            narrator.warning(
                f"{info.folder} was trained on another split of this data (--split-seed, "
                "--stratify): it has seen some of the series that are scored."
            )
        elif n_seen:
            narrator.warning(
                f"{info.folder} was trained on {n_seen} of the {len(scored)} series that are "
                "scored: on others its error may be larger."
            )
