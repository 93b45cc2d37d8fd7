"""A protocol, the same for every forecaster, and the task that it makes of a part.

Protocol A gives 50 steps of history and asks for 50, B 80 and 20; every series of the part that is
long enough counts. Rolling origins go back from the end of each series instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lvlora.data import splits
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.periods import seasons_of
from lvlora.data.splits import Split
from lvlora.errors import DataError
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Narrator
from lvlora.settings.base import Season
from lvlora.settings.base import Split as Part


@dataclass(frozen=True)
class Protocol:
    """Steps of history and horizon, the same for every forecaster.

    Attributes:
        context: steps of history; None, with windows only, for all that came before.
        horizon: steps to forecast.
        windows: forecasts of each series, side by side up to its end; None for one forecast of what
            follows its first ``context`` steps.
    """

    part: Part
    context: int | None
    horizon: int
    windows: int | None = None


@dataclass(frozen=True)
class Task:
    """The histories and futures of one part.

    Attributes:
        histories: n series; ids differ, those of windows too.
        futures: n series of ``horizon`` steps; truth (n, H, V).
        left_out: series that are too short.
        of_series: n ids of the series that the histories are of.
        season: of the histories, or how it is seen.
    """

    protocol: Protocol
    variables: tuple[str, ...]
    histories: list[Series]
    futures: list[Series]
    left_out: int
    of_series: tuple[str, ...] = ()
    season: Season = "auto"

    @property
    def context(self) -> int:
        """Steps that forecasters see, at least."""
        return min(len(history) for history in self.histories)

    def learnable(self, train: Dataset) -> Dataset:
        """Return the series to learn from, without the futures that are scored."""
        scored = [
            replace(h, id=name) for h, name in zip(self.histories, self.of_series, strict=True)
        ]
        # where forecasts go back from the end, nobody learns from the times that are scored
        rolling = self.protocol.windows is not None
        before = min(float(f.time[0]) for f in self.futures) if rolling else None
        return splits.learnable(train, scored, before)

    @property
    def ids(self) -> tuple[str, ...]:
        """n names, one for each history."""
        return tuple(h.id for h in self.histories)

    @property
    def n_series(self) -> int:
        """Series that are scored, each with all of its windows."""
        return len(set(self.of_series))

    @property
    def truth(self) -> FloatArray:
        """(n, H, V) in original units."""
        return np.stack([f.values for f in self.futures])

    @cached_property
    def periods(self) -> FloatArray:
        """(n, V) periods of the histories in steps, those of seasonal naive; NaN without one."""
        return np.stack([seasons_of(h, self.season) for h in self.histories])


def task(part: Dataset, protocol: Protocol, season: Season = "auto") -> Task:
    """Cut histories and futures from every series of the part that is long enough.

    With several windows, a history is called by its series and its number of the series' steps
    before the forecast: ``hares@36``.

    Raises:
        DataError: no series is long enough.
    """
    context, horizon, windows = protocol.context, protocol.horizon, protocol.windows
    seen, futures, names = [], [], []
    for series in part:
        if windows is not None:
            cuts = splits.last_windows(series, horizon, windows, context)
        else:
            is_long = context is not None and len(series) >= context + horizon
            cuts = [splits.cut(series, context or 0, horizon)] if is_long else []
        for k, cut in enumerate(cuts):
            n_before = len(series) - (len(cuts) - k) * horizon
            name = f"{series.id}@{n_before}" if len(cuts) > 1 else series.id
            seen.append(replace(cut.history, id=name))
            futures.append(replace(cut.future, id=name))
            names.append(series.id)
    if not futures:
        raise _too_short(part, protocol)
    return Task(
        protocol,
        part.variables,
        seen,
        futures,
        len(part) - len(set(names)),
        tuple(names),
        season,
    )


def _too_short(part: Dataset, protocol: Protocol) -> DataError:
    longest = max((len(s) for s in part), default=0)
    if not longest:
        return DataError(
            f"{part.source}: there are too few series for a {protocol.part} part",
            "Of one series all is in the train part, of two none is in the test part: "
            "--split train scores what there is.",
        )
    context = splits.LEAST_HISTORY if protocol.context is None else protocol.context
    windows = protocol.windows or 1
    needed = context + windows * protocol.horizon
    history = "all before" if protocol.context is None else str(context)
    several = f", {windows} windows" if windows > 1 else ""
    return DataError(
        f"{part.source}: no series of the {protocol.part} part has the {needed} steps that this "
        f"protocol needs ({protocol.horizon} steps from {history}{several}); "
        f"the longest has {longest}",
        "Take fewer by --context and --horizon, or by --windows.",
    )


def with_steps_that_fit(
    settings: EvaluateSettings, dataset: Dataset, split: Split, narrator: Narrator
) -> EvaluateSettings:
    """Replace defaults that the data do not allow, and note it; explicit options stay.

    One series is all there is to score, though it counts as the train part. Where every series
    is shorter than the default protocol, half of the shortest is history and half is forecast.
    """
    explicit = settings.model_fields_set
    if "split" not in explicit and len(dataset) == 1:
        narrator.note(
            f"{dataset.source} has one series: it is scored itself, as --split train does."
        )
        settings = settings.model_copy(update={"split": "train"})
    names = set(split.part(settings.split)[: settings.limit])
    lengths = [len(series) for series in dataset if series.id in names]
    context, horizon = settings.context, settings.horizon
    if (
        (settings.from_the_end or "protocol" in explicit or (context and horizon))
        or not lengths
        or max(lengths) >= sum(settings.steps)
    ):
        return settings
    length = min(lengths)
    if horizon is None:
        horizon = length // 2 if context is None else length - context
    context = length - horizon
    if context < 1 or horizon < 1:
        return settings
    narrator.note(
        f"The longest series has {max(lengths):,} steps, too few for "
        f"{settings.steps[0]} and {settings.steps[1]}: "
        f"{horizon} steps from {context} (--context {context} --horizon {horizon})."
    )
    return settings.model_copy(update={"context": context, "horizon": horizon})
