"""Rivals' forecasts, and those of models and rivals together, for series whose future nobody knows.

`series.contest` says who weighs how much; here its parts of histories are forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.plan import Plan
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import cores
from lvlora.narrator import Narrator
from lvlora.series import contest
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.known import known_so_far
from lvlora.series.rivals import Prediction, Rival, default_rivals, rival_called
from lvlora.series.rivals.processes import RivalProcesses
from lvlora.settings.base import Season

NAME = "models and rivals together"

_AT_A_TIME = 32
"""Series whose parts a model forecasts together."""

Progress = Callable[[int], None]


def rival_for(word: str, dataset: Dataset, season: Season) -> Rival:
    """A new rival by its name as it is typed, for these data.

    Raises:
        SettingsError: there is none of that name, or it cannot forecast such data.
    """
    rival = rival_called(word, season)
    reason = rival.refusal(dataset)
    if reason:
        raise SettingsError(
            f"--forecaster {word}: cannot forecast these data here: {reason}",
            "lvlora baseline says which forecasters can.",
        )
    return rival


def recent(dataset: Dataset, context: int | None) -> Dataset:
    """Series without all but their last ``context`` steps; None leaves them whole."""
    if context is None:
        return dataset
    series = tuple(s.steps(max(0, len(s) - context), len(s)) for s in dataset)
    return replace(dataset, series=series)


def of_rival(
    rival: Rival,
    histories: Sequence[Series],
    ahead: Sequence[FloatArray],
    n_samples: int,
    progress: Progress | None = None,
    processes: RivalProcesses | None = None,
) -> list[Prediction]:
    """What it says of each history's future.

    Args:
        ahead: (H,) the times to forecast, of each history.
        n_samples: futures of each; 0 for the point forecast alone.
        progress: told how many series were finished.
        processes: who shares the work where it is slow; None does it all here.
    """
    work = [
        (np.concatenate([h.time, t]), h.values, n_samples, h.id, known_so_far(h, len(t)))
        for h, t in zip(histories, ahead, strict=True)
    ]
    if histories:
        names = tuple(f"v{i}" for i in range(histories[0].values.shape[1]))
        horizon, context = max(map(len, ahead)), min(map(len, histories))
        rival.fit(Dataset(tuple(histories), names), context, horizon)
    found: dict[int, Prediction] = {}
    for at, prediction, _ in (processes or RivalProcesses(1)).predictions(rival, work):
        found[at] = prediction
        if progress is not None:
            progress(1)
    return [found[at] for at in range(len(work))]


def members(dataset: Dataset, season: Season = "auto") -> list[Rival]:
    """New rivals that take part in a forecast of all together: no one who only chooses."""
    return [
        rival for rival in default_rivals(season) if rival.takes_part and not rival.refusal(dataset)
    ]


def past_of_rival(
    rival: Rival, histories: Sequence[Series], processes: RivalProcesses | None = None
) -> FloatArray:
    """(n, W) its `contest.loss` on the ends of histories, from earlier origins; NaN for none."""
    losses = np.full((len(histories), len(contest.SHARES)), np.nan)
    for k in range(len(contest.SHARES)):
        origins = [(i, contest.earlier_origins(len(h))) for i, h in enumerate(histories)]
        parts = [(i, o[k]) for i, o in origins if k < len(o)]
        seen = [histories[i].steps(0, n) for i, n in parts]
        ahead = [histories[i].time[n:] for i, n in parts]
        for (i, _), found in zip(
            parts, of_rival(rival, seen, ahead, 0, None, processes), strict=True
        ):
            losses[i, k] = contest.loss(histories[i].values, found.point)
    return losses


def n_parts(histories: Sequence[Series]) -> int:
    """Parts of histories that each forecaster forecasts."""
    return sum(len(contest.earlier_origins(len(h))) for h in histories)


def of_all(
    name: str,
    forecasts: Sequence[Forecast],
    past: FloatArray,
    dataset: Dataset,
    n_samples: int,
    narrator: Narrator,
    season: Season = "auto",
) -> tuple[list[Forecast], list[dict[str, float]]]:
    """A model's forecasts and those of all rivals in one, each with its weight.

    Args:
        name: of the model; past: (n, W) its losses, see `past_of_model`.
        dataset: the n histories, as rivals see them.
        n_samples: futures of each; 0 for none.
        season: of those that have one.

    Returns:
        the forecasts, and for each the weight of everybody, the greatest first.
    """
    histories, ahead = list(dataset), [f.time for f in forecasts]
    names = [name]
    losses = [past]
    predictions = [[Prediction(f.median, f.samples if n_samples else None) for f in forecasts]]
    rivals = members(dataset, season)
    with (
        RivalProcesses(cores()) as processes,
        narrator.counted("Rivals", len(rivals) * len(histories)) as advance,
    ):
        for rival in rivals:
            names.append(rival.name)
            losses.append(past_of_rival(rival, histories, processes))
            predictions.append(of_rival(rival, histories, ahead, n_samples, advance, processes))
    found, weights = [], []
    for i, (history, forecast) in enumerate(zip(histories, forecasts, strict=True)):
        shares = contest.weights(np.stack([of_one[i] for of_one in losses]))
        mixed = contest.together([of_one[i] for of_one in predictions], shares, n_samples)
        found.append(as_forecast(history, mixed, forecast.time))
        order = np.argsort(-shares, kind="stable")
        weights.append({names[m]: float(shares[m]) for m in order.tolist()})
    return found, weights


def groups(histories: Sequence[Series], size: int) -> list[tuple[int, int, list[int]]]:
    """Which parts of histories a model forecasts together: of one origin and one length.

    Returns:
        for each group the number of the origin, the steps to forecast, and positions of up to
        ``size`` histories.
    """
    found = []
    for k in range(len(contest.SHARES)):
        by_horizon: dict[int, list[int]] = {}
        for i, history in enumerate(histories):
            origins = contest.earlier_origins(len(history))
            if k < len(origins):
                by_horizon.setdefault(len(history) - origins[k], []).append(i)
        for horizon, of in by_horizon.items():
            found += [(k, horizon, of[i : i + size]) for i in range(0, len(of), size)]
    return found


def before(history: Series, horizon: int) -> Series:
    """A history without its last steps."""
    return history.steps(0, len(history) - horizon)


def past_of_model(
    forecaster: Forecaster,
    histories: Sequence[Series],
    sampling: Sampling,
    progress: Progress | None = None,
    *,
    context: int | None = None,
) -> FloatArray:
    """(n, W) `contest.loss` of a model's medians on the ends of histories; NaN for a short one.

    Args:
        context: it uses only so many steps of each part.
    """
    found = np.full((len(histories), len(contest.SHARES)), np.nan)
    for k, horizon, group in groups(histories, _AT_A_TIME):
        seen = [before(histories[i], horizon) for i in group]
        forecasts = forecaster.predict(seen, horizon, sampling, context=context, progress=progress)
        for i, forecast in zip(group, forecasts, strict=True):
            found[i, k] = contest.loss(histories[i].values, forecast.median)
    return found


def past_at_most(
    plan: Plan,
    histories: Sequence[Series],
    sampling: Sampling,
    *,
    context: int | None = None,
) -> Price:
    """The most that `past_of_model` can cost."""
    price = NOTHING
    for _, horizon, group in groups(histories, _AT_A_TIME):
        seen = [before(histories[i], horizon) for i in group]
        price += plan.at_most(seen, horizon, sampling, context)
    return price


def as_forecast(history: Series, prediction: Prediction, time: FloatArray) -> Forecast:
    """A prediction as what ``lvlora forecast`` shows; without samples it is its only future."""
    samples = prediction.point[None] if prediction.samples is None else prediction.samples
    return Forecast(
        series=history.id,
        time=time,
        samples=samples,
        scale=None,
        context=len(history),
        calendar=history.calendar,
        history=history,
        point=prediction.point,
    )
