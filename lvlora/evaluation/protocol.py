"""A protocol, the same for every forecaster, and the task that it makes of a part.

Protocol A gives 50 steps of history and asks for 50, B 80 and 20; every series of the part that is
long enough counts. Rolling origins go back from the end of each series instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lvlora.data import histories
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.seasons import seasons_of
from lvlora.data.splits import Split
from lvlora.errors import DataError
from lvlora.evaluation.disturbance import NO_DISTURBANCE, Disturbance, without
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Narrator
from lvlora.settings.base import Season
from lvlora.settings.base import Split as Part


@dataclass(frozen=True)
class Protocol:
    """Steps of history and horizon, the same for every forecaster.

    Attributes:
        part: train, validation, test or all.
        context: steps of history; None, with windows only, for all that came before.
        horizon: steps to forecast.
        windows: forecasts of each series, the last of which ends with it; None for one forecast of
            what follows its first ``context`` steps.
        stride: steps from one window to the next.
    """

    part: Part
    context: int | None
    horizon: int
    windows: int | None = None
    stride: int = 1

    def __str__(self) -> str:
        """In words: ``20 steps from 80``, ``12 steps from all before, 3 windows``."""
        seen = "all before" if self.context is None else str(self.context)
        several = "" if self.windows in (None, 1) else f", {self.windows} windows"
        return f"{self.horizon} steps from {seen}{several}"


@dataclass(frozen=True)
class Task:
    """The histories and futures of one part.

    Attributes:
        histories: n series as forecasters see them; ids differ, those of windows too.
        futures: n series of ``horizon`` steps; truth (n, H, V).
        left_out: series that are too short.
        disturbance: what was done to the histories.
        undisturbed: the histories before that, by which errors are scaled.
        series: n ids of the series that the histories are of; empty where they are their own.
        season: of the histories, or how it is seen.
    """

    protocol: Protocol
    variables: tuple[str, ...]
    histories: list[Series]
    futures: list[Series]
    left_out: int
    disturbance: Disturbance = NO_DISTURBANCE
    undisturbed: list[Series] | None = None
    series: tuple[str, ...] = ()
    season: Season = "auto"

    @property
    def clean(self) -> list[Series]:
        """The histories as the data have them."""
        return self.histories if self.undisturbed is None else self.undisturbed

    @property
    def context(self) -> int:
        """Steps that forecasters see, at least."""
        return min(len(history) for history in self.histories)

    def learnable(self, train: Dataset) -> Dataset:
        """Return the series to learn from: as disturbed, and no future of what is scored."""
        seen = without(train, self.disturbance.hidden)
        if self.disturbance:
            seen = self.disturbance.of_training(seen)
        own = [replace(h, id=name) for h, name in zip(self.histories, self.of_series, strict=True)]
        # where forecasts go back from the end, nobody learns from the times that are scored
        rolling = self.protocol.windows is not None
        before = min(float(f.time[0]) for f in self.futures) if rolling else None
        return histories.learnable(seen, own, before)

    @property
    def ids(self) -> tuple[str, ...]:
        """n names, one for each history."""
        return tuple(h.id for h in self.histories)

    @property
    def of_series(self) -> tuple[str, ...]:
        """n names of the series that the histories are of."""
        return self.series or self.ids

    @property
    def n_series(self) -> int:
        """Series that are scored, each with all of its windows."""
        return len(set(self.of_series))

    @property
    def has_known(self) -> bool:
        """There are columns whose future is known."""
        return any(h.known is not None for h in self.histories)

    @property
    def truth(self) -> FloatArray:
        """(n, H, V) in original units."""
        return np.stack([f.values for f in self.futures])

    @cached_property
    def periods(self) -> FloatArray:
        """(n, V) periods of the histories in steps, those of seasonal naive; NaN without one."""
        return np.stack([seasons_of(h, self.season) for h in self.clean])


def task(
    part: Dataset,
    protocol: Protocol,
    disturbance: Disturbance = NO_DISTURBANCE,
    season: Season = "auto",
) -> Task:
    """Cut histories and futures from every series of the part that is long enough.

    With several windows, a history is called by its series and its number of the series' steps
    before the forecast: ``hares@36``.

    Raises:
        DataError: no series is long enough, or a hidden variable is none of its.
    """
    part = without(part, disturbance.hidden)
    cuts = [(series, _cuts(series, protocol)) for series in part]
    if not any(series_cuts for _, series_cuts in cuts):
        raise _too_short(part, protocol)
    n_windows = protocol.windows or 1
    clean, seen, futures, names = [], [], [], []
    for series, series_cuts in cuts:
        for k, cut in enumerate(series_cuts):
            n_before = len(series) - protocol.horizon - (len(series_cuts) - 1 - k) * protocol.stride
            name = f"{series.id}@{n_before}" if n_windows > 1 else series.id
            clean.append(replace(cut.history, id=name))
            # what is drawn depends on the series, not on how many windows it has
            seen.append(replace(disturbance.of(cut.history), id=name) if disturbance else clean[-1])
            futures.append(replace(cut.future, id=name))
            names.append(series.id)
    return Task(
        protocol,
        part.variables,
        seen,
        futures,
        sum(not series_cuts for _, series_cuts in cuts),
        disturbance,
        clean if disturbance else None,
        tuple(names) if n_windows > 1 else (),
        season,
    )


def _cuts(series: Series, protocol: Protocol) -> list[histories.Cut]:
    """None where the series is too short."""
    context, horizon = protocol.context, protocol.horizon
    if protocol.windows is not None:
        return histories.last_windows(series, horizon, protocol.windows, protocol.stride, context)
    if context is None or len(series) < context + horizon:
        return []
    return [histories.cut(series, context, horizon)]


def _too_short(part: Dataset, protocol: Protocol) -> DataError:
    longest = max((len(s) for s in part), default=0)
    if not longest:
        return DataError(
            f"{part.source}: there are too few series for a {protocol.part} part",
            "Of one series all is in the train part, of two none is in the test part: "
            "--split train scores what there is.",
        )
    if protocol.windows is not None:
        return _too_few_steps(part, protocol, longest)
    context = protocol.context or 0
    steps, horizon = steps_that_fit(longest)
    return DataError(
        f"{part.source}: no series of the {protocol.part} part has the "
        f"{context + protocol.horizon} steps that --context {context} and "
        f"--horizon {protocol.horizon} need",
        f"The longest has {longest}: --context {steps} --horizon {horizon} fit.",
    )


def _too_few_steps(part: Dataset, protocol: Protocol, longest: int) -> DataError:
    windows, horizon, stride = protocol.windows or 1, protocol.horizon, protocol.stride
    context = histories.LEAST_HISTORY if protocol.context is None else protocol.context
    needed = context + horizon + (windows - 1) * stride
    most = histories.windows_that_fit(longest, horizon, stride, protocol.context)
    wanted = f"{windows} windows of {horizon} steps" if windows > 1 else f"the last {horizon} steps"
    before = f"{context} before them" if windows == 1 else f"{context} before the first"
    fit = f"--windows {most} fit{'s' if most == 1 else ''}." if most else "Ask for fewer steps."
    return DataError(
        f"{part.source}: no series of the {protocol.part} part has the {needed} steps that "
        f"{wanted} and {before} need",
        f"The longest has {longest}: {fit}",
    )


def steps_that_fit(
    length: int, context: int | None = None, horizon: int | None = None
) -> tuple[int, int]:
    """Context and horizon for a series of so many steps: halves, or what one leaves the other.

    Either is below one where nothing fits.
    """
    if context is not None:
        return context, length - context if horizon is None else horizon
    if horizon is not None:
        return length - horizon, horizon
    return length - length // 2, length // 2


def with_steps_that_fit(
    settings: EvaluateSettings,
    dataset: Dataset,
    split: Split,
    narrator: Narrator,
) -> EvaluateSettings:
    """The settings with what the data allow in place of defaults that they don't; it is said.

    One series is all there is to score, though it counts as the train part. Where every series
    is shorter than the default protocol, half of the shortest is given and half asked for. What was
    asked for by name stays, and is refused where it does not fit.
    """
    left_open = {"split", "protocol", "context", "horizon"} - settings.model_fields_set
    if "split" in left_open and len(dataset) == 1 and not split.part(settings.split):
        narrator.note(
            f"{dataset.source} has one series: it is scored itself, as --split train does."
        )
        settings = settings.model_copy(update={"split": "train"})
    names = set(split.part(settings.split)[: settings.limit])
    lengths = [len(series) for series in dataset if series.id in names]
    if settings.from_the_end or not lengths or "protocol" not in left_open:
        return settings
    if max(lengths) >= sum(settings.steps):
        return settings
    context, horizon = steps_that_fit(
        min(lengths),
        None if "context" in left_open else settings.context,
        None if "horizon" in left_open else settings.horizon,
    )
    if context < 1 or horizon < 1 or (context, horizon) == settings.steps:
        return settings
    narrator.note(
        f"The longest series has {max(lengths):,} steps, too few for "
        f"{settings.steps[0]} and {settings.steps[1]}: "
        f"{horizon} steps from {context} (--context {context} --horizon {horizon})."
    )
    return settings.model_copy(update={"context": context, "horizon": horizon})
